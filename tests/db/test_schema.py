"""The schema installs itself, once, and respects what is there."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo

from actors.db import schema
from actors.db.driver import connect
from actors.db.schema import FUNCTIONS, STEPS, migrate
from tests.support.embedded import query

if TYPE_CHECKING:
    from actors.db.schema import Migration
    from tests.support.postgres import Database

pytestmark = pytest.mark.postgres

NAMES = [step.name for step in STEPS] + [function.name for function in FUNCTIONS]
EVERYTHING = """
    select 'function', oid::text, proname::text, prosrc, proowner::regrole::text, proacl::text from pg_proc
    where pronamespace in (select oid from pg_namespace where nspname in ('realtime', 'auth'))
    union all
    select 'class', oid::text, relname::text, relrowsecurity::text, relowner::regrole::text, relacl::text
    from pg_class where relnamespace in (select oid from pg_namespace where nspname in ('realtime', 'auth'))
    union all
    select 'publication', oid::text, pubname::text, pubviaroot::text, pubowner::regrole::text, '' from pg_publication
    order by 1, 2
"""


async def run(conninfo: str) -> Migration:
    async with await connect(conninfo) as connection:
        return await migrate(connection)


def call(database: Database, statement: str) -> list[str]:
    """Run a statement; return the warnings it caused."""
    warnings: list[str] = []
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.add_notice_handler(
            lambda notice: warnings.append(notice.message_primary or "")
        )
        connection.execute(statement)
    return warnings


def today(database: Database) -> None:
    """Make the partition of today, which is the janitor's work."""
    database.execute(
        "create table realtime.now partition of realtime.messages for values from ('2000-01-01') to ('3000-01-01')",
    )


async def test_an_empty_database_gets_everything(database):
    migration = await run(database.conninfo)

    assert (migration.done, migration.left_out) == (NAMES, [])


async def test_the_second_time_nothing_is_done(database):
    await run(database.conninfo)
    before = query(database.conninfo, EVERYTHING)

    migration = await run(database.conninfo)

    assert (migration.done, migration.left_out) == ([], [])
    assert query(database.conninfo, EVERYTHING) == before


INDEXES = """
    select indrelid::regclass::text from pg_index
    where indisvalid and pg_get_indexdef(indexrelid) like '%(topic, inserted_at DESC)%' order by 1
"""


async def test_steps_that_were_not_noted_find_all_done(database):
    await run(database.conninfo)
    today(database)
    before = query(database.conninfo, EVERYTHING)
    database.execute("truncate realtime.troupe_steps")

    await run(database.conninfo)

    assert query(database.conninfo, EVERYTHING) == before


async def test_partitions_that_are_there_get_the_index_for_replays(database):
    await run(database.conninfo)
    today(database)
    database.execute(
        "drop index realtime.messages_topic_inserted_at_idx",
        "create index messages_inserted_at_topic_idx on realtime.messages (inserted_at desc, topic)",
        "delete from realtime.troupe_steps where name = '0007_replay_index'",
        "set timezone to 'UTC'",
    )
    assert query(database.conninfo, INDEXES) == []

    assert (await run(database.conninfo)).done == ["0007_replay_index"]

    assert query(database.conninfo, INDEXES) == [("realtime.messages",), ("realtime.now",)]
    remaining = "select to_regclass('realtime.messages_inserted_at_topic_idx')::text"
    assert query(database.conninfo, remaining) == [(None,)]


async def test_a_large_partition_is_not_indexed_and_later_ones_are(database):
    await run(database.conninfo)
    database.execute(
        "create table realtime.large partition of realtime.messages"
        " for values from ('2000-01-01') to ('2001-01-01')",
        "alter table realtime.large alter column payload set storage external",
        "insert into realtime.large (topic, extension, payload, inserted_at)"
        " select 't', 'broadcast', to_jsonb(repeat('x', 1900)), '2000-06-01' from generate_series(1, 36000)",
        "drop index realtime.messages_topic_inserted_at_idx",
        "create index messages_inserted_at_topic_idx on realtime.messages (inserted_at desc, topic)",
        "delete from realtime.troupe_steps where name = '0007_replay_index'",
    )

    await run(database.conninfo)
    database.execute(
        "create table realtime.later partition of realtime.messages"
        " for values from ('2002-01-01') to ('2003-01-01')"
    )

    assert query(database.conninfo, INDEXES) == [("realtime.later",)]
    remaining = "select to_regclass('realtime.messages_inserted_at_topic_idx') is not null"
    assert query(database.conninfo, remaining) == [(True,)]


async def test_a_function_of_ours_that_was_changed_is_restated(database):
    await run(database.conninfo)
    query(database.conninfo, "comment on function realtime.topic() is 'Made by Troupe, of old'")

    assert (await run(database.conninfo)).done == ["topic"]


async def test_what_a_supabase_stack_set_up_stays_as_it_is(database):
    database.execute(
        "create schema auth",
        "create function auth.uid() returns uuid language sql as 'select null::uuid'",
        "create schema realtime",
        "create table realtime.messages (id uuid, topic text)",
        "create function realtime.topic() returns text language sql as $$ select 'theirs' $$",
        "create publication supabase_realtime for all tables",
    )
    before = query(database.conninfo, EVERYTHING)

    migration = await run(database.conninfo)

    assert migration.left_out == []
    assert set(before) <= set(query(database.conninfo, EVERYTHING))
    assert query(database.conninfo, "select realtime.topic()") == [("theirs",)]


async def test_a_role_without_rights_is_told_what_each_step_needs(postgres_server, database):
    name = f"poor_{database.name}"
    query(database.conninfo, f"create role {name} login")
    try:
        migration = await run(make_conninfo(database.conninfo, user=name))
    finally:
        query(database.conninfo, f"drop role {name}")

    assert migration.done == []
    assert [sentence.split()[0] for sentence in migration.left_out] == NAMES
    needs = [sentence for sentence in migration.left_out if "the login role needs" in sentence]
    assert any("CREATE on the database" in sentence for sentence in needs)
    assert query(database.conninfo, EVERYTHING) == []


async def test_a_schema_of_another_role_is_left_to_it(database):
    name = f"barred_{database.name}"
    await run(database.conninfo)
    query(database.conninfo, f"create role {name} login")
    try:
        migration = await run(make_conninfo(database.conninfo, user=name))
    finally:
        query(database.conninfo, f"drop role {name}")

    assert (migration.done, migration.left_out) == ([], [schema.BARRED])


async def test_an_owner_who_is_no_superuser_gets_everything_but_roles(database):
    name = f"owner_{database.name}"
    await run(database.conninfo)  # the roles are of the server
    database.execute(
        "drop schema realtime cascade",
        "drop schema auth cascade",
        "drop schema public cascade",
        "create schema public authorization pg_database_owner",
        "drop publication supabase_realtime, supabase_realtime_messages_publication",
        f"create role {name} login",
        f"grant anon, authenticated, service_role to {name}",
        f"alter database {database.name} owner to {name}",
    )
    try:
        migration = await run(make_conninfo(database.conninfo, user=name))
        assert (migration.done, migration.left_out) == (NAMES, [])
    finally:
        database.execute(
            f"alter database {database.name} owner to postgres",
            f"drop owned by {name} cascade",
            f"drop role {name}",
        )


async def test_a_failing_step_rolls_back_whole(database, monkeypatch):
    read = schema.read_sql

    def broken(folder: str, name: str) -> bytes:
        return b"select 1 / 0" if name == "0005_publications" else read(folder, name)

    monkeypatch.setattr(schema, "read_sql", broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await run(database.conninfo)

    assert query(database.conninfo, EVERYTHING) == []
    monkeypatch.undo()
    assert (await run(database.conninfo)).done == NAMES


async def test_servers_that_start_together_do_not_trip_over_each_other(database):
    done: list[str] = []

    async def start() -> None:
        done.extend((await run(database.conninfo)).done)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(start)

    assert sorted(done) == sorted(NAMES)


@pytest.mark.parametrize(
    ("private", "payload", "stored"),
    [
        ("true", '{"a": 1}', {"a": 1}),
        ("false", '{"id": "mine"}', {"id": "mine"}),
        ("true", '{"id": null}', {"id": None}),
    ],
)
async def test_a_payload_is_stored_with_the_id_of_its_row(database, private, payload, stored):
    await run(database.conninfo)
    today(database)

    assert call(database, f"select realtime.send('{payload}', 'e', 'room', {private})") == []

    ((row_id, found, event, topic, is_private, extension),) = query(
        database.conninfo,
        "select id::text, payload, event, topic, private, extension from realtime.messages",
    )
    assert found == {"id": row_id} | stored
    assert (event, topic, is_private, extension) == (
        "e",
        "room",
        private == "true",
        "broadcast",
    )


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("'[1]'", 'path element at position 1 is not an integer: "id"'),
        ("'[\"id\"]'", 'path element at position 1 is not an integer: "id"'),
        ("'1'", "cannot set path in scalar"),
        ("null", "the payload is null"),
    ],
)
async def test_what_cannot_be_sent_is_a_warning_and_no_error(database, payload, words):
    await run(database.conninfo)
    today(database)

    warnings = call(database, f"select realtime.send({payload}, 'e', 'room')")

    assert warnings == [f"WarnSendingBroadcastMessage: {words}"]
    assert query(database.conninfo, "select from realtime.messages") == []


async def test_bytes_are_stored_as_they_are(database):
    await run(database.conninfo)
    today(database)

    assert call(database, r"select realtime.send_binary('\x00ff', 'e', 'room', false)") == []

    assert query(
        database.conninfo, "select binary_payload, payload, private from realtime.messages"
    ) == [(b"\x00\xff", None, False)]


async def test_policies_decide_about_what_a_role_sends(database):
    await run(database.conninfo)
    today(database)
    database.execute(
        "create policy p on realtime.messages for insert to anon with check (realtime.topic() = 'open')",
    )

    for topic in ("open", "closed"):
        with psycopg.connect(database.conninfo, autocommit=True) as connection:
            connection.execute("set role anon")
            connection.execute("select realtime.send('{}', 'e', %s)", (topic,))

    assert query(database.conninfo, "select topic from realtime.messages") == [("open",)]


@pytest.mark.parametrize(
    ("write", "operation", "has_new", "has_old"),
    [
        ("insert into t values (1)", "INSERT", True, False),
        ("update t set n = 2", "UPDATE", True, True),
        ("delete from t", "DELETE", False, True),
    ],
)
async def test_a_trigger_broadcasts_its_row(database, write, operation, has_new, has_old):
    await run(database.conninfo)
    today(database)
    database.execute(
        "create table t (n int)",
        *(["insert into t values (1)"] if has_old else []),
        """create function tell() returns trigger language plpgsql as $$ begin
            perform realtime.broadcast_changes('room', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
            return null; end $$""",
        "create trigger tell after insert or update or delete on t for each row execute function tell()",
        write,
    )

    ((payload, event, private),) = query(
        database.conninfo, "select payload, event, private from realtime.messages"
    )
    del payload["id"]
    assert payload == {
        "schema": "public",
        "table": "t",
        "operation": operation,
        "record": {"n": 2 if operation == "UPDATE" else 1} if has_new else None,
        "old_record": {"n": 1} if has_old else None,
    }
    assert (event, private) == (operation, True)


@pytest.mark.parametrize(
    ("operation", "level", "words"),
    [
        ("TRUNCATE", "ROW", "Unexpected operation type: TRUNCATE"),
        (
            "INSERT",
            "STATEMENT",
            "function can only be triggered for each row, not for each statement",
        ),
    ],
)
async def test_broadcasting_a_change_wrongly_is_an_error(database, operation, level, words):
    await run(database.conninfo)

    with pytest.raises(
        psycopg.errors.RaiseException, match=f"Failed to process the row: {words}"
    ):
        call(
            database,
            f"select realtime.broadcast_changes('r', 'e', '{operation}', 't', 's', row(1), row(1), '{level}')",
        )


CLAIMS = [
    ("auth.uid()", "request.jwt.claim.sub", "5d1f0e3a-0000-4000-8000-000000000001"),
    ("auth.role()", "request.jwt.claim.role", "anon"),
    ("auth.email()", "request.jwt.claim.email", "a@example.com"),
]


@pytest.mark.parametrize(
    ("function", "setting", "value", "is_alone"),
    [(*claim, is_alone) for claim, is_alone in itertools.product(CLAIMS, (True, False))],
)
async def test_policies_can_ask_about_the_token(database, function, setting, value, is_alone):
    await run(database.conninfo)
    claims = "{}" if is_alone else f'{{"{setting.rsplit(".", 1)[1]}": "{value}"}}'
    single = value if is_alone else ""

    with psycopg.connect(database.conninfo) as connection:
        connection.execute(
            "select set_config('request.jwt.claims', %s, true), set_config(%s, %s, true)",
            (claims, setting, single),
        )
        found = connection.execute(f"select {function}::text, auth.jwt()::text").fetchone()

    assert found == (value, claims)


async def test_without_a_token_policies_see_none(database):
    await run(database.conninfo)

    assert query(
        database.conninfo,
        "select auth.uid(), auth.role(), auth.email(), auth.jwt(), realtime.topic()",
    ) == [(None,) * 5]
