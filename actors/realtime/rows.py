"""ChannelRowsActor: filters, authorises and delivers the row changes of one topic.

Works through the channel's pending references in order, beside the channel and not inside it:
a slow policy or a bug here does not touch broadcasts.
Neighbours: woken by the listener (`listener.py`) and by the channel; asks `Visibility`; reads the channel's roster.

Truth: none; pending references are an heir table. Rank 2. Mailbox: wake-ups only.
Recovery: rung 1, nothing lost and nothing repeated; a change that crashes it twice is skipped and announced.
Beyond the limit rung 2, by the channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from attrs import frozen

from actors.core.signals import Stopping, Terminated
from actors.core.spec import Backoff
from actors.realtime.errors import Unavailable
from actors.realtime.fanout import Sends
from actors.realtime.matching import fault_of, questions_for, row_sends
from actors.realtime.pending_rows import EVICTED
from protocol.changes.model import Lsn, format_lsn
from protocol.events import System

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.core.ref import Ref
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.messages import ChannelKey, ChannelMessage, RowsMessage
    from actors.realtime.pending_rows import PendingRows
    from actors.realtime.ports import Identity, Question, Sight
    from actors.realtime.quota import RateQuota
    from actors.realtime.roster import Roster, Subscription
    from actors.telemetry.metrics import Metrics
    from protocol.changes.model import Change

    #: What each identity may see of the changes it was asked about.
    Sights = dict[Identity, Mapping[Change, Sight]]

BATCH = 128
#: How often it is asked who may see a batch of changes while their subscribers exchange tokens.
ROUNDS = 3
#: The start of a subscription that gets no changes yet: behind any commit.
NEVER = Lsn(1 << 64)
ASK_AGAIN = Backoff(first=0.1, base=0.25, factor=2.0, ceiling=10.0)
EXTENSION = "postgres_changes"
SUBSCRIBED = "Subscribed to PostgreSQL"
UNSETTLED = (
    "Changes were lost: the access token was exchanged too often to decide who may see them"
)
SKIPPED = "A change could not be processed and was skipped"


@frozen(eq=False)
class ChannelView:
    """What the rows actor sees of its channel."""

    channel: Ref[ChannelMessage]
    roster: Roster
    pending: PendingRows


class ChannelRowsActor:
    """The actor of one topic's row changes; see the module's text."""

    def __init__(
        self,
        key: ChannelKey,
        view: ChannelView,
        feed: ChangeFeed,
        rate: RateQuota,
        metrics: Metrics,
    ) -> None:
        self._key = key
        self._channel = view.channel
        self._roster = view.roster
        self._pending = view.pending
        self._feed = feed
        self._rate = rate
        self._metrics = metrics
        #: The roster's version and the source's state that everybody has been told of.
        self._announced_situation: tuple[int, bool] | None = None
        self._log: BoundLogger = structlog.get_logger()

    async def run(self, inbox: Inbox[RowsMessage]) -> None:
        """Deliver row changes until nobody on the topic asks for them."""
        inbox.watch(self._channel)
        if self._pending.take_stock():
            self._metrics.changes_skipped["crash"].inc()
            self._log.error("change.skipped", channel=self._key.sub_topic)
            self._tell_everybody(SKIPPED)
        while True:
            await self._announce()
            while self._pending.references:
                await self._work()
                await self._announce()
            if not self._roster.with_changes() and inbox.retire():
                return
            async for message in inbox.batch(BATCH):
                if isinstance(message, Terminated):
                    # Who was subscribed is told by the channel's end; the router forgets them with us.
                    self._feed.router.drop(self._pending)
                if isinstance(message, Stopping | Terminated):
                    return

    async def _work(self) -> None:
        """Handle the oldest references: ask, encode, push, and only then remove them.

        A tenant over its quota gets none of them.
        **Source**: spec 8 and 6.6: what is read meanwhile is discarded, and nobody is told.
        """
        pending = self._pending
        numbers = pending.begin(BATCH)
        if self._rate.is_tripped:
            self._metrics.changes_skipped["rate_limited"].inc(len(numbers))
            pending.finish()
            await trio.lowlevel.checkpoint()
            return
        changes = [self._feed.log.get(number) for number in numbers]
        found = [change for change in changes if change is not None]
        sights, judged = await self._judge(found)
        present = [(subscription, self._start_of(subscription)) for subscription in judged]
        sends, matches = row_sends(found, present, sights, self._feed.renderer)
        delivered = Sends(iter(sends))
        try:
            await delivered.flush()
        finally:
            delivered.finish()
            pending.finish()
        self._rate.count(matches)
        self._metrics.changes_delivered.inc(len(sends))
        if len(found) < len(changes):
            self._metrics.changes_skipped["evicted"].inc(len(changes) - len(found))
            pending.loss = EVICTED

    async def _judge(self, changes: list[Change]) -> tuple[Sights, list[Subscription]]:
        """Return what may be seen of the changes, and for which subscriptions that was asked.

        Whoever left while the question was out gets nothing, and whoever came was not asked about.
        About those who speak for another identity by now it is asked again, but not for ever:
        a client that exchanges its token all the time would keep everybody else waiting.
        """
        sights: Sights = {}
        subscriptions: Sequence[Subscription] = self._roster.with_changes()
        asked: set[Subscription] = set()
        for _ in range(ROUNDS):
            unasked = [one for one in subscriptions if one not in asked]
            for identity, shown in (await self._ask(questions_for(changes, unasked))).items():
                # Another subscription of the same identity may have asked for other changes.
                sights[identity] = {**sights.get(identity, {}), **shown}
            asked.update(unasked)
            subscriptions = self._present(subscriptions)
            if asked.issuperset(subscriptions):
                return sights, subscriptions
        for subscription in subscriptions:
            if subscription not in asked:
                self._tell(subscription, ok=False, message=UNSETTLED)
        return sights, [one for one in subscriptions if one in asked]

    async def _ask(self, questions: list[Question]) -> Sights:
        attempt = 0
        while questions:
            try:
                answers = await self._feed.visibility.check(questions)
            except Unavailable as away:
                self._log.warning("visibility.unavailable", advice=away.advice)
            else:
                return {
                    question.identity: answer
                    for question, answer in zip(questions, answers, strict=True)
                }
            attempt += 1
            await trio.sleep(ASK_AGAIN.delay(attempt, 0.5))
        return {}

    def _present(self, subscriptions: Iterable[Subscription]) -> list[Subscription]:
        """Return those of the subscriptions that are there still, as they are now."""
        current = (self._roster.get(subscription.key) for subscription in subscriptions)
        return [one for one in current if one is not None and self._channel.alive]

    def _is_present(self, subscription: Subscription) -> bool:
        """Whether a subscription is still one: a channel that was given up has left all that are on its roster."""
        return self._channel.alive and self._roster.get(subscription.key) is not None

    def _start_of(self, subscription: Subscription) -> Lsn:
        """Return from which commit on a subscription gets changes; from none if that is not known yet."""
        if subscription.from_lsn is not None:
            return subscription.from_lsn
        return self._pending.starts.get(subscription.key, NEVER)

    async def _announce(self) -> None:
        """Tell each subscription that changes flow, or once why they do not, and everybody what was lost."""
        if self._pending.loss is not None:
            self._tell_everybody(self._loss())
            self._pending.loss = None
        state = self._feed.state
        situation = (self._roster.changes_version, state.is_live)
        if situation == self._announced_situation:
            return
        announced = self._pending.announced
        subscriptions = self._roster.with_changes()
        news = [
            sub
            for sub in subscriptions
            if announced.get(sub.key) != (sub.refreshes, state.is_live)
        ]
        if news and state.is_live and not await self._set_starts(news):
            return
        for subscription in news:
            if self._is_present(subscription):
                self._announce_to(subscription, is_live=state.is_live)
        self._pending.forget_others_than({subscription.key for subscription in subscriptions})
        self._announced_situation = situation

    async def _set_starts(self, subscriptions: Sequence[Subscription]) -> bool:
        """Read from where on those get changes who joined while that could not be read; say whether it could."""
        source = self._feed.source
        unknown = [sub for sub in subscriptions if self._start_of(sub) == NEVER]
        if not unknown or source is None:
            return True
        try:
            start = await source.insert_position()
        except Unavailable as away:
            # The stream is about to break as well, and with its return this is tried again.
            self._log.warning("source.not_asked", advice=away.advice)
            return False
        for subscription in unknown:
            self._pending.starts[subscription.key] = start
        return True

    def _announce_to(self, subscription: Subscription, *, is_live: bool) -> None:
        announced = self._pending.announced
        # Source: spec 2.6 and 3.4, who exchanged a token is subscribed anew and told so.
        told_refreshes, _ = announced.get(subscription.key, (None, False))
        is_new = told_refreshes != subscription.refreshes
        faults = [fault_of(binding) for binding in subscription.changes]
        if is_new:
            for fault in sorted({fault for fault in faults if fault is not None}):
                self._tell(subscription, ok=False, message=fault)
        if None in faults and (is_live or is_new):
            message = SUBSCRIBED if is_live else self._feed.state.advice
            self._tell(subscription, ok=is_live, message=message)
        announced[subscription.key] = (subscription.refreshes, is_live)

    def _loss(self) -> str:
        """Return what was lost, and from where on nothing is."""
        oldest = self._feed.log.statistics().oldest
        if oldest is None:
            return f"{self._pending.loss}; none are held at the moment"
        return f"{self._pending.loss}; the oldest change held is at {format_lsn(oldest.commit_lsn)}"

    def _tell(self, subscription: Subscription, *, ok: bool, message: str) -> None:
        join_ref, sub_topic = subscription.join_ref, self._key.sub_topic
        notice = System(join_ref, EXTENSION, ok=ok, message=message, channel=sub_topic)
        subscription.outbox.push(subscription.encode(notice))

    def _tell_everybody(self, message: str) -> None:
        for subscription in self._roster.with_changes():
            if self._is_present(subscription):
                self._tell(subscription, ok=False, message=message)
