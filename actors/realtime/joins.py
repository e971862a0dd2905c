"""The joins of one connection that are under way, and what waits for them.

Called by the connection, for which it carries out the commands `Join` and `Leave`.
What is known of each is in `pending_join.py`, its steps are in `admission.py` and `join.py`;
what became of it is entered in `memberships.py`.
A join waits in a task of its own; whoever replaces or leaves it while it waits calls it off and waits for its end.

**Invariants**
- A join that ends tells the client so once, or leaves that to what comes instead.
- What waited for a join is carried out before anything that came later: the reader waits for its turn.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import structlog
import trio

from actors.realtime import visitors
from actors.realtime.admission import admitted
from actors.realtime.errors import Refused
from actors.realtime.join import channel_key, enter, prepare
from actors.realtime.managed_joins import end_if_unwelcome, managed_place
from actors.realtime.memberships import Memberships
from actors.realtime.pending_join import PendingJoin
from actors.realtime.replaying import replay_gate
from protocol.events import JoinRefused, Replaced
from protocol.frames import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from structlog.stdlib import BoundLogger

    from actors.realtime.messages import JoinKey, SubscriptionEnded
    from actors.realtime.seat import Seat
    from actors.telemetry.metrics import Metrics
    from protocol.commands import Command, Join, Leave
    from protocol.dialect import Session

#: Joins of one connection under way at a time, those included whose refusal is being held back.
#: Trade-off: each is a task of some kilobytes; a client that wants more at once waits for the oldest.
UNDER_WAY = 1000


class Joins:
    """See the module's text.

    `carry_out` is called with the commands that waited for a join; for `untrack` see `Memberships`.
    """

    __slots__ = (
        "_carry_out",
        "_joining",
        "_metrics",
        "_nursery",
        "_room",
        "_seat",
        "_session",
        "memberships",
        "turn",
    )

    def __init__(
        self,
        seat: Seat,
        session: Session,
        nursery: trio.Nursery,
        carry_out: Callable[[Command], Awaitable[None]],
        untrack: Callable[[JoinKey], None],
        metrics: Metrics,
    ) -> None:
        self._seat = seat
        self._session = session
        self._nursery = nursery
        self._carry_out = carry_out
        self._metrics = metrics
        #: Made for who waits for a place; locks and events would take kilobytes of connections that are quiet.
        self._room: trio.Event | None = None
        #: Held by what waited for a join and is carried out now, which is to go first; None if there is no such thing.
        self.turn: trio.Lock | None = None
        self._joining: dict[int, PendingJoin] = {}
        # Not a method of this object, which would make a ring of the two.
        is_joining = partial(_is_joining, self._joining)
        self.memberships = Memberships(seat, session, nursery, untrack, is_joining)
        self.limit_idleness()

    @property
    def _log(self) -> BoundLogger:
        logger: BoundLogger = structlog.get_logger().bind(conn=self._seat.name)
        return logger

    @property
    def is_idle(self) -> bool:
        """Whether nothing is joined or being joined."""
        return not self.memberships.by_topic and not self._joining

    @property
    def is_idle_too_long(self) -> bool:
        """Whether that is so for longer than a client may have no channel; if not yet, the alarm is set for that."""
        if not self.is_idle:
            return False
        if self._idle_left_s <= 0:
            # Its end is begun now, and may take seconds: the alarm would ring all the time.
            return True
        self.limit_idleness()
        return False

    @property
    def _idle_left_s(self) -> float:
        limit_s = self._seat.tenant.limits.no_channel_timeout_s
        return self.memberships.last_ended_at + limit_s - trio.current_time()

    def limit_idleness(self) -> None:
        """Have the alarm ring when there was no channel for too long."""
        self.memberships.alarm.ring_within(max(self._idle_left_s, 0.0))

    async def wait_for_turn(self) -> None:
        """Let what waited for a join go first: a channel that is full for it slows down whoever sent it."""
        if self.turn is not None:
            await self._in_turn(trio.lowlevel.checkpoint)

    async def _in_turn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something while nobody else has the turn, behind who asked for it before."""
        turn = self.turn = self.turn or trio.Lock()
        try:
            async with turn:
                await work()
        finally:
            # Who leaves passes it on to who waits.
            if not turn.locked():
                self.turn = None

    def start_nowait(self, join: Join) -> bool:
        """Begin a join; False if too many are under way."""
        if len(self._joining) >= UNDER_WAY:
            return False
        self._begin(join)
        return True

    async def start(self, join: Join) -> None:
        """Begin a join; waits only while too many are under way."""
        while len(self._joining) >= UNDER_WAY:
            self._room = self._room or trio.Event()
            await self._room.wait()
        self._begin(join)

    def _begin(self, join: Join) -> None:
        if join.warnings:
            self._log.debug("join.adjusted", topic=join.topic, warnings=join.warnings)
        pending = self._joining[join.number] = PendingJoin(join.topic)
        self._nursery.start_soon(self._join, join, pending)

    async def _join(self, join: Join, pending: PendingJoin) -> None:
        """Carry out a join, then what waited for it; a leave or a further join cancels it."""
        if join.replaces is not None:
            await self._call_off(join.replaces)
        joined = False
        with pending.scope:
            try:
                await self._enter(join, pending)
                joined = True
                self._metrics.joins["ok"].inc()
            except Refused as refused:
                await self._refuse(join, pending, refused)
        del self._joining[join.number]
        if not self._joining:
            # Lets go of the room for what was there.
            self._joining.clear()
        if self._room is not None:
            self._room.set()
            self._room = None
        pending.ended.set()
        await self._settle(join, pending, joined=joined)
        if pending.end is not None:
            self.memberships.note_end(pending.end)

    async def _settle(self, join: Join, pending: PendingJoin, *, joined: bool) -> None:
        """Carry out what is due once a join has ended; in turn, if anything is."""
        commands = self._due(join, pending, joined=joined)
        if self.turn is None:
            # Nearly always there is nothing to do, and so nobody to wait for.
            first = next(commands, None)
            if first is None:
                return
            commands = chain((first,), commands)
        await self._in_turn(partial(self._carry_out_all, commands))

    def _due(self, join: Join, pending: PendingJoin, *, joined: bool) -> Iterator[Command]:
        """Yield what waited for a join, and then what all members of its channel get."""
        is_member = joined and pending.end is None
        yield from self._session.settle(join.topic, join.number, joined=is_member)
        if is_member and not join.options.private:
            yield from self._shared(join.topic, join.sub_topic)

    async def _carry_out_all(self, commands: Iterable[Command]) -> None:
        for command in commands:
            await self._carry_out(command)

    async def share(self, sub_topic: str) -> None:
        """See to the row changes that all members of the public channel `sub_topic` get, if we are one of them."""
        for topic, membership in tuple(self.memberships.by_topic.items()):
            _, is_private, name = membership.channel_key
            if name == sub_topic and not is_private:
                await self._carry_out_all(self._shared(topic, sub_topic))

    def _shared(self, topic: str, sub_topic: str) -> Sequence[Command]:
        changes = self._seat.tenant.managed.shared_changes(sub_topic)
        return self._session.share(topic, changes)

    async def _refuse(self, join: Join, pending: PendingJoin, refused: Refused) -> None:
        """Answer a join that is refused, late, so that clients which come back at once do not come back often."""
        self._log.info("join.refused", topic=join.topic, code=refused.code)
        pending.is_refused = True
        self._metrics.joins["error"].inc()
        await trio.sleep(self._seat.tenant.limits.join_error_delay_s)
        answer = JoinRefused(join.ref, join.join_ref, refused.code, refused.reason)
        self._seat.push(answer, join.topic)
        self._seat.outbox.push(pending.farewell)
        if refused.ends_connection:
            await self._seat.end(CloseCode.GOING_AWAY)
        self._seat.end_behind(answer, self._nursery)

    async def _call_off(self, number: int) -> None:
        """Cancel a join if it is under way, and wait until it has ended.

        It may be too late: the channel accepted it in this very moment, and it ends as a membership.
        """
        pending = self._joining.get(number)
        if pending is not None:
            pending.scope.cancel()
            await pending.ended.wait()

    async def _enter(self, join: Join, pending: PendingJoin) -> None:
        """Become a member of the topic's channel, in place of an earlier join of it.

        Raises:
            Refused: the client may not; an earlier join has ended all the same.
        """
        try:
            others = self._topics_besides(join.topic)
            with admitted(join, self._seat.name, others, self._seat.tenant):
                await self._become_member(join, pending)
        except Refused:
            await self._end_earlier(join.topic, pending)
            raise

    async def _become_member(self, join: Join, pending: PendingJoin) -> None:
        seat = self._seat
        with replay_gate(join, channel_key(join, seat.tenant), seat) as gate:
            subscription, permissions = await prepare(join, seat, gate)
            with managed_place(join, subscription, seat.tenant):
                await self._end_earlier(join.topic, pending)
                membership = await enter(
                    join, subscription, permissions, gate, pending.farewell, seat
                )
            visitors.show_in(membership.channel_key, seat.tenant)
        self.memberships.enter(membership)
        await end_if_unwelcome(membership, seat.tenant)
        if join.options.replication_ready:
            self._nursery.start_soon(self.memberships.tell_when_replicating, membership)

    def _topics_besides(self, topic: str) -> int:
        """Return how many other topics are joined or being joined."""
        joining = {
            pending.topic for pending in self._joining.values() if not pending.is_refused
        }
        return len((self.memberships.by_topic.keys() | joining) - {topic})

    async def _end_earlier(self, topic: str, pending: PendingJoin) -> None:
        """End the membership that a join replaces; its client hears of that behind the answer to the new one."""
        old = self.memberships.by_topic.get(topic)
        if old is not None:
            await self.memberships.detach(old, b"")
            pending.farewell = old.encode(Replaced(old.join_ref))

    async def leave(self, leave: Leave) -> None:
        """End a join, or what it came to, by the client's will."""
        await self._call_off(leave.number)
        # A pending join that is cancelled may not have ended the one it was to replace.
        await self.memberships.leave(leave)

    def note_end(self, end: SubscriptionEnded) -> None:
        """Note that a channel has ended a subscription; while its join is under way the client hears nothing yet."""
        pending = self._joining.get(end.number)
        if pending is not None:
            pending.end = end
        else:
            self.memberships.note_end(end)


def _is_joining(joining: dict[int, PendingJoin], topic: str) -> bool:
    return any(pending.topic == topic for pending in joining.values())
