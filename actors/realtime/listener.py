"""DbListener: from the change source to the change log, and on to the channels that can care.

Appends each change, files a reference with every channel whose subscriptions can match, and wakes their rows actors.
It never waits for a channel: the log's bound is the bound.
A database that is away is a state, not a crash: the listener connects again with growing pauses, for ever.

Truth: the change log (an heir). Rank 3. Overflow: REJECT. Recovery: rung 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

import structlog
import trio

from actors.core.signals import Stopping
from actors.core.spec import Backoff
from actors.realtime.errors import Unavailable
from actors.realtime.messages import Wake

if TYPE_CHECKING:
    from random import Random

    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.changelog import PendingRows
    from actors.realtime.ports import ChangeSource, Chunk
    from actors.telemetry.metrics import Metrics

RECONNECT = Backoff(first=0.05, base=0.25, factor=2.0, ceiling=30.0)


class DbListener:
    """The actor of one change source; see the module's text."""

    def __init__(
        self,
        source: ChangeSource,
        feed: ChangeFeed,
        random: Random,
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._feed = feed
        self._random = random
        self._metrics = metrics
        self._log: BoundLogger = structlog.get_logger()

    async def run(self, inbox: Inbox[Never]) -> None:
        """Follow the source until told to stop."""
        inbox.ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            async for signal in inbox:
                if isinstance(signal, Stopping):
                    break
            nursery.cancel_scope.cancel()

    async def _follow(self) -> None:
        attempt = 0
        while True:
            try:
                async with self._source.connect(self._feed.log.last_position) as stream:
                    self._come()
                    attempt = 0
                    while True:
                        chunk = await stream.receive()
                        self._append(chunk)
                        stream.acknowledge(chunk.acknowledged)
            except Unavailable as away:
                self._go(away.advice)
            attempt += 1
            await trio.sleep(RECONNECT.delay(attempt, self._random.random()))

    def _come(self) -> None:
        """Note that the stream is live, and let the rows actors tell their clients."""
        state = self._feed.source
        state.come()
        if state.connects > 1:
            self._metrics.source_reconnects.inc()
        self._metrics.source_live.set(1)
        self._log.info("source.connected", connects=state.connects)
        self._wake(self._feed.router.channels())

    def _go(self, advice: str) -> None:
        """Note that the stream is not live, and let the rows actors tell their clients."""
        state = self._feed.source
        if state.is_live or state.advice != advice:
            self._log.warning("source.unavailable", advice=advice)
        state.go(advice)
        self._metrics.source_live.set(0)
        self._wake(self._feed.router.channels())

    def _append(self, chunk: Chunk) -> None:
        touched: dict[PendingRows, None] = {}
        for change in chunk.changes:
            # Invariant: what can fail comes first, so that a change is in the log and filed with everybody, or neither.
            matches = self._feed.router.match(change.table.relation)
            number = self._feed.log.append(change)
            if number is None:
                continue
            for pending in matches:
                pending.file(number, self._feed.log.first)
                touched[pending] = None
        self._metrics.changes_received.inc(len(chunk.changes))
        self._wake(tuple(touched))

    def _wake(self, channels: tuple[PendingRows, ...]) -> None:
        for pending in channels:
            if pending.rows is None or not pending.rows.alive:
                self._feed.router.drop(pending)
            else:
                pending.rows.tell(Wake())
