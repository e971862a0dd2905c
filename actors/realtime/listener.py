"""DbListener: from the change source to the change log, and on to the channels that can care.

Appends each change, files a reference with every channel whose subscriptions can match, and wakes their rows actors;
a change that is a stored broadcast is filed for the relay instead.
It never waits for either: the log's bound is the bound.
A database that is away is a state, not a crash: the listener connects again with growing pauses, for ever.
Beside that it keeps house: old changes leave the log, and the database may forget what left it (`wal_governor.py`).

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
from actors.realtime.publication_watch import PublicationWatch
from actors.realtime.wal_governor import EVICT_DOWN_TO, Pressure, pressure
from protocol.changes.model import Kind, Lsn, format_lsn
from protocol.changes.stored import holds_broadcasts

if TYPE_CHECKING:
    from random import Random

    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.change_ports import ChangeSource, ChangeStream, Chunk, Gap
    from actors.realtime.pending_rows import PendingRows
    from actors.telemetry.metrics import Metrics
    from protocol.changes.model import Change

RECONNECT = Backoff(first=0.05, base=0.25, factor=2.0, ceiling=30.0)
#: Seconds between two rounds of housekeeping.
HOUSEKEEPING_S = 2.0
#: Seconds between two looks at what is published.
LOOK_AT_PUBLICATION_S = 5.0


class DbListener:
    """The actor of one change source; see the module's text."""

    def __init__(
        self,
        source: ChangeSource,
        feed: ChangeFeed,
        random: Random,
        metrics: Metrics,
        reconnect_within_s: float = RECONNECT.ceiling,
    ) -> None:
        self._source = source
        self._feed = feed
        self._random = random
        self._metrics = metrics
        self._reconnect_within_s = reconnect_within_s
        self._stream: ChangeStream | None = None
        self._released = Lsn(0)
        self._pressure = Pressure.NONE
        self._log: BoundLogger = structlog.get_logger()

    async def run(self, inbox: Inbox[Never]) -> None:
        """Follow the source until told to stop."""
        inbox.ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._keep_house)
            nursery.start_soon(self._watch_publication)
            async for signal in inbox:
                if isinstance(signal, Stopping):
                    break
            nursery.cancel_scope.cancel()

    async def _follow(self) -> None:
        attempt = 0
        while True:
            try:
                await self._set_beginning()
                async with self._source.connect(self._feed.log.last_position) as stream:
                    self._come(stream)
                    attempt = 0
                    while True:
                        chunk = await stream.receive()
                        if chunk.gap is not None:
                            self._announce(chunk.gap)
                        self._append(chunk)
                        stream.acknowledge(chunk.acknowledged)
            except Unavailable as away:
                self._go(away.advice)
            attempt += 1
            delay_s = RECONNECT.delay(attempt, self._random.random())
            await trio.sleep(min(delay_s, self._reconnect_within_s))

    async def _set_beginning(self) -> None:
        """Read from where on stored broadcasts are live, once: a durable slot brings back some of before our time."""
        broadcasts = self._feed.broadcasts
        if broadcasts.begins_at is None:
            broadcasts.begins_at = await self._source.insert_position()

    def _come(self, stream: ChangeStream) -> None:
        """Note that the stream is live, and let the rows actors tell their clients."""
        self._stream = stream
        state = self._feed.state
        state.come()
        if state.connects > 1:
            self._metrics.source_reconnects.inc()
        self._metrics.source_live.set(1)
        self._log.info("source.connected", connects=state.connects)
        self._wake(self._feed.router.channels())

    def _go(self, advice: str) -> None:
        """Note that the stream is not live, and let the rows actors tell their clients."""
        self._stream = None
        state = self._feed.state
        if state.is_live or state.advice != advice:
            self._log.warning("source.unavailable", advice=advice)
        state.go(advice)
        self._metrics.source_live.set(0)
        self._wake(self._feed.router.channels())

    def _announce(self, gap: Gap) -> None:
        """Let everybody who follows changes know that some were lost."""
        self._log.error("changes.lost", reason=gap.reason, starts_over=gap.starts_over)
        self._metrics.changes_skipped["gap"].inc()
        if gap.starts_over:
            self._feed.log.start_over()
            self._released = Lsn(0)
            self._feed.broadcasts.begins_at = Lsn(0)
        self._feed.broadcasts.loss = gap.reason
        self._wake_relay()
        for pending in self._feed.router.channels():
            pending.loss = gap.reason
        self._wake(self._feed.router.channels())

    def _append(self, chunk: Chunk) -> None:
        now = trio.current_time()
        touched: dict[PendingRows, None] = {}
        broadcasts = self._feed.broadcasts
        for change in chunk.changes:
            # Invariant: what can fail comes first, so that a change is in the log and filed with everybody, or neither.
            is_stored = holds_broadcasts(change.table.relation)
            relation = change.table.relation
            is_hidden = is_stored or not self._feed.tables.allow(relation.schema, relation.name)
            matches = () if is_hidden else self._feed.router.match(change)
            number = self._feed.log.append(change, now)
            if number is None:
                continue
            if is_stored and self._is_live(change):
                broadcasts.file(number, self._feed.log.first)
            for pending in matches:
                pending.file(number, self._feed.log.first)
                touched[pending] = None
        self._metrics.changes_received.inc(len(chunk.changes))
        self._wake(tuple(touched))
        if broadcasts.references:
            self._wake_relay()

    def _is_live(self, change: Change) -> bool:
        """Whether a change of realtime.messages is a broadcast that is to be delivered now."""
        begins_at = self._feed.broadcasts.begins_at
        is_new = begins_at is not None and change.position.commit_lsn >= begins_at
        return change.kind is Kind.INSERT and is_new

    def _wake_relay(self) -> None:
        relay = self._feed.broadcasts.relay
        if relay is not None:
            relay.tell(Wake())

    def _wake(self, channels: tuple[PendingRows, ...]) -> None:
        for pending in channels:
            if pending.rows is None or not pending.rows.alive:
                self._feed.router.drop(pending)
            else:
                pending.rows.tell(Wake())

    async def _keep_house(self) -> None:
        """Let the log and the database forget what is old enough, every now and then."""
        log = self._feed.log
        while True:
            await trio.sleep(HOUSEKEEPING_S)
            log.evict_older_than(trio.current_time() - log.window_s)
            stream = self._stream
            if stream is not None:
                self._govern(stream)
                await self._release(stream)

    async def _watch_publication(self) -> None:
        """Let the rows actors resolve their subscriptions again when other tables are published."""
        watch = PublicationWatch(self._feed)
        while True:
            await trio.sleep(LOOK_AT_PUBLICATION_S)
            if self._stream is not None and await watch.look(self._stream.written):
                self._wake(self._feed.router.channels())

    def _govern(self, stream: ChangeStream) -> None:
        """Look how much the database keeps for us, and do what that calls for."""
        retention = self._source.retention_bytes
        lag = stream.written - self._held(stream)
        level = pressure(lag, retention)
        if level is Pressure.EVICT and retention is not None:
            self._feed.log.evict_before(Lsn(stream.written - int(EVICT_DOWN_TO * retention)))
        if level is not self._pressure:
            report = self._log.warning if level > self._pressure else self._log.info
            report("wal.pressure", level=level.name, lag_bytes=lag, limit_bytes=retention)
        self._pressure = level
        self._feed.state.is_pressed = level >= Pressure.REFUSE
        self._metrics.source_lag_bytes.set(lag)

    def _held(self, stream: ChangeStream) -> Lsn:
        """Return from where on the database has to keep its log for us."""
        oldest = self._feed.log.oldest_lsn
        return stream.confirmed if oldest is None else oldest

    async def _release(self, stream: ChangeStream) -> None:
        held = self._held(stream)
        if held <= self._released:
            return
        try:
            await self._source.release(held)
        except Unavailable as away:
            # The stream will break by itself if it is more than a passing fault.
            self._log.debug("source.not_released", lsn=format_lsn(held), advice=away.advice)
        else:
            self._released = held
