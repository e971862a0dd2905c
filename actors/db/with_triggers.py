"""The change source over logical replication, and beside it what triggers tell of tables that are not published.

Called by the listener through the port `ChangeSource`; everything but those tables is `replication`'s business.
A table that carries a trigger written for another server is live, though nobody published it;
what triggers tell of published tables comes by the log as well and is left out here.

A notification has no place in the log. It is given one behind its commit, where the log is written when it arrives,
and handed out only once all that committed before that place was.
A table may be published, or be it no more, between a commit and what is told of it: then the log had the transaction,
or had it not, and that decides.

**Invariants**
- Positions only grow, and no two changes have the same: between two records of the log there is a place of ours.
- That nobody can be listened to keeps nobody from following the log.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import structlog
import trio
from attrs import define, evolve, field

from actors.core.spec import Backoff
from actors.db.beside import beside
from actors.db.continuity import Continuity
from actors.db.decoded import Decoded
from actors.db.functions import CHANNELS
from actors.db.notifications import Notifications
from actors.db.notified_rows import SETTINGS, NotifiedRows
from actors.db.notified_tables import NotifiedTables, may_lack_in_log
from actors.db.notify_stream import LISTENED, Counter, NotifyStream
from actors.db.pool import Pool
from actors.db.publications import MESSAGES_PUBLICATION
from actors.realtime.change_ports import Chunk, Gap
from actors.realtime.errors import Unavailable
from protocol.changes.model import Lsn, Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from structlog.stdlib import BoundLogger

    from actors.db.replication import ReplicationSource
    from actors.db.replication_stream import ReplicationStream
    from protocol.changes.model import Change

RECONNECT = Backoff(first=0.05, base=0.25, factor=2.0, ceiling=30.0)
#: How often it is looked whether the log has come as far as a notification waits for, in seconds.
LOOK_EVERY_S = 0.02
#: How many batches of changes may wait for the log.
MAX_HEARD_CHUNKS = 8
#: A page of the log, and how long the headers of pages are; what is written next may begin behind one.
PAGE_BYTES = 8192
PAGE_HEADERS_BYTES = (24, 40)

_GAP = "The connection to Postgres was interrupted: changes of tables that only triggers tell of may be missing."
_HAS_TOLD_TABLES = """
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS trigger
        JOIN pg_catalog.pg_proc AS function ON function.oid = trigger.tgfoid
        JOIN pg_catalog.pg_class AS class ON class.oid = trigger.tgrelid
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE NOT trigger.tgisinternal AND trigger.tgenabled <> 'D' AND trigger.tgparentid = 0
        AND function.proname = ANY(%s) AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_publication_tables AS published
            WHERE published.pubname = ANY(%s)
            AND published.schemaname = namespace.nspname AND published.tablename = class.relname))
"""


@define(eq=False)
class SourceWithTriggers:
    """Implements the port `ChangeSource`."""

    _log_source: ReplicationSource
    _is_underway: bool = field(default=False, init=False)
    _tables: NotifiedTables = field(init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    @_tables.default
    def _of_the_publications(self) -> NotifiedTables:
        return NotifiedTables(self._log_source.catalog, self._publications)

    @property
    def retention_bytes(self) -> int | None:
        return self._log_source.retention_bytes

    @asynccontextmanager
    async def connect(self, after: Position | None) -> AsyncIterator[JoinedStream]:
        """Return a context that is a live stream; see the port for the contract."""
        async with self._log_source.connect(after) as inner:
            stream = JoinedStream(inner)
            listening = trio.Event()

            async def listen() -> None:
                await self._listen(stream, listening)

            async with beside(stream.pump, listen):
                # What commits from now on is to be heard, unless nobody can be listened to.
                await listening.wait()
                yield stream

    def start_over(self, reason: str) -> None:
        """Announce with the next stream that positions of before mean nothing any more."""
        self._log_source.start_over(reason)

    async def release(self, lsn: Lsn) -> None:
        await self._log_source.release(lsn)

    async def insert_position(self) -> Lsn:
        return await self._log_source.insert_position()

    @property
    def _publications(self) -> tuple[str, str]:
        return self._log_source.publication, MESSAGES_PUBLICATION

    async def _listen(self, stream: JoinedStream, listening: trio.Event) -> None:
        """Hand what is heard to the stream, for ever; `listening` is set once the first attempt was made."""
        attempt = 0
        while True:
            heard = trio.Event()
            try:
                await self._follow(stream, listening, heard)
            except (Unavailable, psycopg.Error) as error:
                attempt = 1 if heard.is_set() else attempt + 1
                if attempt == 1:
                    self._log.warning("notifications.unavailable", error=type(error).__name__)
            listening.set()
            await trio.sleep(RECONNECT.delay(attempt, 0.5))

    async def _follow(
        self, stream: JoinedStream, listening: trio.Event, heard: trio.Event
    ) -> None:
        pool = Pool(self._log_source.conninfo, 1, settings=SETTINGS)
        listener = await Notifications.listen(self._log_source.conninfo, LISTENED)
        async with listener.connection as connection:
            heard.set()
            if self._is_underway and await self._has_told_tables(connection):
                stream.add_gap(Gap(_GAP))
            self._is_underway = True
            rows = NotifiedRows(self._tables, pool, may_lack_in_log)
            told = NotifyStream(listener, rows, Continuity(), Counter(), self._log_source.now)
            try:
                async with beside(told.read):
                    listening.set()
                    while True:
                        await stream.wait_room()
                        chunk = await told.receive()
                        stream.add(chunk.changes, await self.insert_position())
            finally:
                pool.close()

    async def _has_told_tables(
        self, connection: psycopg.AsyncConnection[tuple[object, ...]]
    ) -> bool:
        arguments = (list(CHANNELS), list(self._publications))
        cursor = await connection.execute(_HAS_TOLD_TABLES, arguments)
        return await cursor.fetchone() == (True,)


@define(eq=False)
class _Heard:
    """Changes that may be handed out once the log was, up to where it was written when they had been heard."""

    changes: tuple[Change, ...]
    written: Lsn


@define(eq=False)
class JoinedStream:
    """Implements the port `ChangeStream`; one chunk of the log waits here at the most."""

    _inner: ReplicationStream
    _chunk: Chunk | None = field(default=None, init=False)
    _failure: Unavailable | None = field(default=None, init=False)
    _heard: deque[_Heard] = field(factory=deque[_Heard], init=False)
    _gap: Gap | None = field(default=None, init=False)
    _last: Position = field(default=Position(Lsn(0), 0), init=False)
    _stirred: trio.Event = field(factory=trio.Event, init=False)
    _taken: trio.Event = field(factory=trio.Event, init=False)
    _heard_taken: trio.Event = field(factory=trio.Event, init=False)
    _decoded: Decoded = field(factory=Decoded, init=False)
    #: Whether what was handed out last came by the log, which is to hear of it.
    _is_of_log: bool = field(default=True, init=False)

    async def receive(self) -> Chunk:
        """Wait for the next changes, of either kind."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._gap is not None:
                return self._take_gap()
            if self._chunk is not None:
                chunk, self._chunk = self._chunk, None
                self._is_of_log = True
                self._taken.set()
                if chunk.changes:
                    self._last = chunk.changes[-1].position
                    self._decoded.note(chunk.changes)
                return chunk
            if self._is_due():
                if (heard := self._take_heard()).changes:
                    return heard
                continue
            if self._failure is not None:
                raise self._failure
            with trio.move_on_after(LOOK_EVERY_S if self._heard else float("inf")):
                await self._stirred.wait()

    def acknowledge(self, lsn: Lsn) -> None:
        if self._is_of_log:
            self._inner.acknowledge(lsn)

    @property
    def confirmed(self) -> Lsn:
        return self._inner.confirmed

    @property
    def written(self) -> Lsn:
        return self._inner.written

    def add(self, changes: tuple[Change, ...], written: Lsn) -> None:
        """Hand on what committed before the log was written up to there."""
        if changes:
            self._heard.append(_Heard(changes, written))
            self._stir()

    async def wait_room(self) -> None:
        """Wait until more may be added; what nobody takes is to wait in Postgres."""
        while len(self._heard) >= MAX_HEARD_CHUNKS:
            await self._heard_taken.wait()

    def add_gap(self, gap: Gap) -> None:
        """Announce that changes were not heard."""
        self._gap = gap
        self._stir()

    async def pump(self) -> None:
        """Read the log, one chunk after the other was taken."""
        while True:
            self._taken = trio.Event()
            try:
                self._chunk = await self._inner.receive()
            except Unavailable as away:
                self._failure = away
                self._stir()
                return
            self._stir()
            await self._taken.wait()

    def _is_due(self) -> bool:
        """Whether the log was handed out up to where the next change was heard, and no transaction in half."""
        confirmed = self._inner.confirmed
        return (
            bool(self._heard)
            and confirmed >= _end_of_record(self._heard[0].written)
            and confirmed > self._last.commit_lsn
        )

    def _take_heard(self) -> Chunk:
        heard = self._heard.popleft()
        changes = [change for change in heard.changes if not self._decoded.has(change)]
        self._heard_taken.set()
        self._heard_taken = trio.Event()
        self._is_of_log = False
        # Just before the next record, where none can begin: records begin at multiples of eight.
        place = Lsn(heard.written - 1)
        return Chunk(
            tuple(evolve(change, position=self._next(place)) for change in changes),
            Lsn(0),
        )

    def _take_gap(self) -> Chunk:
        gap, self._gap, self._is_of_log = self._gap, None, False
        return Chunk((), Lsn(0), gap)

    def _next(self, place: Lsn) -> Position:
        """Return the position of the next change: at `place`, or behind what was handed out last if that is further."""
        last = self._last
        is_behind = place <= last.commit_lsn
        self._last = (
            Position(last.commit_lsn, last.index + 1) if is_behind else Position(place, 0)
        )
        return self._last

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()


def _end_of_record(written: Lsn) -> Lsn:
    """Return where the last record ended if the next one begins at `written`, be it behind the headers of a page."""
    into_page = written % PAGE_BYTES
    return Lsn(written - into_page) if into_page in PAGE_HEADERS_BYTES else written
