"""`enable_realtime` and `disable_realtime`: what they do to a table, and who may call them."""

from __future__ import annotations

from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import sql

from actors.db.driver import connect
from actors.db.enabling import PostgresTableTriggers
from actors.db.pool import Pool
from actors.db.schema import migrate
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.trigger_ports import MayNotEnable, NoSuchTable
from tests.support.embedded import query

pytestmark = pytest.mark.postgres

PUBLISHED = """
    select schemaname || '.' || tablename from pg_publication_tables
    where pubname = 'supabase_realtime' order by 1
"""
#: The documents' own question.
ENABLED = """
    select trigger_schema, event_object_table, trigger_name from information_schema.triggers
    where trigger_name like '%_notify_change' group by 1, 2, 3 order by 2
"""
STATE = "select tgname, tgenabled::text from pg_trigger where not tgisinternal order by 1"


@pytest.fixture
async def ready(database):
    """A database with everything that is installed, and a table."""
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
    database.execute("create table products (id int primary key, name text)")
    return database


@asynccontextmanager
async def triggers_of(conninfo):
    pool = Pool(conninfo, 1)
    try:
        yield PostgresTableTriggers(pool, "supabase_realtime")
    finally:
        pool.close()


def call(database, function, *arguments):
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        places = sql.SQL(", ").join(sql.Placeholder() * len(arguments))
        statement = sql.SQL("select {}({})").format(sql.SQL(function), places)
        connection.execute(statement, arguments)


@pytest.mark.capability("FB-019", "FB-022", "FB-024")
async def test_an_enabled_table_is_published_and_listed(ready):
    call(ready, "enable_realtime", "public", "products")

    assert query(ready.conninfo, PUBLISHED) == [("public.products",)]
    assert query(ready.conninfo, ENABLED) == [("public", "products", "products_notify_change")]


@pytest.mark.capability("FB-020")
async def test_a_disabled_table_is_neither_any_more(ready):
    call(ready, "enable_realtime", "public", "products")
    call(ready, "disable_realtime", "public", "products")

    assert query(ready.conninfo, PUBLISHED) == []
    assert query(ready.conninfo, ENABLED) == []


async def test_doing_either_again_does_nothing(ready):
    for function in ("enable_realtime", "disable_realtime"):
        for _ in range(2):
            call(ready, function, "public", "products")
        assert len(query(ready.conninfo, PUBLISHED)) == (function == "enable_realtime")


async def test_the_trigger_sleeps_while_the_log_is_read(ready):
    call(ready, "enable_realtime", "public", "products")

    assert query(ready.conninfo, STATE) == [("products_notify_change", "D")]


@pytest.mark.parametrize(
    "name",
    ["Products", 'a "quoted" name', "with.dots", "semi;colon'", "n" * 63, "ü" * 31, "%s {}"],
)
async def test_any_name_of_a_table_will_do(ready, name):
    ready.execute('create schema "Sch.ema"')
    identifier = sql.Identifier("Sch.ema", name).as_string()
    ready.execute(f"create table {identifier} (id int primary key)")

    call(ready, "enable_realtime", "Sch.ema", name)
    call(ready, "enable_realtime", "Sch.ema", name)

    ((schema, table, trigger),) = query(ready.conninfo, ENABLED)
    assert (schema, table) == ("Sch.ema", name)
    assert len(trigger.encode()) <= 63
    assert trigger.endswith("_notify_change")
    call(ready, "disable_realtime", "Sch.ema", name)
    assert query(ready.conninfo, ENABLED) == query(ready.conninfo, PUBLISHED) == []


@pytest.mark.parametrize("function", ["enable_realtime", "disable_realtime"])
@pytest.mark.parametrize(
    ("schema", "table", "words"),
    [
        ("public", "missing", 'relation "public.missing" does not exist'),
        ("missing", "products", 'relation "missing.products" does not exist'),
        ("public", "n" * 64, f'relation "public.{"n" * 64}" does not exist'),
        ("public", "a_view", '"public.a_view" is not a table'),
    ],
)
async def test_what_is_no_table_is_an_error(ready, function, schema, table, words):
    ready.execute("create view a_view as select 1", f"create table {'n' * 63} ()")

    with pytest.raises(psycopg.ProgrammingError) as caught:
        call(ready, function, schema, table)

    assert caught.value.diag.message_primary == words


@pytest.mark.capability("GF-126")
async def test_a_partitioned_table_is_published_through_its_root(ready):
    ready.execute(
        "create table parts (id int primary key, body text) partition by range (id)",
        "create table parts_1 partition of parts for values from (0) to (10)",
    )

    call(ready, "enable_realtime", "public", "parts")

    assert query(ready.conninfo, PUBLISHED) == [("public.parts",)]
    ready.execute("create table parts_2 partition of parts for values from (10) to (20)")
    call(ready, "disable_realtime", "public", "parts")
    assert query(ready.conninfo, STATE) == []


async def test_the_whole_old_row_is_logged_if_that_is_asked_for(ready):
    ready.execute(
        "create table parts (id int primary key) partition by range (id)",
        "create table parts_1 partition of parts for values from (0) to (10)",
    )

    call(ready, "enable_realtime", "public", "products", True)
    call(ready, "enable_realtime", "public", "parts", True)

    assert query(
        ready.conninfo,
        "select relname::text, relreplident::text from pg_class"
        " where relname in ('products', 'parts', 'parts_1') order by 1",
    ) == [("parts", "f"), ("parts_1", "f"), ("products", "f")]


async def test_a_table_that_is_published_with_all_others_cannot_be_left_out_alone(ready):
    ready.execute(
        "drop publication supabase_realtime",
        "create publication supabase_realtime for all tables",
    )
    call(ready, "enable_realtime", "public", "products")

    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        call(ready, "disable_realtime", "public", "products")

    assert len(query(ready.conninfo, ENABLED)) == 1


async def test_a_table_that_is_published_with_its_schema_is_enabled(ready):
    ready.execute("alter publication supabase_realtime add tables in schema public")

    call(ready, "enable_realtime", "public", "products")

    assert len(query(ready.conninfo, ENABLED)) == 1


async def test_a_trigger_that_somebody_made_by_hand_stays_until_the_table_is_disabled(ready):
    ready.execute(
        "create trigger products_notify_change after insert on products"
        " for each row execute function notify_table_change()",
        "create trigger other_trigger after insert on products"
        " for each row execute function notify_table_changes()",
    )

    call(ready, "enable_realtime", "public", "products")
    assert query(ready.conninfo, STATE) == [
        ("other_trigger", "O"),
        ("products_notify_change", "O"),
    ]
    call(ready, "disable_realtime", "public", "products")
    assert query(ready.conninfo, STATE) == []


async def test_functions_of_these_names_that_are_not_ours_stay(database):
    database.execute(
        "create function enable_realtime(text, text) returns text language sql as $$ select 'theirs' $$",
        "create function notify_table_change() returns trigger language plpgsql as 'begin return null; end'",
    )

    async with await connect(database.conninfo) as connection:
        await migrate(connection)

    assert query(database.conninfo, "select enable_realtime('a', 'b')") == [("theirs",)]
    assert query(
        database.conninfo,
        "select prosrc from pg_proc where oid = 'public.notify_table_change'::regproc",
    ) == [("begin return null; end",)]


async def test_without_a_schema_public_the_rest_is_installed(database):
    database.execute("drop schema public cascade")

    async with await connect(database.conninfo) as connection:
        assert (await migrate(connection)).left_out == []


@pytest.mark.parametrize("function", ["enable_realtime", "disable_realtime"])
@pytest.mark.parametrize("schema", ["public", "realtime"])
@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.parametrize("table", ["products", "missing"])
async def test_clients_may_not_call_them(ready, function, schema, role, table):
    # As a Supabase stack grants everything in public.
    ready.execute("grant all on products to anon, authenticated, service_role")

    with psycopg.connect(ready.conninfo, autocommit=True) as connection:
        connection.execute(f"set role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute(f"select {schema}.{function}('public', '{table}')")

    assert "permission denied for function" in str(caught.value)


async def test_a_grant_to_clients_is_not_made_by_default_privileges(database):
    database.execute(
        "do $$ begin create role anon; exception when duplicate_object then null; end $$"
    )
    database.execute(
        "alter default privileges in schema public grant execute on functions to anon"
    )
    try:
        async with await connect(database.conninfo) as connection:
            await migrate(connection)
        assert query(
            database.conninfo,
            "select has_function_privilege('anon', 'enable_realtime(text, text, bool, text)', 'execute')",
        ) == [(False,)]
    finally:
        database.execute(
            "alter default privileges in schema public revoke execute on functions from anon"
        )


@pytest.mark.parametrize("owns_publication", [True, False])
@pytest.mark.parametrize("owns_table", [True, False])
async def test_who_owns_table_and_publication_may_once_allowed_to_call(
    ready, owns_publication, owns_table
):
    role = f"owner_{ready.name}"
    ready.execute(
        f"create role {role} login",
        f"grant usage, create on schema public to {role}",
        f"grant usage on schema realtime to {role}",
        f"grant create on database {ready.name} to {role}",
        f"grant execute on function enable_realtime to {role}",
    )
    if owns_publication:
        ready.execute(f"alter publication supabase_realtime owner to {role}")
    if owns_table:
        ready.execute(f"alter table products owner to {role}")
    try:
        with psycopg.connect(ready.conninfo_as(role), autocommit=True) as connection:
            if owns_publication and owns_table:
                connection.execute("select enable_realtime('public', 'products')")
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("select enable_realtime('public', 'products')")
        assert len(query(ready.conninfo, ENABLED)) == (owns_publication and owns_table)
    finally:
        ready.execute(
            f"reassign owned by {role} to postgres",
            f"drop owned by {role}",
            f"drop role {role}",
        )


async def test_the_api_enables_and_disables(ready):
    async with triggers_of(ready.conninfo) as triggers:
        await triggers.enable("public", "products")
        assert len(query(ready.conninfo, ENABLED)) == 1
        await triggers.disable("public", "products")
        assert query(ready.conninfo, ENABLED) == []


@pytest.mark.parametrize(
    ("schema", "table"), [("public", "unlogged"), ("pg_catalog", "pg_class")]
)
async def test_the_api_says_what_cannot_be_published(ready, schema, table):
    ready.execute("create unlogged table unlogged (id int primary key)")
    async with triggers_of(ready.conninfo) as triggers:
        with pytest.raises(MayNotEnable, match="cannot add relation"):
            await triggers.enable(schema, table)
        await triggers.disable(schema, table)


@pytest.mark.parametrize(
    "definition",
    [
        "(id int)",
        "(id int unique)",
        "(id int primary key deferrable)",
        "(id int) partition by range (id)",
    ],
)
async def test_an_enabled_table_can_still_be_written(ready, definition):
    ready.execute(f"create table keyless {definition}")
    if "partition" in definition:
        ready.execute("create table part partition of keyless for values from (0) to (9)")

    call(ready, "enable_realtime", "public", "keyless")

    ready.execute(
        "insert into keyless values (1)", "update keyless set id = 2", "delete from keyless"
    )


async def test_a_table_with_a_key_keeps_its_identity(ready):
    call(ready, "enable_realtime", "public", "products")

    identity = "select relreplident::text from pg_class where relname = 'products'"
    assert query(ready.conninfo, identity) == [("d",)]


async def test_children_that_inherit_are_tables_of_their_own(ready):
    ready.execute("create table older () inherits (products)")
    call(ready, "enable_realtime", "public", "products")
    ready.execute("create table younger () inherits (products)")
    call(ready, "enable_realtime", "public", "younger")
    assert query(ready.conninfo, PUBLISHED) == [("public.products",), ("public.younger",)]

    call(ready, "disable_realtime", "public", "products")

    assert query(ready.conninfo, PUBLISHED) == [("public.younger",)]


async def test_a_renamed_table_gets_no_second_trigger(ready):
    call(ready, "enable_realtime", "public", "products")
    ready.execute("alter table products rename to goods")

    call(ready, "enable_realtime", "public", "goods")

    assert query(ready.conninfo, STATE) == [("products_notify_change", "D")]
    call(ready, "disable_realtime", "public", "goods")
    assert query(ready.conninfo, STATE) == query(ready.conninfo, PUBLISHED) == []


@pytest.mark.parametrize(
    "some", ["insert on products", "insert or delete or update of name on products"]
)
async def test_a_trigger_that_tells_of_some_changes_is_not_enough(ready, some):
    ready.execute(
        f"create trigger sometimes after {some}"
        " for each row execute function realtime.notify_table_change()"
    )

    call(ready, "enable_realtime", "public", "products")

    assert ("products_notify_change", "D") in query(ready.conninfo, STATE)


async def test_temporary_tables_of_the_session_do_not_mislead(ready):
    with psycopg.connect(ready.conninfo, autocommit=True) as connection:
        for catalog in ("pg_class", "pg_trigger", "pg_index", "pg_attribute"):
            connection.execute(f"create temp view {catalog} as select 1 / 0 as oid")
        connection.execute("select public.enable_realtime('public', 'products')")
        connection.execute("insert into products values (1, repeat('x', 9000))")
        connection.execute("select public.disable_realtime('public', 'products')")


@pytest.mark.parametrize("table", ["missing", "pro\0ducts", "\ud800", "a_view"])
async def test_the_api_names_the_table_that_is_missing(ready, table):
    ready.execute("create view a_view as select 1")
    async with triggers_of(ready.conninfo) as triggers:
        for act in (triggers.enable, triggers.disable):
            with pytest.raises(NoSuchTable) as caught:
                await act("public", table)
            assert table in caught.value.reason


async def test_the_api_names_the_right_that_is_missing(ready):
    role = f"poor_{ready.name}"
    ready.execute(f"create role {role} login", f"grant usage on schema realtime to {role}")
    try:
        async with triggers_of(ready.conninfo_as(role)) as triggers:
            with pytest.raises(MayNotEnable, match="permission denied for function"):
                await triggers.enable("public", "products")
    finally:
        ready.execute(f"drop owned by {role}", f"drop role {role}")


async def test_the_api_says_what_is_not_installed_and_what_is_away(database):
    async with triggers_of(database.conninfo) as triggers:
        with pytest.raises(MayNotEnable, match="troupe migrate"):
            await triggers.enable("public", "products")
    async with triggers_of("host=127.0.0.1 port=1") as triggers:
        with pytest.raises(DatabaseUnavailable):
            await triggers.enable("public", "products")


async def test_the_api_does_not_wait_for_a_long_transaction(ready):
    with psycopg.connect(ready.conninfo) as busy:
        busy.execute("insert into products values (1, 'a')")
        async with triggers_of(ready.conninfo) as triggers:
            with pytest.raises(MayNotEnable, match="try again later"):
                await triggers.enable("public", "products")
