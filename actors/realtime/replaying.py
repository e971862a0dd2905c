"""Replay: what a join that wants stored broadcasts is sent first, and what is held for it meanwhile.

Called by `join.py` for a join, by the relay for each broadcast, and by the channel at the moment of attaching.

**Invariants**
- A gate is known to the relay before the database is asked, until its subscription is on the roster: a broadcast that
  is committed meanwhile is in the answer, or held, or both, and then sent once.
- Nothing is held for longer than the join goes on, whatever ends it.
- A join for which too much would be held is refused; nothing is left out silently.

**Source**: spec 4.5, 2.5; architecture decision 24.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field

from actors.realtime.errors import DatabaseUnavailable, Forbidden, Refused, Unavailable
from actors.realtime.stored_ports import ReplayQuestion
from protocol.dialect import EncodeKey
from protocol.events import ReplayedBroadcast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actors.realtime.messages import ChannelKey
    from actors.realtime.permissions import Permissions
    from actors.realtime.seat import Seat
    from protocol.changes.stored import StoredBroadcast
    from protocol.commands import Join, JoinOptions
    from protocol.events import Event

CODE = "UnableToReplayMessages"
UNABLE = "Realtime was unable to replay messages"
#: Bounds of one replay together with what is held for it: half of each fits into an outbox of the usual size.
REPLAY_BYTES = 512 * 1024
HELD_BYTES = 512 * 1024
HELD_MESSAGES = 1000


class NoReplay:
    """The replay of a server without a database: there is nothing stored."""

    async def newest(self, question: ReplayQuestion) -> Sequence[StoredBroadcast]:  # noqa: ARG002  # the port's name
        raise DatabaseUnavailable("This server runs without a database: nothing is stored")


@define(eq=False)
class ReplayGate:
    """What one join is to be sent behind its reply; frames are ready to be pushed."""

    encode_key: EncodeKey
    #: Cancelled when too much would have to be held.
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    #: The frames of the replay.
    frames: bytes = b""
    replayed: frozenset[str] = frozenset()
    _held: dict[str, bytes] = field(factory=dict[str, bytes], init=False)
    _held_bytes: int = field(default=0, init=False)
    _is_open: bool = field(default=False, init=False)

    def encode(self, event: Event) -> bytes:
        """Return the WebSocket frames of an event for this join, empty if its dialect cannot carry it."""
        return self.encode_key.encode(event)

    def fill(self, stored: Sequence[StoredBroadcast], join_ref: str | int | None) -> None:
        """Take the answer of the database, oldest first."""
        events = (ReplayedBroadcast(join_ref, one.message) for one in stored)
        self.frames = b"".join(map(self.encode, events))
        self.replayed = frozenset(one.id for one in stored)

    def hold(self, row_id: str, frame: bytes) -> None:
        """Keep a broadcast that was committed meanwhile; once the gate is open the roster is who gets it."""
        if self._is_open or row_id in self._held:
            return
        self._held_bytes += len(frame)
        if len(self._held) >= HELD_MESSAGES or self._held_bytes > HELD_BYTES:
            self.scope.cancel()
            return
        self._held[row_id] = frame

    def open(self) -> bytes:
        """Return all there is to be sent behind the reply, oldest first; called in the block that writes the roster."""
        self._is_open = True
        ids = tuple(self._held)
        # What was committed before something that is replayed is older, and only the limit kept it out of the answer.
        last = max((at for at, row_id in enumerate(ids) if row_id in self.replayed), default=0)
        older = (self._held[row_id] for row_id in ids[:last] if row_id not in self.replayed)
        newer = (self._held[row_id] for row_id in ids[last:] if row_id not in self.replayed)
        frames = b"".join((*older, self.frames, *newer))
        self._held.clear()
        return frames


@define
class ReplayGates:
    """The gates of the joins under way, by channel."""

    _gates: dict[ChannelKey, dict[ReplayGate, None]] = field(factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._gates.values()))

    def of(self, key: ChannelKey) -> tuple[ReplayGate, ...]:
        """Return the gates of a channel."""
        return tuple(self._gates.get(key, ()))

    def add(self, key: ChannelKey, gate: ReplayGate) -> None:
        """Let the relay know of a gate."""
        self._gates.setdefault(key, {})[gate] = None

    def remove(self, key: ChannelKey, gate: ReplayGate) -> None:
        """Forget a gate, if it is known."""
        gates = self._gates.get(key, {})
        gates.pop(gate, None)
        if not gates:
            self._gates.pop(key, None)


def replay_gate(
    join: Join, key: ChannelKey, seat: Seat
) -> AbstractContextManager[ReplayGate | None]:
    """Return a context to join in, with the gate of a join that wants a replay; None if it wants none.

    Raises:
        Refused: on exit, too much would have to be held for it.
    """
    return nullcontext() if join.options.replay is None else _gate(join, key, seat)


@contextmanager
def _gate(join: Join, key: ChannelKey, seat: Seat) -> Iterator[ReplayGate]:
    gate = ReplayGate(EncodeKey(seat.opening.dialect, join.topic))
    try:
        with gate.scope:
            yield gate
            return
    finally:
        seat.tenant.channels.gates.remove(key, gate)
    raise Refused(CODE, UNABLE)


async def replay(join: Join, permissions: Permissions, gate: ReplayGate, seat: Seat) -> None:
    """Ask for the stored broadcasts that a join wants first, and hold from now on what is committed meanwhile.

    Raises:
        Refused: it may have none, or the database did not answer; with the literal texts of spec 2.3.
    """
    question = _question(join.options, join.sub_topic)
    if not permissions.read.broadcast:
        raise Forbidden(
            "Unauthorized",
            f"You do not have permissions to read from this Channel topic: {join.sub_topic}",
        )
    tenant = seat.tenant
    tenant.channels.gates.add(permissions.key, gate)
    try:
        stored = await tenant.replays.newest(question)
    except Unavailable as away:
        structlog.get_logger().warning("replay.failed", code=CODE, advice=away.advice)
        raise Refused(CODE, UNABLE) from None
    limit = tenant.limits.payload_bytes
    gate.fill([one for one in stored if len(one.message.payload) <= limit], join.join_ref)


def _question(options: JoinOptions, sub_topic: str) -> ReplayQuestion:
    """Return what the database is asked.

    Raises:
        Refused: the client may not, or did not say what it wants.
    """
    wanted = options.replay
    if not options.private:
        raise Refused(CODE, "Replay is not allowed for public channels")
    if wanted is None or wanted.since_ms is None or wanted.limit is None:
        raise Refused(CODE, "Replay params are not valid")
    return ReplayQuestion(sub_topic, wanted.since_ms, wanted.limit, REPLAY_BYTES)
