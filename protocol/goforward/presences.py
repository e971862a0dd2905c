"""Presence as GoForward tells it: users who join, update their state, and leave, one message each.

Called by `render`. A user is a presence key, whichever dialect it came by, and may have several sockets:
it joins with the first, leaves with the last, and its state is the latest that any of them set.

**Source**: ledger GF-037…040, C35; the JSON that is read is that of `protocol.presence.meta`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.events import EMPTY_OBJECT
from protocol.goforward.envelope import Message
from protocol.presence.meta import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protocol.events import PresenceDiff


class _Metas(Struct):
    metas: list[Raw]


_by_key: Final = Decoder(dict[str, _Metas])


@frozen
class _State:
    """What one socket of a user tracks; `is_update` if it is in place of an earlier one."""

    state: bytes
    is_update: bool

    @property
    def is_empty(self) -> bool:
        return self.state == EMPTY_OBJECT


def newcomers_view(metas: bytes) -> Sequence[Message]:
    """Return that everybody has joined who is there; `metas` is that of a `PresenceState`."""
    return [_message("join", key, _latest(states)) for key, states in _states(metas)]


def changes(diff: PresenceDiff) -> Sequence[Message]:
    """Return who joined, who has another state, and who left."""
    messages = []
    for key, states in _states(diff.joins):
        if key not in diff.known:
            messages.append(_message("join", key, _latest(states)))
        elif any(state.is_update or not state.is_empty for state in states):
            messages.append(_message("update", key, _latest(states)))
    for key, states in _states(diff.leaves):
        if key not in diff.remaining:
            messages.append(_message("leave", key, _latest(states)))
    return messages


def _states(metas: bytes) -> Iterator[tuple[str, Sequence[_State]]]:
    for key, user in jsontext.decode(_by_key, metas).items():
        yield key, [_state(bytes(meta)) for meta in user.metas]


def _state(meta: bytes) -> _State:
    members = jsontext.members(meta)
    kept = (b"%b:%b" % (jsontext.write(k), v) for k, v in members.items() if k not in RESERVED)
    return _State(b"{%b}" % b",".join(kept), "phx_ref_prev" in members)


def _latest(states: Sequence[_State]) -> bytes:
    """Return the state that was set last; that of a socket which has set none counts only if there is no other."""
    given = [state.state for state in states if not state.is_empty]
    return given[-1] if given else EMPTY_OBJECT


def _message(event: str, user_id: str, state: bytes) -> Message:
    payload = b'{"user_id":%b,"state":%b}' % (jsontext.write(user_id), state)
    return Message("presence", event, payload, user_id)
