"""The joins of one connection: those under way, and the memberships that came of them.

Called by the connection, for which it carries out the commands `Join` and `Leave`; steps are in `join.py`.
A join waits in a task of its own; whoever replaces or leaves it while it waits calls it off and waits for its end.

**Invariants**
- A topic has at most one membership, and its channel is watched as long.
- Whatever ends a membership or a join tells the client once, or leaves that to what comes instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field, frozen

from actors.realtime.alarm import Alarm
from actors.realtime.errors import Refused
from actors.realtime.join import (
    attach,
    authorise,
    channel_key,
    gets_presence_state,
    hears_presence,
    identify,
    presence_key,
    start_of_changes,
)
from actors.realtime.membership import Membership
from actors.realtime.messages import JoinKey
from actors.realtime.roster import Subscription
from protocol.dialect import EncodeKey
from protocol.events import Closed, Failed, Joined, JoinRefused, Replaced, Reply, System

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.realtime.messages import ConnectionMessage
    from actors.realtime.ports import Identity, Opening, Outbox
    from actors.realtime.tenant import Tenant
    from protocol.changes.model import Lsn
    from protocol.commands import Command, Join, Leave
    from protocol.dialect import Session
    from protocol.events import Event


@frozen
class Seat:
    """Who joins, and how the client is reached."""

    name: str
    opening: Opening
    tenant: Tenant
    inbox: Inbox[ConnectionMessage]
    outbox: Outbox

    def push(self, event: Event, topic: str) -> None:
        """Send an event to the client, if its dialect can carry it."""
        frame = self.opening.dialect.encode(event, topic)
        if frame is not None:
            self.outbox.push(frame.wire())


@define
class PendingJoin:
    """A join under way: what cancels it, and what is set once it has ended one way or the other.

    `farewell` is for the join it replaced, to be sent behind its own answer.
    """

    topic: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    ended: trio.Event = field(factory=trio.Event)
    farewell: bytes = b""


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
    ) -> None:
        self._seat = seat
        self._session = session
        self._nursery = nursery
        self._carry_out = carry_out
        self._untrack = untrack
        self._joining: dict[int, PendingJoin] = {}
        self._log: BoundLogger = structlog.get_logger().bind(conn=seat.name)
        self.memberships: dict[str, Membership] = {}
        #: Rings when the identity of a membership is to be looked at again.
        self.alarm = Alarm()

    def start(self, join: Join) -> None:
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
            except Refused as refused:
                self._log.info("join.refused", topic=join.topic, code=refused.code)
                await trio.sleep(self._seat.tenant.limits.join_error_delay_s)
                answer = JoinRefused(join.ref, join.join_ref, refused.code, refused.reason)
                self._seat.push(answer, join.topic)
                self._seat.outbox.push(pending.farewell)
        del self._joining[join.number]
        pending.ended.set()
        for command in self._session.settle(join.topic, join.number, joined=joined):
            await self._carry_out(command)

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
        key = channel_key(join, self._seat.tenant)
        try:
            identity = await identify(
                join.options, self._seat.opening.identity, self._seat.tenant
            )
            authorise(key, identity)
            from_lsn = await start_of_changes(join.options, identity, self._seat.tenant)
        except Refused:
            await self._end_earlier(join.topic, pending)
            raise
        await self._end_earlier(join.topic, pending)
        subscription = self._subscription(join, identity, from_lsn)
        greeting = subscription.encode(Joined(join.ref, join.join_ref, join.options.changes))
        channel, presence = await attach(
            key, subscription, greeting + pending.farewell, self._seat.tenant
        )
        self._seat.inbox.watch(channel)
        self.memberships[join.topic] = Membership(
            subscription,
            channel,
            key,
            join.sub_topic,
            join.options.ack,
            join.options.echo,
            presence,
            presence_key(join.options, self._seat.tenant),
        )
        self.set_alarm(identity)

    async def _end_earlier(self, topic: str, pending: PendingJoin) -> None:
        """End the membership that a join replaces; its client hears of that behind the answer to the new one."""
        old = self.memberships.get(topic)
        if old is not None:
            await self._detach(topic, old, b"")
            pending.farewell = old.encode(Replaced(old.join_ref))

    def _subscription(
        self, join: Join, identity: Identity, from_lsn: Lsn | None
    ) -> Subscription:
        return Subscription(
            key=JoinKey(self._seat.name, join.number),
            connection=self._seat.inbox.ref,
            outbox=self._seat.outbox,
            encode_key=EncodeKey(self._seat.opening.dialect, join.topic),
            join_ref=join.join_ref,
            identity=identity,
            changes=join.options.changes,
            from_lsn=from_lsn,
            gets_presence_state=gets_presence_state(join.options, self._seat.tenant),
            hears_presence=hears_presence(join.options, self._seat.tenant),
        )

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

    async def expel(self, topic: str, membership: Membership, notice: str) -> None:
        """End a membership by the server's will; the client is told why, and that it is over, in one push."""
        join_ref = membership.join_ref
        is_replaced = any(pending.topic == topic for pending in self._joining.values())
        farewell: tuple[Event, ...] = (
            System(join_ref, "system", ok=False, message=notice, channel=membership.sub_topic),
            Replaced(join_ref) if is_replaced else Closed(join_ref),
        )
        self._session.forget(topic, membership.number)
        data = b"".join(membership.encode(event) for event in farewell)
        await self._detach(topic, membership, data)

    def set_alarm(self, identity: Identity) -> None:
        """Remember that the identity is to be looked at again, at the latest when its token expires."""
        tenant = self._seat.tenant
        left_s = max(tenant.verifier.seconds_left(identity), 0.0)
        self.alarm.ring_within(min(left_s, tenant.limits.verify_again_s))

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

    def fail(self, topic: str, membership: Membership) -> None:
        """Tell the client that a subscription is over by no will of its own."""
        self._seat.push(Failed(membership.join_ref), topic)
        del self.memberships[topic]
        self._untrack(membership.key)
        self._seat.inbox.unwatch(membership.channel)
        self._session.forget(topic, membership.number)
