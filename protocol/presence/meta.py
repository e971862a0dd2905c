"""A meta: one payload that a client tracks under its presence key, and its JSON as clients read it.

Made by the connection that tracks it; told to everybody through `published`.

**Source**: spec 5 (`{key: {"metas": [{…, "phx_ref": …}]}}`), and Phoenix, whose shape that is.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame

if TYPE_CHECKING:
    from collections.abc import Iterable

# Metas of many clients travel in one message, so one that a client cannot read hides the others from it.
# realtime-py reads 200 levels, and the message takes some of them.
DEPTH_LIMIT: Final = 100
#: What clients evaluate or set themselves: supabase-js hides it, realtime-py fails over foreign values.
RESERVED: Final = frozenset({"phx_ref", "phx_ref_prev", "presence_ref"})

_object: Final = Decoder(dict[str, Any])

#: What a `phx_ref` is made of, in bytes; as base64 these are 16 characters without padding.
REF_BYTES: Final = 12


@frozen(eq=False)
class Meta:
    """One tracked payload; a further `track` makes another one, so it is equal only to itself.

    `payload` is a JSON object without reserved members, as `readable` returns it.
    `ref` is unique: clients tell metas apart by it.
    """

    key: str
    payload: bytes
    ref: str

    def entry(self, replaces: str | None = None) -> bytes:
        """Return the payload with its `phx_ref`, and with that of the meta it takes the place of."""
        head = self.payload[:-1].rstrip()
        comma = b"" if head == b"{" else b","
        previous = b"" if replaces is None else b',"phx_ref_prev":"%b"' % replaces.encode()
        return b'%b%b"phx_ref":"%b"%b}' % (head, comma, self.ref.encode(), previous)


def ref_from(luck: bytes) -> str:
    """Return a `phx_ref` made of `REF_BYTES` random bytes."""
    return urlsafe_b64encode(luck).decode("ascii")


def readable(payload: bytes) -> bytes:
    """Return a JSON object as it was sent, but for its reserved members.

    Raises:
        MalformedFrame: it is nested deeper, or has larger numbers, than every client reads.
    """
    tree = jsontext.decode(_object, payload)
    if payload.count(b"{") + payload.count(b"[") > DEPTH_LIMIT and not _is_shallow(tree):
        raise MalformedFrame("nested too deeply")
    if RESERVED.isdisjoint(tree):
        return payload
    members = jsontext.members(payload).items()
    kept = (b"%b:%b" % (jsontext.write(k), raw) for k, raw in members if k not in RESERVED)
    return b"{%b}" % b",".join(kept)


def are_same(payload: bytes, other: bytes) -> bool:
    """Whether two JSON objects say the same, however they are written."""
    return payload == other or jsontext.canonical(payload) == jsontext.canonical(other)


def member(key: str, entries: Iterable[bytes]) -> bytes:
    """Return `"key":{"metas":[…]}`, one member of a state or of one side of a diff."""
    return b'%b:{"metas":[%b]}' % (jsontext.write(key), b",".join(entries))


def _is_shallow(tree: dict[str, Any]) -> bool:
    level: list[Any] = [tree]
    for _ in range(DEPTH_LIMIT):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return not level
