"""The wish that a broadcast be stored: `persist` in the metadata of a kind 3 frame, or in the query of a request.

What cannot be granted as it was said is no malformed frame: its sender is told, so it becomes a fault.

**Source**: clients.md 6; realtime-js 2.119, `RealtimeBroadcastPersist`: `true`, or `{ttl}` in seconds; read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol import jsontext
from protocol.commands import Persist
from protocol.errors import MalformedFrame

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A year, far beyond what is kept.
TTL_LIMIT_S: Final = 366 * 24 * 3600
BAD_TTL: Final = f"persist.ttl is not a whole number of seconds between 1 and {TTL_LIMIT_S}"
BAD_PERSIST: Final = "persist is neither true nor has a ttl"

_NOT_WANTED: Final = (b"false", b"null", b"")


def persist_of_metadata(metadata: bytes) -> Persist | None:
    """Return what the metadata of a frame, which is JSON, says; None if it wants nothing stored."""
    try:
        wish = jsontext.members(metadata).get("persist", b"")
    except MalformedFrame:
        return None
    if wish in _NOT_WANTED:
        return None
    if wish == b"true":
        return Persist()
    try:
        ttl = jsontext.members(wish).get("ttl")
    except MalformedFrame:
        return Persist(fault=BAD_PERSIST)
    return Persist() if ttl is None else _limited(ttl.decode())


def persist_of_query(parameters: Mapping[str, str]) -> Persist | None:
    """Return what the query of a request says; None if it wants nothing stored."""
    wish = {
        name: value for name, value in parameters.items() if name.partition("[")[0] == "persist"
    }
    if "persist[ttl]" in wish:
        return _limited(wish["persist[ttl]"])
    if not wish or wish == {"persist": "false"}:
        return None
    return Persist() if wish == {"persist": "true"} else Persist(fault=BAD_PERSIST)


def _limited(text: str) -> Persist:
    # Digits of other scripts, and numbers of any length, are none of ours.
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(TTL_LIMIT_S))
    if not is_number or not 1 <= int(text) <= TTL_LIMIT_S:
        return Persist(fault=BAD_TTL)
    return Persist(int(text))
