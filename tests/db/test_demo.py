"""The demo database is a small Supabase project, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
import trio

from actors.db.demo import prepare_demo
from actors.realtime.errors import DatabaseUnavailable
from tests.support.embedded import query

if TYPE_CHECKING:
    from tests.support.postgres import Database

pytestmark = pytest.mark.postgres


async def test_a_row_can_be_written_and_is_published(database: Database) -> None:
    await prepare_demo(database.conninfo)

    query(database.conninfo, "insert into messages (sender, body) values ('ann', 'hi')")
    assert query(database.conninfo, "select id, sender, body from messages") == [
        (1, "ann", "hi")
    ]
    assert query(
        database.conninfo,
        "select pubname, schemaname, tablename from pg_publication_tables"
        " where pubname = 'supabase_realtime'",
    ) == [("supabase_realtime", "public", "messages")]


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_every_role_may_use_present_and_future_tables(
    database: Database, role: str
) -> None:
    await prepare_demo(database.conninfo)
    query(database.conninfo, "create table later (n int)")

    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute(f"set role {role}")
        connection.execute("insert into messages (body) values ('hi')")
        connection.execute("insert into later values (1)")


async def test_only_the_service_role_passes_row_security(database: Database) -> None:
    await prepare_demo(database.conninfo)

    found = query(
        database.conninfo,
        "select rolname, rolbypassrls, rolcanlogin from pg_roles"
        " where rolname in ('anon', 'authenticated', 'service_role') order by rolname",
    )

    assert found == [
        ("anon", False, False),
        ("authenticated", False, False),
        ("service_role", True, False),
    ]


async def test_what_people_changed_afterwards_stays(database: Database) -> None:
    await prepare_demo(database.conninfo)
    query(database.conninfo, "drop table messages")

    await prepare_demo(database.conninfo)

    assert query(database.conninfo, "select to_regclass('public.messages')") == [(None,)]


async def test_a_table_of_that_name_is_kept_and_published(database: Database) -> None:
    query(database.conninfo, "create table messages as select 7 as n")

    await prepare_demo(database.conninfo)

    assert query(database.conninfo, "select n from messages") == [(7,)]


async def test_two_at_once_do_not_trip_over_each_other(database: Database) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prepare_demo, database.conninfo)
        nursery.start_soon(prepare_demo, database.conninfo)


async def test_a_server_that_is_away_is_a_typed_error() -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        await prepare_demo("host=127.0.0.1 port=1 user=postgres")
