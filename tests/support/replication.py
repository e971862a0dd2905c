"""Change sources over a real server for tests: made, followed and disturbed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import frozen

from actors.db.catalog import Catalog
from actors.db.driver import TrioConnection, connect
from actors.db.pool import Pool
from actors.db.replication import ReplicationSource
from actors.db.slots import SlotMode, SlotOptions
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from tests.support.postgres import Database

NOTES = (
    "create table notes (id int primary key, body text)",
    "create publication supabase_realtime for table notes",
)
#: A moment in the past, in seconds since 1970.
NOW = 1_700_000_000.0
#: How long the server waits to hear from us where a test says IMPATIENT, in seconds.
PATIENCE_S = 1.5
IMPATIENT = f" options='-c wal_sender_timeout={PATIENCE_S}s'"
#: More changes than there are.
EVERYTHING = 10**9
DURABLE = SlotOptions(SlotMode.DURABLE)
TEMPORARY = SlotOptions(SlotMode.TEMPORARY)

CONFIRMED = """
    select from pg_replication_slots
    where database = current_database() and temporary and confirmed_flush_lsn >= %s
"""
BREAK_OFF = """
    select pg_terminate_backend(active_pid, 10000) from pg_replication_slots
    where database = current_database()
"""


async def until(connection: TrioConnection, query: str, *parameters: str) -> None:
    """Ask until there is a row; Postgres has no event to wait for."""
    while not (await connection.execute(query, parameters)).rowcount:  # noqa: ASYNC110
        await trio.sleep(0.02)


@asynccontextmanager
async def source_for(conninfo: str, now=lambda: NOW, **options):
    pool = Pool(conninfo)
    try:
        yield ReplicationSource(conninfo, Catalog(pool), now, **options)
    finally:
        pool.close()


@asynccontextmanager
async def streaming(conninfo: str, **options):
    async with source_for(conninfo, **options) as source, source.connect(None) as stream:
        yield stream


async def refusal(conninfo: str, **options) -> str:
    """Return the sentence with which connecting fails."""
    with pytest.raises(DatabaseUnavailable) as caught:
        async with streaming(conninfo, **options):
            pass
    return caught.value.advice


@frozen
class PostgresHarness:
    source: ReplicationSource
    database: Database

    @property
    def is_durable(self):
        return self.source.slots.mode is SlotMode.DURABLE

    async def insert(self, *ids):
        async with await connect(self.database.conninfo) as connection:
            await connection.execute("insert into notes select unnest(%s::int[])", (list(ids),))

    async def break_off(self):
        async with await connect(self.database.conninfo) as connection:
            await connection.execute(BREAK_OFF)
