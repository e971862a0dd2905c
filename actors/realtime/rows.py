"""ChannelRowsActor: filters, authorises and delivers the row changes of one topic.

Works through the channel's pending references in order, beside the channel and not inside it:
a slow policy or a bug here does not touch broadcasts.
After a batch it rests for some milliseconds: questions and sends cost by the batch rather than by the change.
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
from actors.realtime.backlog import EVICTED
from actors.realtime.errors import Unavailable
from actors.realtime.fanout import Sends
from actors.realtime.judging import Judge
from actors.realtime.matching import (
    STEPS_PER_CHECKPOINT,
    Candidate,
    Frames,
    questions_for,
    renewed,
    shares_of,
    wanted_by_crowd,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.realtime.announcing import ChannelView
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.change_ports import Question, Sight
    from actors.realtime.changelog import Entry
    from actors.realtime.interests import Crowd
    from actors.realtime.matching import Parcel, Share, Wanted
    from actors.realtime.messages import RowsMessage
    from actors.realtime.ports import Identity, Outbox
    from actors.realtime.quota import RateQuota
    from actors.telemetry.metrics import Metrics
    from protocol.changes.model import Change

    T = TypeVar("T")

BATCH = 128
#: What is prepared of one batch at most: changes times their subscribers, and bytes for each of them.
MAX_DELIVERIES = 100_000
MAX_BYTES = 256 * 1024
#: Beyond so many bytes a client lags, and for so many seconds it is waited for after each batch.
PACE_BYTES = 128 * 1024
PACE_WITHIN_S = 0.05
#: After a batch changes gather for so many times as long as it took, so that many at once share what a batch costs.
REST_FACTOR = 3.0
MAX_REST_S = 0.01
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
                began = trio.current_time()
                if await self._work():
                    await _rest(trio.current_time() - began)
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

    async def _work(self) -> bool:
        """Handle the oldest references: judge, ask, encode, push, and only then remove them.

        Return whether these were all there were.

        A tenant over its quota gets none of them.
        **Source**: spec 8 and 6.6: what is read meanwhile is discarded, and nobody is told.
        """
        pending = self._pending
        numbers = pending.begin(BATCH)
        if self._rate.is_tripped:
            self._metrics.changes_skipped["rate_limited"].inc(len(numbers))
            pending.finish()
            await trio.lowlevel.checkpoint()
            return False
        entries = [self._feed.log.get(number) for number in numbers]
        candidates, taken = await self._candidates(entries)
        pending.begin_only(taken)
        await self._persist(lambda: self._decide(candidates))
        parcels = await self._prepare(wanted_by_crowd(candidates))
        # Whoever left while a question was out gets nothing; whoever came was not asked about.
        delivered = Sends(
            (subscription.outbox, data)
            for parcel in parcels
            for data in (b"".join(parcel.frames),)
            for subscription in parcel.subscriptions
            if self._view.is_present(subscription)
        )
        try:
            await delivered.flush()
        finally:
            delivered.finish()
            pending.finish()
        sent = sum(one.matches * len(one.subscriptions) for one in parcels)
        self._rate.count(sent)
        activity = self._feed.activity.get(self._view.sub_topic)
        if activity is not None:
            activity.count(sent)
        self._metrics.changes_delivered.inc(sum(len(one.subscriptions) for one in parcels))
        missing = entries[:taken].count(None)
        if missing:
            self._metrics.changes_skipped["evicted"].inc(missing)
            pending.loss = EVICTED
        if pending.references:
            await _pace(one.outbox for parcel in parcels for one in parcel.subscriptions)
        return taken == len(numbers) < BATCH

    async def _candidates(self, entries: Sequence[Entry | None]) -> tuple[list[Candidate], int]:
        """Return who may want the first of these changes, and how many of them that are.

        They are few enough for what is prepared to stay small, but one at least.
        """
        candidates: list[Candidate] = []
        deliveries = size_bytes = 0
        for taken, entry in enumerate(entries):
            if entry is None:
                continue
            if deliveries >= MAX_DELIVERIES or size_bytes >= MAX_BYTES:
                return candidates, taken
            size_bytes += entry.size_bytes
            for step, interest in enumerate(self._pending.interests.match(entry.change), 1):
                crowd = interest.crowd
                # It may have left at the checkpoint.
                if crowd is not None:
                    candidates.append(Candidate(entry.change, crowd, interest))
                    deliveries += len(crowd.starts)
                if step % STEPS_PER_CHECKPOINT == 0:
                    await trio.lowlevel.checkpoint()
        return candidates, len(entries)

    async def _decide(self, candidates: Sequence[Candidate]) -> None:
        complaints = await self._judge.decide(candidates)
        for crowd, fault in complaints.found:
            for join in tuple(crowd.starts):
                self._announcer.complain(join, fault)

    async def _prepare(self, wanted: Mapping[Crowd, Wanted]) -> list[Parcel]:
        """Ask who may see what, and return what goes to whom.

        About those who speak for another identity by now it is asked again, but not for ever:
        a client that exchanges its token all the time would keep everybody else waiting.
        """
        sights: dict[Identity, Mapping[Change, Sight]] = {}
        asked: dict[Identity, frozenset[Change]] = {}
        encoder = Frames(self._feed.renderer)
        shares = await shares_of(wanted, self._view.roster)
        parcels: list[Parcel] = []
        moved: list[Share] = []
        for _ in range(ROUNDS):
            questions = questions_for(shares, wanted, asked)
            for identity, shown in (await self._ask(questions)).items():
                # Another subscription of the same identity may have asked about other changes.
                before = sights.get(identity)
                sights[identity] = {**before, **shown} if before else shown
            parcels = await encoder.of(shares, wanted, sights)
            moved = renewed(shares, self._view.roster)
            if not moved:
                return parcels
            shares += moved
        unsettled = set(moved)
        shares = [share for share in shares if share not in unsettled]
        # From now on they are left out, so that it ends.
        while moved:
            for share in moved:
                for subscription in share.subscriptions:
                    self._view.tell(subscription, UNSETTLED)
            parcels = await encoder.of(shares, wanted, sights)
            moved = renewed(shares, self._view.roster)
        return parcels

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


async def _rest(took_s: float) -> None:
    """Let changes gather after a batch that took so long; one that comes alone has not waited for it."""
    if took_s > 0:
        await trio.sleep(min(REST_FACTOR * took_s, MAX_REST_S))


async def _pace(outboxes: Iterable[Outbox]) -> None:
    """Let those who lag read on before more of a large transaction is pushed, but nobody keeps others waiting long."""
    with trio.move_on_after(PACE_WITHIN_S):
        for outbox in outboxes:
            if outbox.queued_bytes > PACE_BYTES:
                await outbox.wait_drained()
