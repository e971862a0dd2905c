"""A meta: one payload that a client tracks under its presence key, and its JSON as clients read it.

Made by the connection that tracks it; told to everybody through `published`.

**Source**: spec 5 (`{key: {"metas": [{…, "phx_ref": …}]}}`), and Phoenix, whose shape that is.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol import jsontext

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What a `phx_ref` is made of, in bytes; as base64 these are 16 characters without padding.
REF_BYTES: Final = 12


@frozen(eq=False)
class Meta:
    """One tracked payload; a further `track` makes another one, so it is equal only to itself.

    `payload` is the JSON object as it was sent.
    `ref` is unique: clients tell metas apart by it.
    """

    key: str
    payload: bytes
    ref: str

    def entry(self, replaces: str | None = None) -> bytes:
        """Return the payload with its `phx_ref`, and with that of the meta it takes the place of.

        A payload that came with these keys has them twice; JSON readers take the last, which is ours.
        """
        head = self.payload[:-1].rstrip()
        comma = b"" if head == b"{" else b","
        previous = b"" if replaces is None else b',"phx_ref_prev":"%b"' % replaces.encode()
        return b'%b%b"phx_ref":"%b"%b}' % (head, comma, self.ref.encode(), previous)


def ref_from(luck: bytes) -> str:
    """Return a `phx_ref` made of `REF_BYTES` random bytes."""
    return urlsafe_b64encode(luck).decode("ascii")


def are_same(payload: bytes, other: bytes) -> bool:
    """Whether two JSON objects say the same, however they are written."""
    return payload == other or jsontext.canonical(payload) == jsontext.canonical(other)


def member(key: str, entries: Iterable[bytes]) -> bytes:
    """Return `"key":{"metas":[…]}`, one member of a state or of one side of a diff."""
    return b'%b:{"metas":[%b]}' % (jsontext.write(key), b",".join(entries))
