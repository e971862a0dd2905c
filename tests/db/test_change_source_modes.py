"""Whole servers over databases with and without logical replication: what clients hear, and when tables come and go."""

from __future__ import annotations

import json

import pytest
import trio

from actors.db.catalog import Catalog
from actors.db.change_sources import FittingSource, SourceMode, change_source, why_no_log
from actors.db.driver import connect
from actors.db.enabling import PostgresTableTriggers
from actors.db.notify import NotifySource
from actors.db.pool import Pool
from actors.db.with_triggers import SourceWithTriggers
from actors.realtime.errors import DatabaseUnavailable
from tests.contracts.change_source import ids, receive
from tests.support.notify import BREAK_OFF, install, notify_source
from tests.support.postgres import fresh_database, running_server, until
from tests.support.rows_client import rows_client
from tests.support.running_node import running_node

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
DEADLINE_S = 60.0

NOTES = {"event": "*", "schema": "public", "table": "notes"}
TABLES = (
    "create table notes (id int primary key, body text, secret text)",
    "grant select (id, body) on notes to anon",
)


@pytest.fixture(scope="module")
def plain_server():
    """A server without logical replication."""
    with running_server(wal_level="replica") as server:
        yield server


@pytest.fixture
def plain(plain_server, database_names):
    with fresh_database(plain_server, next(database_names)) as database:
        yield database


async def installed(database):
    await install(database)
    database.execute(*TABLES)
    return database


def enable(database, table="notes"):
    database.execute(f"select enable_realtime('public', '{table}')")


@pytest.mark.capability("FB-061")
@pytest.mark.parametrize("mode", ["auto", "notify"])
async def test_clients_hear_of_rows_without_logical_replication(plain, mode):
    await installed(plain)
    enable(plain)
    async with (
        running_node(plain.conninfo, change_source=mode) as node,
        rows_client(node.port) as client,
    ):
        await client.subscribed("room", NOTES)
        plain.execute(
            "insert into notes values (1, 'a', 'hidden')",
            "update notes set body = repeat('b', 20000) where id = 1",
            "delete from notes where id = 1",
        )
        insert, update, delete = [(await client.change())["data"] for _ in range(3)]

    assert insert["record"] == {"id": 1, "body": "a"}
    # Its row was too large to be told, and gone when it was looked for.
    assert update["record"] in ({"id": 1}, {"id": 1, "body": "b" * 20000})
    assert delete["old_record"] == {"id": 1}


async def test_a_large_row_is_delivered_whole(plain):
    await installed(plain)
    enable(plain)
    async with running_node(plain.conninfo) as node, rows_client(node.port) as client:
        await client.subscribed("room", NOTES)
        plain.execute("insert into notes values (1, repeat('b', 20000))")

        data = (await client.change())["data"]

    assert data["record"] == {"id": 1, "body": "b" * 20000}
    assert data["errors"] is None


async def test_row_security_holds_without_logical_replication(plain):
    await installed(plain)
    plain.execute(
        "alter table notes enable row level security",
        "create policy own on notes to anon using (id % 2 = 0)",
    )
    enable(plain)
    async with running_node(plain.conninfo) as node, rows_client(node.port) as client:
        await client.subscribed("room", NOTES)
        plain.execute(
            "insert into notes values (1, 'a')",
            "insert into notes values (3, repeat('a', 9000))",
            "insert into notes values (2, repeat('a', 9000))",
        )

        assert (await client.change())["data"]["record"]["id"] == 2


async def test_stored_broadcasts_come_without_logical_replication(plain):
    await installed(plain)
    enable(plain)
    async with running_node(plain.conninfo) as node, rows_client(node.port, "1.0.0") as client:
        # Changes flow, and so do broadcasts.
        await client.subscribed("room", NOTES)
        # Nobody can make one up: what was not stored is not delivered.
        forged = {"id": "979a8511-1aec-478e-b8a4-2f34ef2be8fd", "inserted_at": "2026-01-01"}
        forged |= {"topic": "room", "event": "forged", "payload": {}, "private": False}
        told = {"schema": "realtime", "table": "messages", "type": "INSERT", "record": forged}
        plain.execute(f"select pg_notify('fluxbase_changes', $${json.dumps(told)}$$)")
        plain.execute("""select realtime.send('{"n": 1}', 'e', 'room', false)""")

        message = await client.next("broadcast")

    assert (message["event"], message["payload"]["n"]) == ("e", 1)


@pytest.mark.capability("FB-027")
@pytest.mark.parametrize("has_log", [True, False])
async def test_tables_are_switched_on_and_off_without_a_restart(database, plain, has_log):
    chosen = await installed(database if has_log else plain)
    chosen.execute("create table other (id int primary key)", "grant select on other to anon")
    enable(chosen, "other")
    pool = Pool(chosen.conninfo, 1)
    triggers = PostgresTableTriggers(pool, "supabase_realtime")
    try:
        async with running_node(chosen.conninfo) as node, rows_client(node.port) as client:
            await client.subscribed("room", {**NOTES, "table": "other"})
            await triggers.enable("public", "notes")
            await client.subscribed("notes", NOTES)
            chosen.execute("insert into notes values (1, 'a')")
            assert (await client.change("notes"))["data"]["record"]["id"] == 1
            await triggers.disable("public", "notes")
            chosen.execute("insert into notes values (2, 'b')", "insert into other values (3)")
            # In the order of the commits, so nothing can still come of what was before.
            assert (await client.change())["data"]["table"] == "other"
    finally:
        pool.close()


async def test_a_table_that_is_published_later_gets_its_trigger(plain):
    await installed(plain)
    async with (
        notify_source(plain.conninfo, look_every_s=0.1) as source,
        source.connect(None) as stream,
        await connect(plain.conninfo) as connection,
    ):
        plain.execute("alter publication supabase_realtime add table notes")
        await until(connection, "select from pg_trigger where tgname = 'notes_notify_change'")
        plain.execute("insert into notes values (1)")
        assert ids(await receive(stream, 1)) == [1]


@pytest.mark.capability("FB-036")
async def test_who_is_cut_off_is_back_within_five_seconds_and_clients_hear_of_the_gap(plain):
    await installed(plain)
    enable(plain)
    async with running_node(plain.conninfo) as node, rows_client(node.port) as client:
        await client.subscribed("room", NOTES)
        plain.execute(BREAK_OFF)
        plain.execute("insert into notes values (1, 'lost')")

        with trio.fail_after(5):
            while "missing" not in (
                message := (await client.next("system", "room"))["message"]
            ):
                assert message
        plain.execute("insert into notes values (2, 'heard')")
        assert (await client.change())["data"]["record"]["id"] == 2


async def test_the_log_is_read_where_it_can_be(database, plain):
    role = f"poor_{database.name}"
    database.execute(f"create role {role} login")
    try:
        assert await why_no_log(database.conninfo) is None
        assert "wal_level" in await why_no_log(plain.conninfo)
        assert "REPLICATION" in await why_no_log(database.conninfo_as(role))
        with pytest.raises(DatabaseUnavailable):
            await why_no_log("host=127.0.0.1 port=1")
    finally:
        database.execute(f"drop role {role}")


def test_each_mode_has_its_source(database):
    kinds = {
        SourceMode.AUTO: FittingSource,
        SourceMode.REPLICATION: SourceWithTriggers,
        SourceMode.DURABLE: SourceWithTriggers,
        SourceMode.TEMPORARY: SourceWithTriggers,
        SourceMode.NOTIFY: NotifySource,
    }
    pool = Pool(database.conninfo)

    found = {
        mode: type(change_source(mode, database.conninfo, Catalog(pool), lambda: 0.0))
        for mode in SourceMode
    }

    assert found == kinds
