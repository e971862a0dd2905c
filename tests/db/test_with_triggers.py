"""Beside the log, tables that only triggers tell of are followed; those that are published come once."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from actors.db.driver import connect
from actors.db.with_triggers import SourceWithTriggers
from tests.contracts.change_source import CONTRACT, ids, receive, receive_chunk
from tests.support.notify import install
from tests.support.replication import DURABLE, TEMPORARY, PostgresHarness, source_for, until

pytestmark = pytest.mark.postgres
DEADLINE_S = 30.0

LISTENING = """
    select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
    and (query ^@ 'LISTEN' or strpos(query, 'trigger.tgparentid') > 0)
"""
END_LISTENING = f"select pg_terminate_backend(pid, 10000) from ({LISTENING}) as listening"


@pytest.fixture
async def tables(database):
    """A published table, and one that only a trigger tells of."""
    await install(database)
    database.execute(
        "create table notes (id int primary key, body text)",
        "create table told (id int primary key, body text)",
        "alter publication supabase_realtime add table notes",
        "create trigger told_changes_trigger after insert or update or delete on told"
        " for each row execute function notify_table_changes()",
    )
    return database


@asynccontextmanager
async def both_kinds(conninfo, **options):
    async with source_for(conninfo, **options) as source:
        yield SourceWithTriggers(source)


class Harness(PostgresHarness):
    @property
    def is_durable(self):
        return self.source._log_source.slots is DURABLE


@pytest.mark.parametrize("slots", [DURABLE, TEMPORARY], ids=lambda slots: slots.mode.value)
@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
async def test_it_keeps_the_contract_of_a_change_source(must, slots, tables):
    # Who has such tables hears of gaps that concern only them.
    tables.execute("drop table told")
    async with both_kinds(tables.conninfo, slots=slots) as source:
        await must(Harness(source, tables))


@pytest.mark.capability("FB-025", "FB-026")
async def test_a_table_that_only_a_trigger_tells_of_is_followed(tables):
    async with both_kinds(tables.conninfo) as source, source.connect(None) as stream:
        tables.execute(
            "insert into told values (1, 'a'), (2, 'b')",
            "insert into notes values (3, 'c')",
            "insert into told values (4, 'd')",
        )
        changes = await receive(stream, 4)

    assert sorted(ids(changes)) == [1, 2, 3, 4]
    positions = [change.position for change in changes]
    assert positions == sorted(set(positions))


async def test_a_published_table_that_carries_a_trigger_as_well_comes_once(tables):
    tables.execute(
        "create trigger notes_notify_change after insert on notes"
        " for each row execute function notify_table_change()"
    )
    async with both_kinds(tables.conninfo) as source, source.connect(None) as stream:
        tables.execute("insert into notes values (1)", "insert into told values (2)")
        tables.execute("insert into notes values (3)")
        changes = await receive(stream, 3)
        tables.execute("insert into told values (4)")
        changes += await receive(stream, 1)

    assert sorted(ids(changes)) == [1, 2, 3, 4]


async def test_a_table_that_is_published_and_no_more_under_way_comes_once(tables):
    tables.execute("create table beside (id int primary key)")
    async with both_kinds(tables.conninfo) as source, source.connect(None) as stream:
        tables.execute("insert into told values (-1)")
        assert ids(await receive(stream, 1)) == [-1]
        async with await connect(tables.conninfo) as connection:
            for number in range(0, 40, 2):
                await connection.execute(f"insert into told values ({number})")
                await connection.execute("alter publication supabase_realtime add table told")
                await connection.execute(f"insert into told values ({number + 1})")
                await connection.execute("alter publication supabase_realtime drop table told")
        tables.execute("insert into told values (40)")
        found = []
        while 40 not in found:
            found += ids((await receive_chunk(stream)).changes)

    assert sorted(found) == list(range(41))


async def test_what_was_written_under_way_loses_nothing_to_what_was_told(tables):
    count = 300
    last, found = None, []
    async with (
        both_kinds(tables.conninfo) as source,
        source.connect(None) as stream,
        trio.open_nursery() as nursery,
    ):
        for number, table in enumerate(("notes", "told", "notes", "told")):
            nursery.start_soon(write, tables, table, number * 1000, count)
        while len(found) < 4 * count:
            for change in (await receive_chunk(stream)).changes:
                # As the change log does.
                if last is None or change.position > last:
                    last = change.position
                    found.append(change)

    assert len({change.new[0] for change in found}) == 4 * count


async def write(tables, table, first, count):
    async with await connect(tables.conninfo) as connection:
        for number in range(first, first + count):
            await connection.execute(f"insert into {table} values ({number})")


async def test_a_change_lies_behind_an_insert_position_from_before_it(tables):
    async with both_kinds(tables.conninfo) as source, source.connect(None) as stream:
        for number in range(20):
            before = await source.insert_position()
            tables.execute(f"insert into told values ({number})")
            (change,) = await receive(stream, 1)
            assert change.position.commit_lsn >= before


async def test_that_nobody_can_be_listened_to_keeps_nobody_from_the_log(tables):
    async with both_kinds(tables.conninfo) as source, source.connect(None) as stream:
        tables.execute(END_LISTENING, "insert into notes values (1)")
        chunks = [await receive_chunk(stream), await receive_chunk(stream)]
        # Listened to again, and what may have been missed is announced.
        assert sorted(ids([change for chunk in chunks for change in chunk.changes])) == [1]
        assert [chunk.gap is not None for chunk in chunks].count(True) == 1
        tables.execute("insert into told values (2)")
        assert ids(await receive(stream, 1)) == [2]


async def test_who_has_no_such_tables_hears_of_no_gap(tables):
    tables.execute("drop table told")
    async with (
        both_kinds(tables.conninfo) as source,
        source.connect(None) as stream,
        await connect(tables.conninfo) as connection,
    ):
        await connection.execute(END_LISTENING)
        await until(connection, LISTENING)
        tables.execute("insert into notes values (1)")
        chunk = await receive_chunk(stream)

    assert (chunk.gap, ids(chunk.changes)) == (None, [1])


@pytest.mark.parametrize(
    "payload",
    [
        '{"table": "notes", "event": "INSERT", "new_record": {"id": 666}}',
        '{"table": "secret", "event": "INSERT", "new_record": {"id": 666}}',
        '{"table": "missing", "event": "INSERT", "new_record": {"id": 666}}',
        '{"table": "told", "event": "INSERT", "new_record": {"id": 666}',
        r'{"table": "to\u0000ld", "event": "INSERT", "new_record": {"id": 666}}',
        "garbage",
    ],
)
async def test_a_forged_notification_is_not_delivered(tables, payload):
    tables.execute("create table secret (id int primary key)")
    async with both_kinds(tables.conninfo) as source, source.connect(None) as stream:
        async with await connect(tables.conninfo) as connection:
            await connection.execute("select pg_notify('table_changes', %s)", (payload,))
        tables.execute("insert into told values (1)")
        assert ids(await receive(stream, 1)) == [1]
