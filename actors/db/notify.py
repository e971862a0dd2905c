"""The change source for databases without logical replication: triggers tell of each row by NOTIFY.

Called by the listener through the port `ChangeSource`; `notify_stream` is the stream, `arming` sees to the triggers.
Nothing is kept for a server that is away: what commits meanwhile is lost, and a gap says so.

**Invariants**
- The triggers are there before the stream is live, and those of tables that are published later soon after.
- Reconnecting is the listener's business.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import trio
from attrs import define, field

from actors.db.advice import unavailable
from actors.db.arming import Arming
from actors.db.beside import beside
from actors.db.coalescer import Coalescer
from actors.db.continuity import Continuity
from actors.db.notifications import Notifications
from actors.db.notified_rows import SETTINGS, NotifiedRows
from actors.db.notified_tables import NotifiedTables
from actors.db.notify_stream import LISTENED, Counter, NotifyStream
from actors.db.pool import Pool
from actors.db.publications import (
    MESSAGES_PUBLICATION,
    PUBLICATION,
    create_publication,
    has_publication,
)
from actors.realtime.change_ports import Gap
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Lsn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from actors.db.catalog import Catalog
    from protocol.changes.model import Position

#: How often it is looked whether all published tables have their triggers, in seconds.
LOOK_EVERY_S = 5.0

_GAP = "The connection to Postgres was interrupted: changes made meanwhile are missing."


@define(eq=False)
class NotifySource:
    """Implements the port `ChangeSource` for published tables, tables that carry a trigger, and stored broadcasts.

    `now` returns seconds since 1970-01-01 UTC, for changes whose trigger tells no time.
    """

    conninfo: str = field(repr=False)
    catalog: Catalog
    now: Callable[[], float]
    publication: str = PUBLICATION
    look_every_s: float = LOOK_EVERY_S
    _continuity: Continuity = field(factory=Continuity, init=False)
    _counter: Counter = field(factory=Counter, init=False)
    _stream: NotifyStream | None = field(default=None, init=False)
    _tables: NotifiedTables = field(init=False)
    _marks: Coalescer[None, Lsn] = field(init=False)

    @_tables.default
    def _of_the_publications(self) -> NotifiedTables:
        return NotifiedTables(self.catalog, (self.publication, MESSAGES_PUBLICATION))

    @_marks.default
    def _make_marks(self) -> Coalescer[None, Lsn]:
        return Coalescer(self._mark)

    @property
    def retention_bytes(self) -> int | None:
        return None

    @asynccontextmanager
    async def connect(self, after: Position | None) -> AsyncIterator[NotifyStream]:
        """Return a context that is a live stream; see the port for the contract."""
        pool = Pool(self.conninfo, 1, settings=SETTINGS)
        arming = Arming(self.catalog.pool, self.publication)
        try:
            listening = await Notifications.listen(self.conninfo, LISTENED)
        except psycopg.Error as error:
            raise unavailable(error) from None
        async with listening.connection as connection:
            try:
                await arming.announce(connection)
                if not await has_publication(connection, self.publication):
                    await create_publication(connection, self.publication)
            except psycopg.Error as error:
                raise unavailable(error) from None
            await arming.arm()
            if after is not None or self._continuity.is_underway:
                self._continuity.owe(Gap(_GAP))
            rows = NotifiedRows(self._tables, pool, lambda _table: True)
            stream = NotifyStream(listening, rows, self._continuity, self._counter, self.now)

            async def keep_armed() -> None:
                while True:
                    await trio.sleep(self.look_every_s)
                    await arming.arm()
                    # Lets the listener look at what is published.
                    self._counter.next()

            async with beside(stream.read, keep_armed):
                self._stream, self._continuity.is_underway = stream, True
                try:
                    yield stream
                finally:
                    self._stream = None
                    stream.break_off(DatabaseUnavailable("The stream has ended."))
                    pool.close()

    def start_over(self, reason: str) -> None:
        """Announce with the next stream that positions of before mean nothing any more."""
        self._continuity.owe(Gap(reason, starts_over=True))

    async def release(self, lsn: Lsn) -> None:  # noqa: ARG002  # nothing is kept
        """Do nothing, as Postgres keeps nothing for us."""
        await trio.lowlevel.checkpoint()
        if self._stream is None:
            raise DatabaseUnavailable("The stream is interrupted: waiting for it to come back.")

    async def insert_position(self) -> Lsn:
        """Ask Postgres to tell us when all has come that committed before, once for all who ask at the same time."""
        return await self._marks.answer(None)

    async def _mark(self, _asked: Sequence[None]) -> Lsn:
        if self._stream is None:
            # Whatever is to come will have a greater number.
            await trio.lowlevel.checkpoint()
            return Lsn(self._counter.number + 1)
        return await self._stream.mark(self.catalog.pool)
