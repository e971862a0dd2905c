"""The change source against a real server: what it delivers, what it survives and what it says when it cannot."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing
from attrs import define, field

from actors.db.driver import connect
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Absent, Kind, ReplicaIdentity, format_lsn
from tests.contracts.change_source import CONTRACT, receive
from tests.support.replication import (
    CONFIRMED,
    DURABLE,
    IMPATIENT,
    NOTES,
    NOW,
    PATIENCE_S,
    TEMPORARY,
    PostgresHarness,
    refusal,
    source_for,
    streaming,
    until,
)

pytestmark = pytest.mark.postgres

NOT_LOGGED = Absent.NOT_LOGGED


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(60):
        yield


NO_TEMPORARY_SLOT = """
    select where not exists (
        select from pg_replication_slots where database = current_database() and temporary)
"""
WAITING = """
    select from pg_stat_activity
    where datname = current_database() and backend_type = 'walsender' and wait_event_type = 'Lock'
"""


@pytest.fixture
def notes(database):
    """A database with a published table."""
    database.execute(*NOTES)
    return database


@pytest.mark.parametrize("slots", [DURABLE, TEMPORARY], ids=lambda slots: slots.mode.value)
@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
async def test_replication_keeps_the_contract_of_a_change_source(must, slots, notes):
    async with source_for(notes.conninfo, slots=slots) as source:
        await must(PostgresHarness(source, notes))


@pytest.mark.capability("SB-118", "SB-119", "SB-120", "SB-122", "M5-027")
async def test_inserts_updates_and_deletes_arrive_with_their_table(notes):
    async with streaming(notes.conninfo) as stream:
        notes.execute(
            "insert into notes values (1, 'a'), (2, null)",
            "update notes set body = 'b' where id = 1",
            "delete from notes where id = 2",
        )
        changes = await receive(stream, 4)

    assert [(change.kind, change.new, change.old) for change in changes] == [
        (Kind.INSERT, ("1", "a"), None),
        (Kind.INSERT, ("2", None), None),
        (Kind.UPDATE, ("1", "b"), ("1", NOT_LOGGED)),
        (Kind.DELETE, None, ("2", NOT_LOGGED)),
    ]
    table = changes[0].table
    assert (table.relation.schema, table.relation.name) == ("public", "notes")
    assert [facts.name for facts in table.types] == ["int4", "text"]
    assert (table.primary_key, table.row_security) == (("id",), False)
    assert changes[0].committed_at_us > NOW * 1_000_000


async def test_what_is_rolled_back_or_truncated_or_not_published_is_not_delivered(notes):
    notes.execute("create table others (id int)")
    async with streaming(notes.conninfo) as stream:
        notes.execute(
            "begin; insert into notes values (1); rollback",
            "insert into notes values (2)",
            "truncate notes",
            "insert into others values (3)",
            "insert into notes values (4)",
        )
        changes = await receive(stream, 2)

    assert [change.new[0] for change in changes] == ["2", "4"]


async def test_values_arrive_in_the_pinned_forms_whatever_the_database_prefers(database):
    database.execute(
        f"alter database {database.name} set datestyle = 'SQL, DMY'",
        f"alter database {database.name} set timezone = 'Asia/Kolkata'",
        f"alter database {database.name} set intervalstyle = 'iso_8601'",
        f"alter database {database.name} set bytea_output = 'escape'",
        f"alter database {database.name} set extra_float_digits = -10",
        "create table forms (at timestamptz, span interval, bytes bytea, number float8)",
        "create publication supabase_realtime for all tables",
    )
    async with streaming(database.conninfo) as stream:
        database.execute(
            "insert into forms values"
            " ('2026-01-02 03:04:05+00', '1 day 2 hours', 'ab', 0.1::float8 + 0.2::float8)"
        )
        (change,) = await receive(stream, 1)

    assert change.new == (
        "2026-01-02 03:04:05+00",
        "1 day 02:00:00",
        r"\x6162",
        "0.30000000000000004",
    )


async def test_a_change_of_the_table_counts_for_the_rows_after_it(notes):
    async with streaming(notes.conninfo) as stream:
        notes.execute(
            "insert into notes values (1)",
            "alter table notes add column mood text default 'ok'",
            "alter table notes replica identity full",
            "alter table notes enable row level security",
            "insert into notes values (2)",
        )
        before, after = await receive(stream, 2)

    assert (before.new, after.new) == (("1", None), ("2", None, "ok"))
    assert after.table.relation.replica_identity is ReplicaIdentity.FULL
    assert after.table.row_security


async def test_row_security_switched_on_later_is_noticed(notes):
    async with streaming(notes.conninfo) as stream:
        notes.execute("insert into notes values (1)")
        (before,) = await receive(stream, 1)
        notes.execute(
            "alter table notes enable row level security", "insert into notes values (2)"
        )
        (after,) = await receive(stream, 1)

    assert (before.table.row_security, after.table.row_security) == (False, True)


async def test_a_table_dropped_before_it_was_looked_up_is_for_nobody(notes):
    async with streaming(notes.conninfo) as stream:
        notes.execute("insert into notes values (1)", "drop table notes")
        (change,) = await receive(stream, 1)

    assert change.new == ("1", None)
    assert (change.table.primary_key, change.table.row_security) == ((), True)


async def test_a_chunk_of_large_rows_ends_early(notes):
    async with streaming(notes.conninfo) as stream:
        notes.execute(
            "insert into notes select n, repeat('x', 1000000) from generate_series(1, 10) as n"
        )
        sizes = []
        while sum(sizes) < 10:
            sizes.append(len((await stream.receive()).changes))

    assert max(sizes) <= 5


async def test_a_publication_may_have_any_name(database):
    database.execute(
        "create table notes (id int primary key)",
        'create publication "it\'s ""mine" for table notes',
    )
    async with streaming(database.conninfo, publication="it's \"mine") as stream:
        database.execute("insert into notes values (1)")

        assert len(await receive(stream, 1)) == 1


async def test_a_reader_blocked_beyond_the_servers_patience_stays_connected(notes):
    async with streaming(notes.conninfo + IMPATIENT) as stream:
        # More than the socket's buffers hold, so that the server has to wait for us.
        notes.execute(
            "insert into notes select n, repeat('x', 10000) from generate_series(1, 3000) as n"
        )
        await trio.sleep(2 * PATIENCE_S)

        assert len(await receive(stream, 3000)) == 3000


async def test_an_idle_stream_lets_the_server_forget(notes):
    notes.execute("create table others (id int)")
    async with streaming(notes.conninfo + IMPATIENT) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive)
        async with await connect(notes.conninfo) as connection:
            cursor = await connection.execute("select pg_current_wal_insert_lsn()::text")
            (written,) = await cursor.fetchone()
            await connection.execute("insert into others values (1)")
            await until(connection, CONFIRMED, written)
        nursery.cancel_scope.cancel()


@define
class ReportCounter:
    """A clock that the stream asks once per report, and that tells how often."""

    count: int = 0
    _awaited: dict[int, trio.Event] = field(factory=dict)

    def __call__(self):
        self.count += 1
        if self.count in self._awaited:
            self._awaited.pop(self.count).set()
        return NOW

    async def wait_for_more(self, count: int):
        await self._awaited.setdefault(self.count + count, trio.Event()).wait()


async def test_what_is_not_acknowledged_is_not_confirmed(notes):
    reports = ReportCounter()
    async with streaming(notes.conninfo + IMPATIENT, now=reports) as stream:
        # Of the first transaction the end may not have come yet, but it comes before the second one.
        for number in (1, 2):
            notes.execute(f"insert into notes values ({number})")
            chunk = await stream.receive()
        end = format_lsn(chunk.acknowledged)
        async with await connect(notes.conninfo) as connection:
            await reports.wait_for_more(2)
            confirmed_too_early = (await connection.execute(CONFIRMED, (end,))).rowcount
            stream.acknowledge(chunk.acknowledged)
            await until(connection, CONFIRMED, end)

    assert not confirmed_too_early


async def test_leaving_ends_the_slot_that_streamed(notes):
    async with streaming(notes.conninfo):
        pass

    async with await connect(notes.conninfo) as connection:
        await until(connection, NO_TEMPORARY_SLOT)


# What it says when it cannot.


async def test_a_missing_publication_is_created_and_may_get_tables_meanwhile(database):
    database.execute("create table notes (id int primary key)")
    async with streaming(database.conninfo) as stream:
        database.execute(
            "insert into notes values (1)",
            "alter publication supabase_realtime add table notes",
            "insert into notes values (2)",
        )
        (change,) = await receive(stream, 1)

    assert change.new == ("2",)


async def test_a_role_that_may_not_publish_says_what_to_run(database):
    database.execute("create role plain login replication")
    try:
        advice = await refusal(database.conninfo_as("plain"))
    finally:
        database.execute("drop role plain")

    assert "run 'CREATE PUBLICATION supabase_realtime FOR TABLE <table>'" in advice


async def test_a_role_that_may_not_replicate_says_so(notes):
    notes.execute("create role plain login")
    try:
        assert "REPLICATION" in await refusal(notes.conninfo_as("plain"))
    finally:
        notes.execute("drop role plain")


async def test_a_transaction_open_for_long_is_waited_for_and_then_named(notes):
    async with await connect(notes.conninfo) as other, other.transaction():
        await other.execute("insert into notes values (1)")
        advice = await refusal(notes.conninfo, patience_s=0.1)

    assert "pg_stat_activity" in advice


async def test_a_transaction_open_for_a_moment_is_waited_for(notes):
    received = []

    async def receive_one():
        async with streaming(notes.conninfo) as stream:
            notes.execute("insert into notes values (2)")
            received.extend(await receive(stream, 1))

    async with (
        trio.open_nursery() as nursery,
        await connect(notes.conninfo) as watch,
        await connect(notes.conninfo) as other,
        other.transaction(),
    ):
        await other.execute("insert into notes values (1)")
        nursery.start_soon(receive_one)
        await until(watch, WAITING)

    assert [change.new[0] for change in received] == ["2"]


async def test_a_missing_database_says_so(postgres_server):
    assert "does not exist" in await refusal(postgres_server.conninfo("nowhere"))


async def test_nobody_there_says_so():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        advice = await refusal(f"host=127.0.0.1 port={unused.getsockname()[1]} dbname=x user=x")

    assert "cannot be reached" in advice


async def test_a_terminated_walsender_says_so(notes):
    async with source_for(notes.conninfo) as source, source.connect(None) as stream:
        await PostgresHarness(source, notes).break_off()
        with pytest.raises(DatabaseUnavailable, match="ended the connection"):
            await receive(stream, 1)


async def test_a_publication_dropped_meanwhile_says_what_to_run(notes):
    async with streaming(notes.conninfo) as stream:
        notes.execute("drop publication supabase_realtime", "insert into notes values (1)")
        with pytest.raises(DatabaseUnavailable, match="CREATE PUBLICATION"):
            await receive(stream, 1)


async def test_broadcasts_stream_in_as_soon_as_something_publishes_them(notes):
    notes.execute("create schema realtime", "create table realtime.messages (id int)")
    async with source_for(notes.conninfo, look_every_s=0.05) as source:
        async with source.connect(None) as stream:
            notes.execute(
                "create publication supabase_realtime_messages_publication"
                " for table realtime.messages"
            )
            with pytest.raises(DatabaseUnavailable):
                await receive(stream, 1)
        async with source.connect(None) as stream:
            notes.execute("insert into realtime.messages values (1)")

            (change,) = await receive(stream, 1)

    assert change.table.relation.name == "messages"
