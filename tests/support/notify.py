"""Notify sources over a real server for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from actors.db.catalog import Catalog
from actors.db.driver import connect
from actors.db.notify import NotifySource
from actors.db.pool import Pool
from actors.db.schema import migrate

if TYPE_CHECKING:
    from tests.support.postgres import Database

#: A moment in the past, in seconds since 1970.
NOW = 1_700_000_000.0
#: Ends the connections that listen.
BREAK_OFF = """
    select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
    and pid in (select pid from pg_locks where locktype = 'advisory')
"""


@asynccontextmanager
async def notify_source(conninfo: str, **options):
    pool = Pool(conninfo)
    try:
        yield NotifySource(conninfo, Catalog(pool), lambda: NOW, **options)
    finally:
        pool.close()


@frozen
class NotifyHarness:
    source: NotifySource
    database: Database
    is_durable: bool = False

    async def insert(self, *ids):
        async with await connect(self.database.conninfo) as connection:
            await connection.execute("insert into notes select unnest(%s::int[])", (list(ids),))

    async def break_off(self):
        async with await connect(self.database.conninfo) as connection:
            await connection.execute(BREAK_OFF)


@asynccontextmanager
async def live_notify_stream(conninfo: str, **options):
    async with notify_source(conninfo, **options) as source, source.connect(None) as stream:
        yield stream


async def install(database: Database) -> None:
    """Install everything, as the janitor does."""
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
