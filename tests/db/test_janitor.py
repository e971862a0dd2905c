"""The janitor is ready when the schema is, and waits for a database that is away."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
import structlog.testing
import trio

from actors.core.spec import ChildSpec
from actors.core.supervisor import Supervisor
from actors.db.janitor import Janitor, JanitorOptions
from actors.db.pool import Pool
from tests.support.embedded import query, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.postgres


@asynccontextmanager
async def working(conninfo: str, options: JanitorOptions) -> AsyncIterator[None]:
    """Run a janitor; entered once it is ready."""
    pool = Pool(conninfo, wait_s=1.0)
    supervisor = Supervisor(random=Random(1), observe=lambda _: None)
    spec = ChildSpec(
        name="janitor", factory=lambda: Janitor(pool, options), rank=3, ready_within=30.0
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run, spec)
        yield
        nursery.cancel_scope.cancel()
    pool.close()


def partitions(conninfo: str) -> int:
    ((count,),) = query(
        conninfo,
        "select count(*) from pg_inherits where inhparent = to_regclass('realtime.messages')",
    )
    return count


async def test_when_it_is_ready_messages_can_be_sent(database):
    async with working(database.conninfo, JanitorOptions()):
        query(database.conninfo, "select realtime.send('{}', 'e', 'room')")

    assert query(database.conninfo, "select topic from realtime.messages") == [("room",)]


async def test_it_looks_after_the_partitions_again_and_again(database):
    async with working(database.conninfo, JanitorOptions(every_s=0.05)):
        for name in query(
            database.conninfo,
            "select inhrelid::regclass::text from pg_inherits"
            " where inhparent = 'realtime.messages'::regclass",
        ):
            query(database.conninfo, f"drop table {name[0]}")
        await until(lambda: partitions(database.conninfo) == 5)


async def test_it_installs_nothing_where_it_is_told_not_to(database):
    async with working(database.conninfo, JanitorOptions(migrates=False)):
        found = query(database.conninfo, "select to_regnamespace('realtime')::text")

    assert found == [(None,)]


async def test_a_database_that_is_away_keeps_nobody_waiting_and_is_served_later(
    postgres_server, database
):
    postgres_server.execute(f"alter database {database.name} allow_connections false")
    with structlog.testing.capture_logs() as logs:
        async with working(database.conninfo, JanitorOptions()):
            assert any(entry["event"] == "schema.unprepared" for entry in logs)
            postgres_server.execute(f"alter database {database.name} allow_connections true")
            await until(
                lambda: (
                    query(database.conninfo, "select to_regclass('realtime.messages')::text")
                    != [(None,)]
                )
            )
