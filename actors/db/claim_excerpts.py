"""What policies read of claims, as the claims that are asked about: who shares it is asked about once.

Called by `visibility`; which claims are read is found by `policy_claims`.

**Invariants**
- An excerpt has the values of its claims byte for byte, as they were signed.
- Claims that Postgres might refuse to read, or read differently, are asked about whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many are remembered.
MAX_EXCERPTS: Final = 10_000
#: Longer numbers may be more than Postgres has room for.
MAX_DIGITS: Final = 30

_values = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder(order="deterministic").encode


@define(eq=False)
class ClaimExcerpts:
    """Makes excerpts, and remembers them: the same few are asked for with each change."""

    _known: dict[tuple[bytes, frozenset[str] | None], str] = field(
        factory=dict[tuple[bytes, "frozenset[str] | None"], str], init=False
    )

    def of(self, claims: bytes, read: frozenset[str] | None) -> str:
        """Return a JSON object with the claims that are read; all of them for None."""
        excerpt = self._known.get((claims, read))
        if excerpt is None:
            if len(self._known) >= MAX_EXCERPTS:
                self._known.clear()
            excerpt = self._known[claims, read] = _excerpt(claims, read)
        return excerpt


def _excerpt(claims: bytes, read: frozenset[str] | None) -> str:
    if read is None or not _is_plain(claims):
        return claims.decode()
    values = _values.decode(claims)
    return _encode({name: values[name] for name in read & values.keys()}).decode()


def _is_plain(claims: bytes) -> bool:
    """Whether Postgres reads these claims in one way, whatever its encoding and whatever it is asked of them."""
    if b"\\" in claims or not claims.isascii():
        return False
    try:
        found = json.loads(
            claims,
            object_pairs_hook=_unique,
            parse_int=_short,
            parse_float=_short,
            parse_constant=_refused,
        )
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict)


def _unique(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name comes twice")
    return found


def _short(number: str) -> str:
    if len(number) > MAX_DIGITS or "e" in number.lower():
        raise ValueError("not a plain number")
    return number


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
