"""Which slot a source chooses, and what it keeps for a server that is away."""

from __future__ import annotations

import psycopg
import pytest
import trio
from structlog.testing import capture_logs

from actors.db.driver import connect
from actors.db.replication_stream import REPORT_EVERY_BYTES
from actors.db.slots import SlotMode, SlotOptions
from tests.contracts.change_source import receive, receive_until
from tests.support.postgres import Database, fresh_database, running_server
from tests.support.replication import (
    DURABLE,
    NOTES,
    following,
    refusal,
    source_for,
    streaming,
    until,
)  # fmt: skip

pytestmark = pytest.mark.postgres

AUTO = SlotOptions(SlotMode.AUTO)
MEGABYTE = 1024 * 1024
SLOTS = """
    select slot_name, temporary from pg_replication_slots
    where database = current_database() order by slot_name
"""
#: What a checkpoint may throw away of the log without the slots, in bytes behind the end of it.
RETAINED = """
    select max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::bigint
    from pg_replication_slots where database = current_database()
"""
WRITE_MUCH = (
    "insert into others select n, repeat('x', 1000) from generate_series(1, 16000) as n"
)
#: Three files of the log, without writing them full.
MUCH = ("select pg_switch_wal()", "insert into others values (1)") * 3


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(60):
        yield


@pytest.fixture(scope="module")
def bounded_server():
    """A server that keeps no more than one file of its log for a slot."""
    with running_server(max_slot_wal_keep_size="1MB", min_wal_size="32MB") as server:
        yield server


@pytest.fixture
def bounded(bounded_server, database_names):
    with fresh_database(bounded_server, next(database_names)) as database:
        database.execute(*NOTES, "create table others (id int)")
        yield database


@pytest.fixture
def notes(database):
    database.execute(*NOTES)
    return database


def query(database: Database, statement: str) -> list[tuple]:
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def durable_slots(database: Database) -> list[str]:
    return [name for name, is_temporary in query(database, SLOTS) if not is_temporary]


def oid(database: Database) -> int:
    ((number,),) = query(
        database, "select oid::int from pg_database where datname = current_database()"
    )
    return number


async def test_auto_is_durable_where_postgres_bounds_what_a_slot_keeps(bounded):
    async with source_for(bounded.conninfo) as source, source.connect(None):
        slots = durable_slots(bounded)
        retention_bytes = source.retention_bytes

    assert slots == [f"troupe_{oid(bounded)}"]
    assert retention_bytes == MEGABYTE


async def test_auto_is_temporary_elsewhere_and_says_how_to_change_that(notes):
    with capture_logs() as logs:
        async with source_for(notes.conninfo) as source, source.connect(None):
            slots = durable_slots(notes)
            retention_bytes = source.retention_bytes

    (chosen,) = [line for line in logs if line["event"] == "slot.chosen"]
    assert (slots, retention_bytes) == ([], None)
    assert chosen["mode"] == "temporary"
    assert "max_slot_wal_keep_size" in chosen["advice"]


async def test_durable_may_be_insisted_on(notes):
    options = SlotOptions(SlotMode.DURABLE, "blue")
    async with source_for(notes.conninfo, slots=options) as source, source.connect(None):
        slots = durable_slots(notes)
        retention_bytes = source.retention_bytes

    assert slots == [f"troupe_{oid(notes)}_blue"]
    assert retention_bytes is None


# What is kept.


async def test_a_server_that_starts_anew_receives_what_committed_meanwhile(notes):
    async with streaming(notes.conninfo, slots=DURABLE) as stream:
        notes.execute("insert into notes values (1)")
        await receive(stream, 1)
    notes.execute("insert into notes values (2)")
    async with streaming(notes.conninfo, slots=DURABLE) as stream:
        found, has_gap = await receive_until(stream, 2, None)

    assert (found, has_gap) == ([1, 2], False)


async def test_a_slot_dropped_while_away_is_made_again_and_the_gap_announced(notes):
    async with source_for(notes.conninfo, slots=DURABLE) as source:
        async with source.connect(None) as stream:
            notes.execute("insert into notes values (1)")
            (first,) = await receive(stream, 1)
        notes.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
            " where database = current_database() and not temporary",
            "insert into notes values (2)",
        )
        async with source.connect(first.position) as stream:
            notes.execute("insert into notes values (3)")
            found, has_gap = await receive_until(stream, 3, first.position)
            slots = durable_slots(notes)

    assert (found, has_gap) == ([3], True)
    assert len(slots) == 1


async def test_a_slot_dropped_while_we_stream_is_made_again_without_a_gap(notes):
    async with source_for(notes.conninfo, slots=DURABLE) as source:
        async with source.connect(None) as stream:
            notes.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                " where database = current_database() and not temporary",
                "insert into notes values (1)",
            )
            (first,) = await receive(stream, 1)
            await source.release(stream.confirmed)
            slots = durable_slots(notes)
        notes.execute("insert into notes values (2)")
        async with source.connect(first.position) as stream:
            found, has_gap = await receive_until(stream, 2, first.position)

    assert len(slots) == 1
    assert (found, has_gap) == ([2], False)


async def test_a_slot_that_postgres_gave_up_is_made_again_and_the_gap_announced(bounded):
    async with streaming(bounded.conninfo):
        pass
    bounded.execute("insert into notes values (1)", *MUCH, "checkpoint")
    lost = query(
        bounded, "select wal_status from pg_replication_slots where not temporary and"
        " database = current_database()"
    )  # fmt: skip
    async with source_for(bounded.conninfo) as source:
        async with source.connect(None) as stream:
            bounded.execute("insert into notes values (2)")
            found, has_gap = await receive_until(stream, 2, None)
        async with source.connect(None) as stream:
            again = await receive_until(stream, 2, None)

    assert lost == [("lost",)]
    assert (found, has_gap) == ([2], True)
    assert again == ([2], False)


async def test_a_slot_moved_by_somebody_else_is_a_gap(notes):
    async with source_for(notes.conninfo, slots=DURABLE) as source:
        async with source.connect(None) as stream:
            notes.execute("insert into notes values (1)")
            (first,) = await receive(stream, 1)
        notes.execute(
            # A slot advances to what is on disk only.
            "set synchronous_commit = on",
            "insert into notes values (2)",
            "select pg_replication_slot_advance(slot_name, pg_current_wal_lsn())"
            " from pg_replication_slots where database = current_database() and not temporary",
        )
        async with source.connect(first.position) as stream:
            notes.execute("insert into notes values (3)")
            found, has_gap = await receive_until(stream, 3, first.position)

    assert (found, has_gap) == ([3], True)


async def test_a_slot_older_than_its_publication_is_given_up_in_the_end(notes):
    async with following(notes.conninfo, slots=DURABLE) as follower:
        notes.execute("insert into notes values (1)")
        await follower.wait_for(1)
        notes.execute("drop publication supabase_realtime", "insert into notes values (2)")
        await follower.wait_for_failures(3)
        # It was created again meanwhile, empty.
        notes.execute("alter publication supabase_realtime add table notes")
        number = 2
        while number not in follower.ids:
            number += 1
            notes.execute(f"insert into notes values ({number})")
            with trio.move_on_after(1):
                await follower.wait_for(number)

    assert follower.gaps


# Two servers.


async def test_two_servers_of_one_database_both_receive(notes):
    with capture_logs() as logs:
        async with (
            streaming(notes.conninfo, slots=DURABLE) as first,
            source_for(notes.conninfo, slots=DURABLE) as other,
            other.connect(None) as second,
        ):
            notes.execute("insert into notes values (1)")
            changes = [await receive(stream, 1) for stream in (first, second)]
            slots = durable_slots(notes)
            retention_bytes = other.retention_bytes

    assert [change.new[0] for (change,) in changes] == ["1", "1"]
    assert (len(slots), retention_bytes) == (1, None)
    told = [line["event"] for line in logs if line["event"].startswith("slot.")]
    assert told == ["slot.created", "slot.shared"]


async def test_two_servers_with_suffixes_have_a_slot_each(notes):
    blue, green = (SlotOptions(SlotMode.DURABLE, suffix) for suffix in ("blue", "green"))
    async with streaming(notes.conninfo, slots=blue), streaming(notes.conninfo, slots=green):
        assert len(durable_slots(notes)) == 2


async def test_the_second_server_takes_the_slot_over_without_a_gap(notes):
    options = {"slots": DURABLE, "look_every_s": 0.05}
    async with source_for(notes.conninfo, slots=DURABLE) as source:
        async with source.connect(None), following(notes.conninfo, **options) as follower:
            notes.execute("insert into notes values (1)")
            await follower.wait_for(1)
        async with following(notes.conninfo, **options) as follower:
            async with source.connect(None):
                notes.execute("insert into notes values (2)")
                await follower.wait_for(2)
            notes.execute("insert into notes values (3)")
            await follower.wait_for(3)

    assert follower.gaps == []


async def test_a_slot_that_something_else_streams_is_left_alone(notes):
    async with streaming(notes.conninfo, slots=DURABLE):
        (name,) = durable_slots(notes)
    async with await connect(notes.conninfo, replication="database") as other:
        other.pgconn.send_query(
            f"START_REPLICATION SLOT {name} LOGICAL 0/0"
            " (proto_version '1', publication_names '\"supabase_realtime\"')".encode()
        )
        async with await connect(notes.conninfo) as connection:
            await until(
                connection, "select from pg_replication_slots where active and not temporary"
            )
        async with (
            source_for(notes.conninfo, slots=DURABLE) as source,
            source.connect(None) as stream,
        ):
            notes.execute("insert into notes values (1)")
            changes = await receive(stream, 1)
            with capture_logs() as logs:
                # Would be refused by Postgres.
                await source.release(stream.confirmed)

    assert (len(changes), logs) == (1, [])


async def test_our_own_session_of_before_does_not_count_as_another_server(notes):
    with capture_logs() as logs:
        # The first is not left, as when the network was cut and the server has not noticed.
        async with (
            source_for(notes.conninfo, slots=DURABLE) as source,
            source.connect(None),
            source.connect(None) as stream,
        ):
            notes.execute("insert into notes values (1)")
            await receive(stream, 1)

    assert "slot.shared" not in [line["event"] for line in logs]


# What it costs.


async def test_the_log_is_let_go_while_only_others_write(notes):
    notes.execute("create table others (id int, body text)")
    async with (
        following(notes.conninfo, slots=DURABLE),
        await connect(notes.conninfo) as writer,
    ):
        for _ in range(10):
            await writer.execute(WRITE_MUCH)
            # Writes down which transactions run, else a slot does not learn where it may start again.
            await writer.execute("checkpoint")
        cursor = await writer.execute(RETAINED)
        (retained_bytes,) = await cursor.fetchone()

    assert retained_bytes < 5 * REPORT_EVERY_BYTES


async def test_nothing_is_asked_to_advance_what_did_not_move(notes):
    async with (
        source_for(notes.conninfo, slots=DURABLE) as source,
        source.connect(None) as stream,
    ):
        notes.execute("insert into notes values (1)")
        await receive(stream, 1)
        confirmed = stream.confirmed
        await source.release(confirmed)
        source.catalog.pool.close()
        source.catalog.pool.conninfo = "host=127.0.0.1 port=1"

        # Would be refused if it asked.
        await source.release(confirmed)
        await source.release(confirmed - 1)


async def test_slots_exhausted_leave_a_temporary_one(bounded_server, database_names):
    settings = bounded_server.settings
    bounded_server.stop()
    bounded_server.settings = settings | {"max_replication_slots": "1"}
    bounded_server.start()
    try:
        with fresh_database(bounded_server, next(database_names)) as database:
            database.execute(*NOTES)
            with capture_logs() as logs:
                async with streaming(database.conninfo, slots=AUTO) as stream:
                    database.execute("insert into notes values (1)")
                    await receive(stream, 1)
                    slots = durable_slots(database)
            advice = await refusal(database.conninfo, slots=DURABLE)
    finally:
        bounded_server.stop()
        bounded_server.settings = settings
        bounded_server.start()

    assert slots == []
    assert "max_replication_slots" in logs[0]["advice"]
    assert "max_replication_slots" in advice
