"""What clients choose the price of keeps nobody else from the database."""

from __future__ import annotations

import pytest
import trio

from actors.database import Database
from actors.db.driver import connect
from actors.db.filters import PostgresFilters
from actors.db.janitor import KEPT
from actors.db.partitions import keep_partitions
from actors.db.schema import migrate
from actors.realtime.change_ports import FilterRequest, Scope
from actors.realtime.ports import Grants, PolicyQuestion
from actors.realtime.stored_ports import ReplayQuestion
from actors.settings import Settings
from protocol.changes.filters import parse_filter
from tests.support.postgres import until
from tests.support.row_security import identity_of

pytestmark = pytest.mark.postgres

SLOW = r"^(.*)(.*)(.*)(.*)\1\2\3\4$"
JUDGING = """
    select from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()
    and strpos(query, 'OPERATOR(pg_catalog.~)') > 0
"""
#: As many connections as filters may have.
LENT = 4
#: Much less than a slow filter takes (2 s), and than anybody waits for a connection (5 s).
AT_ONCE_S = 1.5


@pytest.fixture
async def migrated(database):
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
        await keep_partitions(connection, KEPT)
    database.execute(
        "create table notes (id int primary key, body text)",
        "alter publication supabase_realtime add table notes",
        "create policy everybody on realtime.messages using (true)",
    )
    return database


async def test_a_storm_of_slow_filters_keeps_neither_replays_nor_policies_nor_joins_waiting(
    migrated,
):
    database = Database.open(migrated.conninfo, Settings(), lambda: 0.0)
    filters = PostgresFilters(database.filter_pool)
    async with await connect(migrated.conninfo) as watch:
        cursor = await watch.execute("select 'notes'::regclass::oid::bigint")
        ((oid,),) = await cursor.fetchall()
        requests = [
            FilterRequest(oid, "postgres", parse_filter(f"body=match.{SLOW}|{number}"))
            for number in range(20)
        ]
        slow = await filters.compile(requests)

        async def judge(predicate):
            await filters.judge([(predicate, ("1", "a" * 401))])

        async with trio.open_nursery() as nursery:
            for predicate in slow:
                nursery.start_soon(judge, predicate)
            await until(watch, f"{JUDGING} having count(*) >= {LENT}")
            with trio.fail_after(AT_ONCE_S):
                await database.replays.newest(ReplayQuestion("room", 0, 25, 1_000_000))
                question = PolicyQuestion("room", identity_of("anon"), b"")
                granted = await database.policies.may_read(question, presence=True)
                scope = Scope("anon", "public", "notes", None, True)
                (extent,) = await database.subscriptions.resolve([scope])
            nursery.cancel_scope.cancel()
    database.close()

    assert granted == Grants(broadcast=True, presence=True)
    assert extent.is_published
