"""Presence as Fluxbase tells it: who joined, who left, and everybody who is there.

Called by `render`; the JSON that is read is that of `protocol.presence.meta`.
One diff becomes several messages, and everybody is in the last of them only: with all of them it would be quadratic.

**Source**: ledger FB-066; a further state of somebody who is there already is a `sync`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.fluxbase.envelope import Message, json_object
from protocol.presence.meta import RESERVED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protocol.events import PresenceDiff, PresenceState

_SYNC: Final = {"event": b'"sync"'}


class _Metas(Struct):
    metas: list[Raw]


_by_key: Final = Decoder(dict[str, _Metas])


def state(event: PresenceState, channel: str) -> Sequence[Message]:
    """Return who is there, for a newcomer."""
    return (_message(channel, _SYNC, event.metas),)


def changes(diff: PresenceDiff, channel: str) -> Sequence[Message]:
    """Return who joined and who left, and then that somebody who stays has another state."""
    joins, leaves = _states(diff.joins), _states(diff.leaves)
    told = [
        *(
            _about(b'"join"', key, "newPresences", states)
            for key, states in joins.items()
            if key not in diff.known
        ),
        *(
            _about(b'"leave"', key, "leftPresences", states)
            for key, states in leaves.items()
            if key not in diff.remaining
        ),
    ]
    if (joins.keys() | leaves.keys()) & diff.known & diff.remaining:
        told.append(_SYNC)
    if not told:
        return ()
    last = _message(channel, told[-1], diff.after())
    return (*(_message(channel, members) for members in told[:-1]), last)


def _about(event: bytes, key: str, name: str, states: bytes) -> Mapping[str, bytes]:
    return {"event": event, "key": jsontext.write(key), name: states}


def _message(channel: str, members: Mapping[str, bytes], metas: bytes = b"") -> Message:
    if metas:
        members = {**members, "currentPresences": json_object(_states(metas))}
    return Message("presence", channel, json_object({"presence": json_object(members)}))


def _states(metas: bytes) -> dict[str, bytes]:
    """Return a JSON array of the states of each key."""
    return {
        key: b"[%b]" % b",".join(_state(bytes(meta)) for meta in found.metas)
        for key, found in jsontext.decode(_by_key, metas).items()
    }


def _state(meta: bytes) -> bytes:
    members = jsontext.members(meta)
    return json_object({name: raw for name, raw in members.items() if name not in RESERVED})
