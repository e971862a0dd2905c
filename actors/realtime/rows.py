"""ChannelRowsActor: filters, authorises and delivers the row changes of one topic.

Works through the channel's pending references in order, beside the channel and not inside it:
a slow policy or a bug here does not touch broadcasts.
Neighbours: woken by the listener (`listener.py`) and by the channel, whose roster it reads;
resolves subscriptions (`announcing.py`), judges filters (`judging.py`), asks `Visibility`, encodes (`matching.py`).

Truth: none; pending references are an heir table. Rank 2. Mailbox: wake-ups only.
Recovery: rung 1, nothing lost and nothing repeated; a change that crashes it twice is skipped and announced.
Beyond the limit rung 2, by the channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from actors.core.signals import Stopping, Terminated
from actors.core.spec import Backoff
from actors.realtime.announcing import Announcer
from actors.realtime.errors import Unavailable
from actors.realtime.fanout import Sends
from actors.realtime.judging import Judge
from actors.realtime.matching import STEPS_PER_CHECKPOINT, Candidate, Frames, Shares
from actors.realtime.pending_rows import EVICTED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import TypeVar

    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.realtime.announcing import ChannelView
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.change_ports import Question, Sight
    from actors.realtime.matching import Parcel
    from actors.realtime.messages import RowsMessage
    from actors.realtime.ports import Identity
    from actors.realtime.quota import RateQuota
    from actors.realtime.roster import Subscription
    from actors.telemetry.metrics import Metrics
    from protocol.changes.model import Change

    T = TypeVar("T")

BATCH = 128
#: Candidates of one batch of changes; what is more waits for the next.
MAX_CANDIDATES = 10_000
ASK_AGAIN = Backoff(first=0.1, base=0.25, factor=2.0, ceiling=10.0)
#: How often it is asked who may see a batch of changes while their subscribers exchange tokens.
ROUNDS = 3
SKIPPED = "A change could not be processed and was skipped"
UNSETTLED = (
    "Changes were lost: the access token was exchanged too often to decide who may see them"
)


class ChannelRowsActor:
    """The actor of one topic's row changes; see the module's text."""

    def __init__(
        self, view: ChannelView, feed: ChangeFeed, rate: RateQuota, metrics: Metrics
    ) -> None:
        self._view = view
        self._pending = view.pending
        self._feed = feed
        self._rate = rate
        self._metrics = metrics
        self._announcer = Announcer(view, feed)
        self._judge = Judge(view.pending, feed)
        self._log: BoundLogger = structlog.get_logger()

    async def run(self, inbox: Inbox[RowsMessage]) -> None:
        """Deliver row changes until nobody on the topic asks for them."""
        inbox.watch(self._view.channel)
        if self._pending.take_stock():
            self._metrics.changes_skipped["crash"].inc()
            self._log.error("change.skipped", channel=self._view.sub_topic)
            self._view.tell_everybody(SKIPPED)
        while True:
            await self._announcer.settle()
            while self._pending.references:
                await self._work()
                await self._announcer.settle()
            if not self._view.roster.has_changes and inbox.retire():
                return
            with trio.move_on_at(self._announcer.retry_at):
                async for message in inbox.batch(BATCH):
                    if isinstance(message, Terminated):
                        # Who was subscribed is told by the channel's end; the router forgets them with us.
                        self._feed.router.drop(self._pending)
                    if isinstance(message, Stopping | Terminated):
                        return

    async def _work(self) -> None:
        """Handle the oldest references: judge, ask, encode, push, and only then remove them.

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
        candidates, taken = await self._candidates(changes)
        pending.begin_only(taken)
        await self._persist(lambda: self._decide(candidates))
        shares = Shares()
        for candidate in candidates:
            if candidate.is_wanted or candidate.is_error:
                shares.add(candidate)
        parcels = await self._prepare(shares)
        # Whoever left while a question was out gets nothing; whoever came was not asked about.
        delivered = Sends(
            (parcel.subscription.outbox, b"".join(parcel.frames))
            for parcel in parcels
            if self._view.is_present(parcel.subscription)
        )
        try:
            await delivered.flush()
        finally:
            delivered.finish()
            pending.finish()
        self._rate.count(sum(parcel.matches for parcel in parcels))
        self._metrics.changes_delivered.inc(len(parcels))
        missing = sum(change is None for change in changes[:taken])
        if missing:
            self._metrics.changes_skipped["evicted"].inc(missing)
            pending.loss = EVICTED

    async def _candidates(
        self, changes: Sequence[Change | None]
    ) -> tuple[list[Candidate], int]:
        """Return who may want the first of these changes, and how many of them that are."""
        candidates: list[Candidate] = []
        for taken, change in enumerate(changes, 1):
            if change is not None:
                candidates += await self._candidates_of(change)
            if len(candidates) >= MAX_CANDIDATES:
                return candidates, taken
        return candidates, len(changes)

    async def _candidates_of(self, change: Change) -> list[Candidate]:
        found = []
        for step, interest in enumerate(self._pending.interests.match(change), 1):
            subscription = self._view.roster.get(interest.join)
            if subscription is not None and self._announcer.has_begun(subscription, change):
                found.append(Candidate(change, subscription, interest))
            if step % STEPS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
        return found

    async def _decide(self, candidates: Sequence[Candidate]) -> None:
        complaints = await self._judge.decide(candidates)
        for subscription, fault in complaints.found:
            self._announcer.complain(subscription, fault)

    async def _prepare(self, shares: Shares) -> list[Parcel]:
        """Ask who may see what, and return what goes to each subscription.

        About those who speak for another identity by now it is asked again, but not for ever:
        a client that exchanges its token all the time would keep everybody else waiting.
        """
        sights: dict[Identity, Mapping[Change, Sight]] = {}
        asked: dict[Identity, set[Change]] = {}
        encoder = Frames(self._feed.renderer)
        renewed: list[Subscription] = []
        for _ in range(ROUNDS):
            for identity, shown in (await self._ask(shares.questions(asked))).items():
                # Another subscription of the same identity may have asked about other changes.
                sights[identity] = {**sights.get(identity, {}), **shown}
            parcels = await encoder.of(shares, sights)
            renewed = self._renew(shares)
            if not renewed:
                return parcels
        for subscription in renewed:
            self._view.tell(subscription, UNSETTLED)
            shares.drop(subscription)
        return await encoder.of(shares, sights)

    def _renew(self, shares: Shares) -> list[Subscription]:
        """Let those whose identity is another one by now take over their shares, and return them."""
        renewed = []
        for subscription, _ in tuple(shares):
            current = self._view.roster.get(subscription.key)
            if current is not None and current.identity != subscription.identity:
                shares.replace(subscription, current)
                renewed.append(current)
        return renewed

    async def _ask(self, questions: list[Question]) -> dict[Identity, Mapping[Change, Sight]]:
        if not questions:
            return {}
        answers = await self._persist(lambda: self._feed.visibility.check(questions))
        return {
            question.identity: answer
            for question, answer in zip(questions, answers, strict=True)
        }

    async def _persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the database, again and again while it is away."""
        attempt = 0
        while True:
            try:
                return await ask()
            except Unavailable as away:
                self._log.warning("visibility.unavailable", advice=away.advice)
            attempt += 1
            await trio.sleep(ASK_AGAIN.delay(attempt, 0.5))
