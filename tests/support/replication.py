"""Change sources over a real server for tests: made, followed and disturbed."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import define, field, frozen

from actors.db.catalog import Catalog
from actors.db.driver import TrioConnection, connect
from actors.db.pool import Pool
from actors.db.replication import ReplicationSource
from actors.db.slots import SlotMode, SlotOptions
from actors.realtime.errors import DatabaseUnavailable, Unavailable

if TYPE_CHECKING:
    from actors.realtime.change_ports import Gap
    from protocol.changes.model import Position
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
#: How long a follower is waited for, in seconds.
WAIT_S = 30.0
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


@define
class Follower:
    """Follows a source as the listener does: connects again for ever, keeps what is new, lets go of what it has."""

    source: ReplicationSource
    ids: list[int] = field(factory=list)
    gaps: list[Gap] = field(factory=list)
    advice: list[str] = field(factory=list)
    after: Position | None = None
    connects: int = 0
    _stirred: trio.Event = field(factory=trio.Event)

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        while True:
            try:
                async with self.source.connect(self.after) as stream:
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    self.connects += 1
                    self._stir()
                    await self._follow(stream)
            except Unavailable as away:
                self.advice.append(away.advice)
                self._stir()
                await trio.sleep(0.02)

    async def wait_for(self, last: int):
        await self._wait(lambda: last in self.ids)

    async def wait_for_connects(self, count: int):
        await self._wait(lambda: self.connects >= count)

    async def wait_for_failures(self, count: int):
        await self._wait(lambda: len(self.advice) >= count)

    async def _wait(self, condition):
        with trio.fail_after(WAIT_S):
            while not condition():
                await self._stirred.wait()

    async def _follow(self, stream):
        failure = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._release, stream)
            try:
                await self._receive(stream)
            except Unavailable as away:
                failure = away
            nursery.cancel_scope.cancel()
        raise failure

    async def _receive(self, stream):
        while True:
            chunk = await stream.receive()
            if chunk.gap is not None:
                self.gaps.append(chunk.gap)
                if chunk.gap.starts_over:
                    self.after = None
            for change in chunk.changes:
                if self.after is None or change.position > self.after:
                    self.after = change.position
                    self.ids.append(int(change.new[0]))
            stream.acknowledge(chunk.acknowledged)
            self._stir()

    async def _release(self, stream):
        while True:
            await trio.sleep(0.05)
            with suppress(Unavailable):
                await self.source.release(stream.confirmed)

    def _stir(self):
        self._stirred.set()
        self._stirred = trio.Event()


@asynccontextmanager
async def following(conninfo: str, **options):
    """Follow a source of one's own beside the body."""
    async with source_for(conninfo, **options) as source, trio.open_nursery() as nursery:
        follower = Follower(source)
        await nursery.start(follower.run)
        yield follower
        nursery.cancel_scope.cancel()
