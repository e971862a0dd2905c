"""The joins of one connection: those under way, and the memberships that came of them.

Called by the connection, for which it carries out the commands `Join` and `Leave`.
The steps of a join are in `admission.py` and `join.py`.
A join waits in a task of its own; whoever replaces or leaves it while it waits calls it off and waits for its end.

**Invariants**
- A topic has at most one membership, and its channel is watched as long.
- Whatever ends a membership or a join tells the client once, or leaves that to what comes instead.
- What waited for a join is carried out before anything that came later: the reader waits for its turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field

from actors.realtime import visitors
from actors.realtime.admission import admitted
from actors.realtime.alarm import Alarm
from actors.realtime.errors import Refused
from actors.realtime.join import channel_key, enter, prepare
from actors.realtime.managed_joins import managed_place
from actors.realtime.quota import LIMITED, QUOTA_EXCEEDED
from actors.realtime.replaying import replay_gate
from protocol.events import Closed, Failed, JoinRefused, Replaced, Reply, System
from protocol.frames import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.stdlib import BoundLogger

    from actors.realtime.membership import Membership
    from actors.realtime.messages import JoinKey, SubscriptionEnded
    from actors.realtime.ports import Identity
    from actors.realtime.seat import Seat
    from actors.telemetry.metrics import Metrics
    from protocol.commands import Command, Join, Leave
    from protocol.dialect import Session
    from protocol.events import Event

REPLICATION_READY = "Replication connection established"
REPLICATION_LATE = "Replication connection was not established in time"
#: Joins of one connection under way at a time, those included whose refusal is being held back.
#: Trade-off: each is a task of some kilobytes; a client that wants more at once waits for the oldest.
UNDER_WAY = 1000


@define
class PendingJoin:
    """A join under way: what cancels it, and what is set once it has ended one way or the other.

    `farewell` is for the join it replaced, to be sent behind its own answer.
    `end` is set when the channel ended the subscription before the join had.
    """

    topic: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    ended: trio.Event = field(factory=trio.Event)
    farewell: bytes = b""
    end: SubscriptionEnded | None = None
    is_refused: bool = False


class Joins:
    """See the module's text.

    `carry_out` is called with the commands that waited for a join, `untrack` with each membership that ends.
    """

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
        self._untrack = untrack
        self._metrics = metrics
        self._places = trio.Semaphore(UNDER_WAY)
        self._turn = trio.Lock()
        self._joining: dict[int, PendingJoin] = {}
        self.memberships: dict[str, Membership] = {}
        #: Rings when the identity of a membership is to be looked at again.
        self.alarm = Alarm()
        self._idle_since = trio.current_time()
        self.limit_idleness()

    @property
    def _log(self) -> BoundLogger:
        logger: BoundLogger = structlog.get_logger().bind(conn=self._seat.name)
        return logger

    @property
    def is_idle(self) -> bool:
        """Whether nothing is joined or being joined."""
        return not self.memberships and not self._joining

    @property
    def is_idle_too_long(self) -> bool:
        """Whether that is so for longer than a client may have no channel; if not yet, the alarm is set for that."""
        return self.is_idle and self.limit_idleness() <= 0

    def limit_idleness(self) -> float:
        """Have the alarm ring when there was no channel for too long; return in how many seconds that is."""
        limit_s = self._seat.tenant.limits.no_channel_timeout_s
        left_s = self._idle_since + limit_s - trio.current_time()
        self.alarm.ring_within(max(left_s, 0.0))
        return left_s

    @property
    def has_turn(self) -> bool:
        """Whether nothing that waited for a join is to go first."""
        return not self._turn.locked()

    async def wait_for_turn(self) -> None:
        """Let what waited for a join go first: a channel that is full for it slows down whoever sent it."""
        if self._turn.locked():
            async with self._turn:
                return

    def start_nowait(self, join: Join) -> bool:
        """Begin a join; False if too many are under way."""
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            return False
        self._begin(join)
        return True

    async def start(self, join: Join) -> None:
        """Begin a join; waits only while too many are under way."""
        await self._places.acquire()
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
        self._places.release()
        pending.ended.set()
        async with self._turn:
            is_member = joined and pending.end is None
            for command in self._session.settle(join.topic, join.number, joined=is_member):
                await self._carry_out(command)
            if is_member and not join.options.private:
                await self._share(join.topic, join.sub_topic)
        if pending.end is not None:
            self.note_end(pending.end)

    async def share(self, sub_topic: str) -> None:
        """See to the row changes that all members of the public channel `sub_topic` get, if we are one of them."""
        for topic, membership in tuple(self.memberships.items()):
            _, is_private, name = membership.channel_key
            if name == sub_topic and not is_private:
                await self._share(topic, sub_topic)

    async def _share(self, topic: str, sub_topic: str) -> None:
        changes = self._seat.tenant.managed.shared_changes(sub_topic)
        for command in self._session.share(topic, changes):
            await self._carry_out(command)

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
        self._end_with(answer)

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
        self.memberships[join.topic] = membership
        self._seat.inbox.watch(membership.channel)
        self.set_alarm(membership.identity)
        if join.options.replication_ready:
            self._nursery.start_soon(self._tell_when_replicating, membership)

    def _topics_besides(self, topic: str) -> int:
        """Return how many other topics are joined or being joined."""
        joining = {
            pending.topic for pending in self._joining.values() if not pending.is_refused
        }
        return len((self.memberships.keys() | joining) - {topic})

    async def _tell_when_replicating(self, membership: Membership) -> None:
        """Tell a client once when the database's changes stream in; if they do not in time, its subscription ends.

        **Source**: spec 2.5, step 4, and 2.6.
        """
        with membership.lifetime:
            with trio.move_on_after(self._seat.tenant.limits.replication_within_s):
                await self._seat.tenant.feed.state.wait_live()
                notice = System(
                    membership.join_ref, "system", True, REPLICATION_READY, membership.sub_topic
                )
                self._seat.push(notice, membership.topic)
                return
            await self.expel(membership.topic, membership, REPLICATION_LATE)

    async def _end_earlier(self, topic: str, pending: PendingJoin) -> None:
        """End the membership that a join replaces; its client hears of that behind the answer to the new one."""
        old = self.memberships.get(topic)
        if old is not None:
            await self._detach(topic, old, b"")
            pending.farewell = old.encode(Replaced(old.join_ref))

    async def leave(self, leave: Leave) -> None:
        farewell: tuple[Event, ...] = (
            Reply(leave.ref, leave.join_ref, ok=True),
            Closed(leave.join_ref),
        )
        await self._call_off(leave.number)
        # A pending join that is cancelled may not have ended the one it was to replace.
        membership = self.memberships.get(leave.topic)
        if membership is not None:
            data = b"".join(membership.encode(event) for event in farewell)
            await self._detach(leave.topic, membership, data)
            return
        for event in farewell:
            self._seat.push(event, leave.topic)

    def renew(self, topic: str, renewed: Membership) -> None:
        """Note that a membership speaks for another identity, which its channel knows."""
        self.memberships[topic] = renewed
        self.set_alarm(renewed.identity)

    def set_alarm(self, identity: Identity) -> None:
        """Remember that the identity is to be looked at again, at the latest when its token expires."""
        tenant = self._seat.tenant
        left_s = max(self._seat.verifier.seconds_left(identity), 0.0)
        self.alarm.ring_within(min(left_s, tenant.limits.verify_again_s))

    async def expel(
        self, topic: str, membership: Membership, notice: str, code: str | None = None
    ) -> None:
        """End a membership by the server's will; the client is told why, and that it is over, in one push.

        `code` is for the log where the notice repeats words of the client, and for clients that are told codes.
        One that ended meanwhile stays as it is.
        """
        current = self.memberships.get(topic)
        if current is None or current.number != membership.number:
            return
        self._session.forget(topic, membership.number)
        closed = _closed(membership, notice, code)
        farewell = self._refusal(membership, closed)
        if self._end_code(closed) is not None:
            # The channel would say it later, and nothing can be said behind the end.
            self._seat.outbox.push(farewell)
            farewell = b""
        await self._detach(topic, membership, farewell)
        self._end_with(closed)

    def _refusal(self, membership: Membership, closed: Closed) -> bytes:
        """Return what a client is told whose membership ends and shall not come back by itself."""
        notice, code, topic = closed.reason, closed.code, membership.topic
        self._log.info("subscription.closed", topic=topic, reason=code or notice)
        is_replaced = any(pending.topic == topic for pending in self._joining.values())
        farewell: tuple[Event, ...] = (
            System(closed.join_ref, "system", False, notice, membership.sub_topic, code),
            Replaced(closed.join_ref) if is_replaced else closed,
        )
        return b"".join(membership.encode(event) for event in farewell)

    def note_end(self, end: SubscriptionEnded) -> None:
        """Tell the client that its channel has ended a subscription."""
        pending = self._joining.get(end.number)
        if pending is not None:
            pending.end = end
            return
        membership = self.memberships.get(end.topic)
        if membership is None or membership.number != end.number:
            return
        if end.refusal is None:
            self.fail(membership)
        else:
            closed = _closed(membership, end.refusal, end.code)
            self._seat.outbox.push(self._refusal(membership, closed))
            self._forget(membership)
            self._end_with(closed)

    def fail(self, membership: Membership) -> None:
        """Tell the client that a subscription is over by no will of its own, and that it may join again."""
        failed = Failed(membership.join_ref)
        self._seat.push(failed, membership.topic)
        self._forget(membership)
        self._end_with(failed)

    def _end_with(self, event: Event) -> None:
        """Close the socket behind an event after which clients of this dialect have no use for it."""
        code = self._end_code(event)
        if code is not None:
            self._nursery.start_soon(self._seat.end, code)

    def _end_code(self, event: Event) -> CloseCode | None:
        return self._seat.opening.dialect.ends_with(event)

    def _forget(self, membership: Membership) -> None:
        del self.memberships[membership.topic]
        self._untrack(membership.key)
        self._seat.inbox.unwatch(membership.channel)
        self._note_parting(membership)
        self._session.forget(membership.topic, membership.number)

    async def _detach(self, topic: str, membership: Membership, farewell: bytes) -> None:
        """End a membership; if this is cancelled, it has not ended."""
        del self.memberships[topic]
        self._untrack(membership.key)
        self._seat.inbox.unwatch(membership.channel)
        try:
            await membership.detach(farewell)
        except trio.Cancelled:
            self.memberships[topic] = membership
            self._seat.inbox.watch(membership.channel)
            raise
        self._note_parting(membership)

    def _note_parting(self, membership: Membership) -> None:
        membership.lifetime.cancel()
        self._idle_since = trio.current_time()


def _closed(membership: Membership, notice: str, code: str | None) -> Closed:
    if not code and notice in LIMITED:
        code = QUOTA_EXCEEDED
    return Closed(membership.join_ref, notice, code or "")
