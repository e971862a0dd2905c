"""The change source over logical replication: gets a slot ready, then hands out the stream.

Called by the listener through the port `ChangeSource`; `driver` connects, `replication_stream` does the rest.
Reconnecting is the listener's business: whatever goes wrong on the way is one `DatabaseUnavailable` with its advice.

**Invariants**
- The publication is there before the slot: Postgres looks for it only at the first change,
  and a slot older than its publication cannot be read.
- The slot is temporary: it ends with the connection and never keeps WAL for a server that is gone.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import trio
from attrs import field, frozen
from psycopg import sql

from actors.db.advice import publication_missing, unavailable, wal_level_too_low
from actors.db.driver import CopyBoth, connect
from actors.db.replication_stream import ReplicationStream
from actors.realtime.ports import Gap
from protocol.changes.model import parse_lsn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from psycopg.errors import Diagnostic

    from actors.db.catalog import Catalog
    from actors.db.driver import TrioConnection
    from protocol.changes.model import Lsn, Position

PUBLICATION = "supabase_realtime"

NOT_RESUMED = "Changes may have been lost while the database was away"

#: Between two reports when the server has no `wal_sender_timeout`, in seconds.
REPORT_EVERY_S = 20.0

# What the output functions of the types depend on; `protocol.changes.values` knows these forms only.
_PIN_SETTINGS = """
    SET client_encoding = 'UTF8';
    SET timezone = 'UTC';
    SET datestyle = 'ISO';
    SET intervalstyle = 'postgres';
    SET extra_float_digits = 1;
    SET bytea_output = 'hex'
"""

_EXAMINE = """
    SELECT current_setting('wal_level') = 'logical',
        EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {publication}),
        (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout')
"""


@frozen
class ReplicationSource:
    """Streams what commits in the tables of one publication.

    `now` returns seconds since 1970-01-01 UTC; it is told to the server, and nothing depends on it.
    Postgres starts a slot only where it knows every open transaction:
    entering waits until those of the moment have ended, each for `patience_s` at most.
    """

    conninfo: str = field(repr=False)
    catalog: Catalog
    now: Callable[[], float]
    publication: str = PUBLICATION
    patience_s: float = 10.0

    @asynccontextmanager
    async def connect(self, after: Position | None) -> AsyncIterator[ReplicationStream]:
        """Return a context that is a live stream; see the port for the contract."""
        try:
            connection = await connect(self.conninfo, replication="database")
        except psycopg.Error as error:
            raise unavailable(error) from None
        async with connection:
            try:
                timeout_s = await self._examine(connection)
                copy = await self._start(connection)
            except psycopg.Error as error:
                raise unavailable(error) from None
            # A third, so that one report may be late or lost.
            report_every_s = timeout_s / 3 if timeout_s else REPORT_EVERY_S
            stream = ReplicationStream(copy, self.catalog, self.now, report_every_s)
            if after is not None:
                stream.gap = Gap(NOT_RESUMED)
            connection.add_notice_handler(partial(self._take_notice, stream))
            async with _beside(stream.report):
                yield stream

    @property
    def retention_bytes(self) -> int | None:
        """Return None: a temporary slot keeps nothing."""
        return None

    async def release(self, _lsn: Lsn) -> None:
        """Do nothing: a temporary slot keeps nothing that could be released."""
        await trio.lowlevel.checkpoint()

    async def insert_position(self) -> Lsn:
        """Return where the next record of the log begins."""
        async with self.catalog.pool.connection() as connection:
            row = await (
                await connection.execute("SELECT pg_current_wal_insert_lsn()")
            ).fetchone()
        assert row is not None  # noqa: S101
        return parse_lsn(row[0])

    def _take_notice(self, stream: ReplicationStream, notice: Diagnostic) -> None:
        """Break the stream when its publication is dropped, of which Postgres 18 only warns."""
        if notice.sqlstate == psycopg.errors.ObjectNotInPrerequisiteState.sqlstate:
            stream.break_off(publication_missing(self.publication))

    async def _examine(self, connection: TrioConnection) -> float:
        """Pin the session's settings and look whether replication can work; return wal_sender_timeout in seconds."""
        await connection.execute(_PIN_SETTINGS)
        # A replication connection takes no parameters, so the name is quoted into the text.
        query = sql.SQL(_EXAMINE).format(publication=sql.Literal(self.publication))
        row = await (await connection.execute(query)).fetchone()
        is_logical, has_publication, timeout_ms = row or (False, False, 0)
        if not is_logical:
            raise wal_level_too_low()
        if not has_publication:
            raise publication_missing(self.publication)
        return float(timeout_ms) / 1000

    async def _start(self, connection: TrioConnection) -> CopyBoth:
        """Make a slot of our own and stream from it."""
        # The process id is not used twice while the slot lives.
        slot = f"troupe_temporary_{connection.info.backend_pid}"
        # Given up by the server itself: one that we leave alone would wait on, and keep its WAL sender.
        await connection.execute(f"SET lock_timeout = {int(self.patience_s * 1000)}")
        await connection.execute(
            f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"
        )
        await connection.execute("SET lock_timeout = 0")
        names = _quoted(_quoted(self.publication, '"'), "'")
        return await CopyBoth.start(
            connection,
            f"START_REPLICATION SLOT {slot} LOGICAL 0/0"
            f" (proto_version '1', publication_names {names})",
        )


def _quoted(text: str, quote: str) -> str:
    """Quote as replication commands want it: nothing but the quote itself is special."""
    return quote + text.replace(quote, quote * 2) + quote


@asynccontextmanager
async def _beside(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run `task` beside the body and end it with the body, whose error comes out as it is, not in a group."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised again, outside of the nursery
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
