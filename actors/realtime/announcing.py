"""Announcing: resolves the subscriptions of a topic, and tells each client whether row changes flow to it.

Called by the rows actor between two batches of changes; asks Postgres through `subscribing.py`.

**Invariants**
- Who is told "Subscribed to PostgreSQL" gets every change from then on: its routes are entered before.
- A subscription is resolved anew whenever the change source came back, other tables are published,
  or the client speaks for somebody else; until then it goes on with what it had.
- Nothing is said twice in a row, but for the success after a reconnect or a new token.

**Source**: spec 2.5 step 3, 2.6, 6.6; architecture decision 22.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import frozen

from actors.core.spec import Backoff
from actors.realtime.errors import Unavailable
from actors.realtime.interests import CrowdKey, Denied
from actors.realtime.subscribing import Applicant, resolve
from protocol.changes.model import format_lsn
from protocol.events import System

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from structlog.stdlib import BoundLogger

    from actors.core.ref import Ref
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.interests import Outcome
    from actors.realtime.messages import ChannelMessage, JoinKey
    from actors.realtime.pending_rows import PendingRows
    from actors.realtime.roster import Roster, Subscription
    from protocol.changes.model import Lsn

EXTENSION = "postgres_changes"
SUBSCRIBED = "Subscribed to PostgreSQL"
#: How many subscriptions are resolved at a time.
BATCH = 500
RESOLVE_AGAIN = Backoff(first=0.1, base=0.25, factor=2.0, ceiling=10.0)


@frozen(eq=False)
class ChannelView:
    """What the rows actor sees of its channel."""

    sub_topic: str
    channel: Ref[ChannelMessage]
    roster: Roster
    pending: PendingRows

    def is_present(self, subscription: Subscription) -> bool:
        """Whether a subscription is still one: a channel that was given up has left all that are on its roster."""
        return self.channel.alive and self.roster.get(subscription.key) is not None

    def present(self, join: JoinKey) -> Subscription | None:
        """Return the subscription of a join as it is now, None if it has ended."""
        return self.roster.get(join) if self.channel.alive else None

    def tell(self, subscription: Subscription, message: str, *, ok: bool = False) -> None:
        """Send a notice about row changes."""
        notice = System(
            subscription.join_ref, EXTENSION, ok=ok, message=message, channel=self.sub_topic
        )
        subscription.outbox.push(subscription.encode(notice))

    def tell_everybody(self, message: str) -> None:
        """Send a notice to all who asked for row changes."""
        for subscription in self.roster.with_changes():
            if self.is_present(subscription):
                self.tell(subscription, message)


class Announcer:
    """Keeps the clients of one topic informed; see the module's text."""

    def __init__(self, view: ChannelView, feed: ChangeFeed) -> None:
        self._view = view
        self._pending = view.pending
        self._feed = feed
        self._failures = 0
        #: When to try again what the database could not be asked for, on the trio clock.
        self.retry_at = math.inf
        self._log: BoundLogger = structlog.get_logger()

    async def settle(self) -> None:
        """Resolve who came, or all if what they asked for may mean something else by now, and tell them."""
        pending, state = self._pending, self._feed.state
        if pending.loss is not None:
            self._view.tell_everybody(self._loss())
            pending.loss = None
        pending.unsettled.update(dict.fromkeys(self._view.roster.take_fresh()))
        if pending.settled_for != (state.is_live, state.epoch):
            pending.settled_for = (state.is_live, state.epoch)
            everybody = self._view.roster.with_changes()
            pending.unsettled.update(dict.fromkeys(sub.key for sub in everybody))
        if not pending.unsettled:
            return
        if not state.is_live:
            self._tell_why_not(state.advice)
            pending.unsettled.clear()
            return
        if trio.current_time() >= self.retry_at or math.isinf(self.retry_at):
            await self._settle_all()

    async def _settle_all(self) -> None:
        """Settle who is unsettled, until it is done or the database cannot be asked."""
        self.retry_at = math.inf
        while joins := tuple(islice(self._pending.unsettled, BATCH)):
            present = [self._view.present(join) for join in joins]
            try:
                await self._settle_some([sub for sub in present if sub is not None])
            except Unavailable as away:
                self._failures += 1
                self.retry_at = trio.current_time() + RESOLVE_AGAIN.delay(self._failures, 0.5)
                self._log.warning("subscriptions.not_resolved", advice=away.advice)
                self._tell_why_not(away.advice)
                return
            self._failures = 0
            for join in joins:
                self._pending.unsettled.pop(join, None)

    async def _settle_some(self, subscriptions: Sequence[Subscription]) -> None:
        epoch = self._feed.state.epoch
        stale = [sub for sub in subscriptions if not self._is_resolved(sub)]
        applicants = {sub: Applicant(sub.identity.role, sub.changes) for sub in stale}
        outcomes = await self._resolve(applicants.values())
        await self._set_starts(subscriptions)
        for subscription, applicant in applicants.items():
            if self._view.present(subscription.key) is subscription:
                self._enter(subscription, outcomes[applicant])
                standing = self._pending.standing(subscription.key)
                standing.resolved = (epoch, subscription.refreshes)
        for subscription in subscriptions:
            # Who was replaced meanwhile is among the fresh ones, and resolved next.
            if self._view.present(subscription.key) is subscription:
                self._tell_outcome(subscription)

    async def _resolve(self, applicants: Iterable[Applicant]) -> dict[Applicant, Outcome]:
        """Ask once for all who want the same."""
        distinct = list(dict.fromkeys(applicants))
        outcomes = await resolve(distinct, self._feed) if distinct else []
        return dict(zip(distinct, outcomes, strict=True))

    def _is_resolved(self, subscription: Subscription) -> bool:
        situation = (self._feed.state.epoch, subscription.refreshes)
        return self._pending.standing(subscription.key).resolved == situation

    async def _set_starts(self, subscriptions: Sequence[Subscription]) -> None:
        """Read from where on those get changes who joined while that could not be read."""
        unknown = [sub for sub in subscriptions if self._start_of(sub) is None]
        if unknown and self._feed.source is not None:
            start = await self._feed.source.insert_position()
            for subscription in unknown:
                if self._view.is_present(subscription):
                    self._pending.starts[subscription.key] = start

    def _start_of(self, subscription: Subscription) -> Lsn | None:
        """Return from which commit on a subscription gets changes; None if that is not known yet."""
        if subscription.from_lsn is not None:
            return subscription.from_lsn
        return self._pending.starts.get(subscription.key)

    def _enter(self, subscription: Subscription, outcome: Outcome) -> None:
        """Let changes come to a subscription as Postgres granted it, in place of what it had."""
        interests, join = self._pending.interests, subscription.key
        start = self._start_of(subscription)
        if isinstance(outcome, Denied):
            self._feed.router.move(interests.deny(join, outcome), self._pending)
        elif start is not None:
            key = CrowdKey(
                subscription.changes, subscription.identity.role, subscription.encode_key
            )
            moved = interests.grant(join, key, outcome, start)
            self._feed.router.move(moved, self._pending)

    def _tell_outcome(self, subscription: Subscription) -> None:
        message = self._pending.interests.fault(subscription.key) or SUBSCRIBED
        self._tell(subscription, message, (self._feed.state.connects, subscription.refreshes))

    def complain(self, join: JoinKey, fault: str | None) -> None:
        """Tell a subscription what is wrong with a filter of it, once; None that all is well again."""
        subscription = self._view.present(join)
        if subscription is not None:
            self._tell(subscription, SUBSCRIBED if fault is None else fault)

    def _tell(
        self, subscription: Subscription, message: str, situation: tuple[int, int] | None = None
    ) -> None:
        """Send a notice, unless it is what was said last and the situation is the same."""
        standing = self._pending.standing(subscription.key)
        is_good = message == SUBSCRIBED
        if is_good and not standing.is_greeted:
            standing.is_greeted = True
            if subscription.greeting:
                subscription.outbox.push(subscription.greeting)
        if message != standing.message or situation not in (None, standing.told):
            self._view.tell(subscription, message, ok=is_good)
        standing.message = message
        standing.told = situation or standing.told

    def _tell_why_not(self, advice: str) -> None:
        """Tell those who joined, or exchanged a token, and were told nothing yet why no changes flow to them."""
        for join in self._pending.unsettled:
            subscription = self._view.present(join)
            if subscription is None:
                continue
            standing = self._pending.standing(join)
            if standing.told is None or standing.told[1] != subscription.refreshes:
                self._tell(subscription, advice, (0, subscription.refreshes))

    def _loss(self) -> str:
        """Return what was lost, and from where on nothing is."""
        oldest = self._feed.log.statistics().oldest
        if oldest is None:
            return f"{self._pending.loss}; none are held at the moment"
        return f"{self._pending.loss}; the oldest change held is at {format_lsn(oldest.commit_lsn)}"
