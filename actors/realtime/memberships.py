"""The memberships of one connection: what becomes of them once they are joined, and how each of them ends.

Made by `joins.py`, which enters what its joins came to; used by the connection and by `credentials.py`,
which end what may not go on.

**Invariants**
- A topic has at most one membership, and its channel is watched as long.
- Whatever ends a membership tells the client once, or leaves that to what comes instead.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
import trio

from actors.realtime.quota import LIMITED, QUOTA_EXCEEDED
from protocol.events import Closed, Failed, Replaced, Reply, System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.stdlib import BoundLogger

    from actors.core.ref import Ref
    from actors.realtime.alarm import Alarm
    from actors.realtime.membership import Membership
    from actors.realtime.messages import JoinKey, SubscriptionEnded
    from actors.realtime.ports import Identity
    from actors.realtime.seat import Seat
    from protocol.commands import Leave
    from protocol.dialect import Session
    from protocol.events import Event

REPLICATION_READY = "Replication connection established"
REPLICATION_LATE = "Replication connection was not established in time"


class Memberships:
    """See the module's text.

    `untrack` is called with each membership that ends, `is_joining` says whether a join of a topic is under way.
    """

    __slots__ = (
        "_is_joining",
        "_lifetimes",
        "_nursery",
        "_seat",
        "_session",
        "_untrack",
        "by_topic",
        "last_ended_at",
    )

    def __init__(
        self,
        seat: Seat,
        session: Session,
        nursery: trio.Nursery,
        untrack: Callable[[JoinKey], None],
        is_joining: Callable[[str], bool],
    ) -> None:
        self._seat = seat
        self._session = session
        self._nursery = nursery
        self._untrack = untrack
        self._is_joining = is_joining
        self.by_topic: dict[str, Membership] = {}
        #: For tasks that end with a membership; made for the first.
        self._lifetimes: dict[JoinKey, trio.CancelScope] | None = None
        #: When the last one ended, on trio's clock; before that, when the client came.
        self.last_ended_at = trio.current_time()

    @property
    def _log(self) -> BoundLogger:
        logger: BoundLogger = structlog.get_logger().bind(conn=self._seat.name)
        return logger

    @property
    def alarm(self) -> Alarm:
        """Rings when the identity of a membership is to be looked at again."""
        return self._seat.alarm

    def find(self, topic: str, number: int) -> Membership | None:
        """Return what join `number` of a topic came to, None if that has ended."""
        membership = self.by_topic.get(topic)
        # Asked for every message, so not by way of the properties.
        if membership is None or membership.subscription.key.number != number:
            return None
        return membership

    def enter(self, membership: Membership) -> None:
        """Note what a join came to; an earlier membership of its topic has ended."""
        self.by_topic[membership.topic] = membership
        self._seat.inbox.watch(membership.channel)
        self.set_alarm(membership.identity)

    def renew(self, renewed: Membership) -> None:
        """Note that a membership speaks for another identity, which its channel knows."""
        self.by_topic[renewed.topic] = renewed
        self.set_alarm(renewed.identity)

    def set_alarm(self, identity: Identity) -> None:
        """Remember that the identity is to be looked at again, at the latest when its token expires."""
        tenant = self._seat.tenant
        left_s = max(self._seat.verifier.seconds_left(identity), 0.0)
        self.alarm.ring_within(min(left_s, tenant.limits.verify_again_s))

    async def tell_when_replicating(self, membership: Membership) -> None:
        """Tell a client once when the database's changes stream in; if they do not in time, its subscription ends.

        **Source**: spec 2.5, step 4, and 2.6.
        """
        with self._lifetime(membership):
            with trio.move_on_after(self._seat.tenant.limits.replication_within_s):
                await self._seat.tenant.feed.state.wait_live()
                notice = System(
                    membership.join_ref, "system", True, REPLICATION_READY, membership.sub_topic
                )
                self._seat.push(notice, membership.topic)
                return
            await self.expel(membership, REPLICATION_LATE)

    @contextmanager
    def _lifetime(self, membership: Membership) -> Iterator[None]:
        """Cancel what is done in this context when the membership ends, or has ended."""
        key = membership.key
        lifetimes = self._lifetimes = {} if self._lifetimes is None else self._lifetimes
        with trio.CancelScope() as lifetime:
            lifetimes[key] = lifetime
            if self.find(membership.topic, membership.number) is None:
                lifetime.cancel()
            try:
                yield
            finally:
                del lifetimes[key]

    async def leave(self, leave: Leave) -> None:
        """End a membership by the client's will, if there is one; the answer is the same."""
        farewell: tuple[Event, ...] = (
            Reply(leave.ref, leave.join_ref, ok=True),
            Closed(leave.join_ref),
        )
        membership = self.by_topic.get(leave.topic)
        if membership is not None:
            data = b"".join(membership.encode(event) for event in farewell)
            await self.detach(membership, data)
            return
        for event in farewell:
            self._seat.push(event, leave.topic)

    async def expel(self, membership: Membership, notice: str, code: str | None = None) -> None:
        """End a membership by the server's will; the client is told why, and that it is over, in one push.

        `code` is for the log where the notice repeats words of the client, and for clients that are told codes.
        One that ended meanwhile stays as it is.
        """
        topic, number = membership.topic, membership.number
        if self.find(topic, number) is None:
            return
        self._session.forget(topic, number)
        closed = _closed(membership, notice, code)
        farewell = self._refusal(membership, closed)
        if self._seat.end_code(closed) is not None:
            # The channel would say it later, and nothing can be said behind the end.
            self._seat.outbox.push(farewell)
            farewell = b""
        await self.detach(membership, farewell)
        self._seat.end_behind(closed, self._nursery)

    def note_end(self, end: SubscriptionEnded) -> None:
        """Tell the client that its channel has ended a subscription."""
        membership = self.find(end.topic, end.number)
        if membership is None:
            return
        if end.refusal is None:
            self.fail(membership)
        else:
            closed = _closed(membership, end.refusal, end.code)
            self._seat.outbox.push(self._refusal(membership, closed))
            self._forget(membership)
            self._seat.end_behind(closed, self._nursery)

    def fail(self, membership: Membership) -> None:
        """Tell the client that a subscription is over by no will of its own, and that it may join again."""
        failed = Failed(membership.join_ref)
        self._seat.push(failed, membership.topic)
        self._forget(membership)
        self._seat.end_behind(failed, self._nursery)

    def fail_all_in(self, channel: Ref[Any]) -> None:
        """Tell the client so of all its subscriptions to a channel that is gone."""
        for membership in tuple(self.by_topic.values()):
            if membership.channel is channel:
                self.fail(membership)

    async def detach(self, membership: Membership, farewell: bytes) -> None:
        """End a membership; if this is cancelled, it has not ended."""
        del self.by_topic[membership.topic]
        self._untrack(membership.key)
        self._seat.inbox.unwatch(membership.channel)
        try:
            await membership.detach(farewell)
        except trio.Cancelled:
            self.by_topic[membership.topic] = membership
            self._seat.inbox.watch(membership.channel)
            raise
        self._note_parting(membership)

    def _forget(self, membership: Membership) -> None:
        del self.by_topic[membership.topic]
        self._untrack(membership.key)
        self._seat.inbox.unwatch(membership.channel)
        self._note_parting(membership)
        self._session.forget(membership.topic, membership.number)

    def _note_parting(self, membership: Membership) -> None:
        if self._lifetimes is not None and membership.key in self._lifetimes:
            self._lifetimes[membership.key].cancel()
        self.last_ended_at = trio.current_time()

    def _refusal(self, membership: Membership, closed: Closed) -> bytes:
        """Return what a client is told whose membership ends and shall not come back by itself."""
        notice, code, topic = closed.reason, closed.code, membership.topic
        self._log.info("subscription.closed", topic=topic, reason=code or notice)
        farewell: tuple[Event, ...] = (
            System(closed.join_ref, "system", False, notice, membership.sub_topic, code),
            Replaced(closed.join_ref) if self._is_joining(topic) else closed,
        )
        return b"".join(membership.encode(event) for event in farewell)


def _closed(membership: Membership, notice: str, code: str | None) -> Closed:
    if not code and notice in LIMITED:
        code = QUOTA_EXCEEDED
    return Closed(membership.join_ref, notice, code or "")
