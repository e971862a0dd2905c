"""The change source over triggers and NOTIFY, against a real server."""

from __future__ import annotations

import itertools

import psycopg
import pytest
import trio
import trio.testing

from actors.db.continuity import Continuity
from actors.db.driver import connect
from actors.db.notified_rows import NotifiedRows
from actors.db.notified_tables import NotifiedTables
from actors.db.notify_stream import Counter, NotifyStream
from protocol.changes.model import Absent, Kind
from tests.contracts.change_source import CONTRACT, ids, receive
from tests.support.embedded import query
from tests.support.extent import is_long
from tests.support.notify import NotifyHarness, install, notify_source

pytestmark = pytest.mark.postgres
DEADLINE_S = 900.0 if is_long() else 60.0

INSERT = "insert into notes values ({})"


@pytest.fixture
async def notes(database):
    """A database with everything that is installed, and a published table."""
    await install(database)
    database.execute(
        "create table notes (id int primary key, body text)",
        "alter publication supabase_realtime add table notes",
    )
    return database


@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
async def test_the_notify_source_keeps_the_contract_of_a_change_source(must, notes):
    async with notify_source(notes.conninfo) as source:
        await must(NotifyHarness(source, notes))


async def test_nothing_is_lost_at_full_speed(notes):
    count, writers = (100_000, 4) if is_long() else (4_000, 4)
    async with (
        notify_source(notes.conninfo) as source,
        source.connect(None) as stream,
        trio.open_nursery() as nursery,
    ):
        for number in range(writers):
            share = count // writers
            nursery.start_soon(write, notes, number * share, share)
        changes = await receive(stream, count)

    assert sorted(ids(changes)) == list(range(count))
    positions = [change.position for change in changes]
    assert positions == sorted(set(positions))
    # Each writer's rows come in the order in which they were written.
    for number in range(writers):
        share = range(number * (count // writers), (number + 1) * (count // writers))
        assert [key for key in ids(changes) if key in share] == list(share)


async def write(database, first, count):
    """Insert rows in transactions of one, of ten and of many."""
    async with await connect(database.conninfo) as connection:
        done = 0
        for size in itertools.cycle((1, 10, 500)):
            rows = min(size, count - done)
            if not rows:
                return
            await connection.execute(
                "insert into notes select n, 'x' from generate_series(%s::int, %s::int) n",
                (first + done, first + done + rows - 1),
            )
            done += rows


@pytest.mark.parametrize(
    "payload",
    [
        b"garbage",
        b"\xff",
        b"",
        b'{"table": "notes", "event": "INSERT", "record": {"id": "\\ud800"}}',
        rb'{"table": "no\u0000tes", "event": "INSERT", "record": {"id": 1}}',
    ],
)
async def test_what_nobody_can_read_harms_nobody(notes, payload):
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        async with await connect(notes.conninfo) as connection:
            await connection.execute(
                "select pg_notify('table_changes', %s)", (payload.decode("latin-1"),)
            )
            await connection.execute(
                "select pg_notify('troupe_marks', %s)", (payload.decode("latin-1"),)
            )
        notes.execute(INSERT.format(1))
        assert ids(await receive(stream, 1)) == [1]


async def test_large_rows_are_fetched_by_their_keys(notes):
    notes.execute(
        "create table keyed (a int, b text, c timestamptz, big text, primary key (c, b, a))",
        "create table keyless (big text)",
        "alter publication supabase_realtime add table keyed, keyless",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute(
            "insert into keyed values (1, 'it''s', '2026-01-02 03:04:05+05', repeat('x', 9000)),"
            " (2, '', '-infinity', repeat('y', 9000))",
            "insert into keyless values (repeat('z', 9000))",
            "delete from keyed where a = 1",
        )
        one, two, three, gone = await receive(stream, 4)

    assert one.new in (
        ("1", "it's", "2026-01-01 22:04:05+00", "x" * 9000),
        # Deleted before it was fetched.
        ("1", "it's", "2026-01-01 22:04:05+00", Absent.UNCHANGED),
    )
    assert two.new == ("2", "", "-infinity", "y" * 9000)
    assert three.new == (Absent.UNCHANGED,)
    assert gone.old == ("1", "it's", "2026-01-01 22:04:05+00", Absent.NOT_LOGGED)


@pytest.mark.parametrize(
    ("made_of_it", "key", "value", "told"),
    [
        ("create domain key_type as trapped", "trapped", "1", "1"),
        ("create domain key_type as trapped", "key_type", "1", "1"),
        ("create domain key_type as trapped", "trapped[]", "'{1}'", "{1}"),
        ("create type key_type as (member trapped)", "key_type", "'(1)'", "(1)"),
        ("create type key_type as range (subtype = trapped)", "key_type", "'[1,3)'", "[1,3)"),
    ],
)
async def test_a_row_whose_key_is_of_a_domain_is_told_without_its_values(
    notes, made_of_it, key, value, told
):
    notes.execute(
        "create function trap(int) returns bool language plpgsql as $$ begin"
        " insert into public.caught values (current_user); return true; end $$",
        "create table caught (who text)",
        "create domain trapped as int check (trap(value))",
        made_of_it,
        f"create table keyed (a {key} primary key, big text)",
        "alter publication supabase_realtime add table keyed",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute(f"insert into keyed values ({value}, repeat('x', 9000))")
        before = query(notes.conninfo, "select count(*) from caught")
        (change,) = await receive(stream, 1)

    assert change.new == (told, Absent.UNCHANGED)
    assert query(notes.conninfo, "select count(*) from caught") == before


async def test_rows_are_fetched_by_their_owner_who_can_only_read(notes, made_roles):
    owner = f"owner_{notes.name}"
    made_roles(owner)
    notes.execute(
        "create table caught (who text)",
        "create function visit() returns void language plpgsql as $$ begin"
        " if pg_catalog.current_setting('transaction_read_only') = 'off' then"
        " insert into public.caught values (current_user);"
        f" elsif current_user <> '{owner}' then raise 'caught %', current_user; end if; end $$",
        "create function trap(int) returns bool immutable language plpgsql as $$ begin"
        " perform public.visit(); return true; end $$",
        "create table keyed (id int primary key, big text)",
        "create index on keyed (id) where trap(1)",
        f"alter table keyed owner to {owner}",
        "alter publication supabase_realtime add table keyed",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute("insert into keyed values (1, repeat('x', 9000))", "truncate caught")
        (change,) = await receive(stream, 1)

    assert change.new == ("1", "x" * 9000)
    assert query(notes.conninfo, "select who from caught") == []


async def test_a_table_that_is_locked_keeps_nobody_waiting(notes):
    notes.execute(
        "create table locked (id int primary key, big text)",
        "alter publication supabase_realtime add table locked",
        "insert into locked values (1)",
    )
    told = '{"table": "locked", "type": "INSERT", "is_partial": true, "record": {"id": 1}}'
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        with psycopg.connect(notes.conninfo) as owner:
            owner.execute("lock table locked")
            async with await connect(notes.conninfo) as connection:
                for _ in range(3):
                    await connection.execute(
                        "select pg_notify('fluxbase_changes', %s)", (told,)
                    )
                    await connection.execute(
                        "insert into notes values (1) on conflict (id) do update set body = 'x'"
                    )
            changes = await receive(stream, 6)

    assert changes[0].new == ("1", Absent.UNCHANGED)


async def test_a_key_that_no_value_has_spoils_only_itself(notes):
    notes.execute(
        "create table keyed (id uuid primary key, big text)",
        "alter publication supabase_realtime add table keyed",
    )
    bad = '{"table": "keyed", "type": "INSERT", "is_partial": true, "record": {"id": "bad"}}'
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        async with await connect(notes.conninfo) as connection, connection.transaction():
            for _ in range(5):
                await connection.execute("select pg_notify('fluxbase_changes', %s)", (bad,))
                await connection.execute(
                    "insert into keyed values (gen_random_uuid(), repeat('x', 9000))"
                )
                bad += " "
        changes = await receive(stream, 10)

    values = [change.new[1] for change in changes]
    assert values == [Absent.UNCHANGED, "x" * 9000] * 5


async def test_a_table_with_a_row_filter_is_not_followed(notes):
    notes.execute(
        "create table filtered (id int primary key)",
        "alter publication supabase_realtime add table filtered where (id > 5)",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute("insert into filtered values (1), (7)")
        notes.execute(INSERT.format(9))
        assert ids(await receive(stream, 1)) == [9]


async def test_kinds_of_changes_that_are_not_published_are_left_out(notes):
    notes.execute("alter publication supabase_realtime set (publish = 'insert')")
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute(
            "insert into notes values (1)",
            "update notes set id = 2",
            "insert into notes values (3)",
        )
        changes = await receive(stream, 2)

    assert [change.kind for change in changes] == [Kind.INSERT] * 2


async def test_a_table_with_triggers_of_both_dialects_comes_once(notes):
    notes.execute(
        "create trigger notes_changes_trigger after insert on notes"
        " for each row execute function notify_table_changes()",
        "select enable_realtime('public', 'notes')",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute("alter table notes enable trigger all")
        notes.execute("insert into notes values (1)", "insert into notes values (2)")
        changes = await receive(stream, 2)

    assert ids(changes) == [1, 2]


async def test_a_table_with_several_triggers_of_one_dialect_comes_once(notes):
    notes.execute(
        "create trigger more after insert or update on notes"
        " for each row execute function notify_realtime_change()",
        "create trigger sometimes after update of body on notes"
        " for each row execute function notify_realtime_change()",
        "create trigger gone after delete on notes"
        " for each row execute function notify_table_change()",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute(
            "create trigger notes_notify_change after insert or update or delete on notes"
            " for each row execute function notify_table_change()",
            "insert into notes values (1)",
            "update notes set body = 'x'",
            "delete from notes",
            "insert into notes values (2)",
        )
        changes = await receive(stream, 4)

    kinds = [change.kind for change in changes]
    assert kinds == [Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.INSERT]


async def test_a_partition_that_was_enabled_before_its_table_comes_once(notes):
    notes.execute(
        "create table parts (id int primary key) partition by range (id)",
        "create table part partition of parts for values from (0) to (10)",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute(
            "select enable_realtime('public', 'part')",
            "select enable_realtime('public', 'parts')",
            "insert into parts values (1)",
            "insert into parts values (2)",
        )
        changes = await receive(stream, 2)

    assert [(change.table.relation.name, change.new) for change in changes] == [
        ("parts", ("1",)),
        ("parts", ("2",)),
    ]


async def test_a_trigger_of_somebody_s_own_is_understood(notes):
    """As the documents write it, with the quoting that works."""
    notes.execute(
        "create table messages (id int primary key, content text)",
        """
        create or replace function own.notify_table_changes() returns trigger as $$
        declare note json;
        begin
            note = json_build_object('table', tg_table_name, 'schema', tg_table_schema, 'event', tg_op,
                'new_record', row_to_json(new), 'timestamp', extract(epoch from now()));
            perform pg_notify('table_changes', note::text);
            return new;
        end $$ language plpgsql
        """.replace("own.", "realtime."),
        "create trigger messages_changes_trigger after insert on messages"
        " for each row execute function realtime.notify_table_changes()",
    )
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        notes.execute("insert into messages values (1, 'hello')")
        (change,) = await receive(stream, 1)

    assert change.new == ("1", "hello")
    assert change.table.relation.name == "messages"


async def test_json_that_jsonb_refuses_is_told_as_it_is(notes):
    notes.execute(
        "create table odd (id int primary key, value json)",
        "alter publication supabase_realtime add table odd",
    )
    texts = [r'{"b": "\ud800", "a": 1}', r'"\u0000"', "1e1000000"]
    async with notify_source(notes.conninfo) as source, source.connect(None) as stream:
        for number, text in enumerate(texts):
            notes.execute(f"insert into odd values ({number}, '{text}')")
        changes = await receive(stream, len(texts))

    assert [change.new[1] for change in changes] == texts


class Flood:
    """Somebody who never stops; `count` is how much was read of it."""

    def __init__(self):
        self.count = 0

    async def receive(self):
        await trio.lowlevel.checkpoint()
        self.count += 100
        return [("table_changes", b'{"table":"x","type":"DELETE","old_record":{}}')] * 100


async def test_a_flood_of_small_notices_waits_in_postgres(database):
    flood = Flood()
    async with notify_source(database.conninfo) as source, trio.open_nursery() as nursery:
        rows = NotifiedRows(NotifiedTables(source.catalog, ()), source.catalog.pool, bool)
        stream = NotifyStream(flood, rows, Continuity(), Counter(), lambda: 0.0)
        nursery.start_soon(stream.read)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert 10_000 < flood.count < 20_000
