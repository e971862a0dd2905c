"""Whatever stands in an entry: it changes nothing in the database, is answered, and the next one is served."""

from __future__ import annotations

import pytest

from actors.db.driver import connect
from tests.support.rows_client import rows_client
from tests.support.running_node import running_node

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SCHEMA = (
    "do $$ begin create role anon; exception when duplicate_object then null; end $$",
    "create table notes (id int primary key, body text, data jsonb, tags text[], at timestamptz)",
    "insert into notes values (0, 'kept')",
    "grant select on notes to anon",
    "create publication supabase_realtime for table notes",
)
NOTES = {"event": "*", "schema": "public", "table": "notes"}
STRINGS = (
    "'; drop table notes; --",
    '"; drop table notes; --',
    "notes; delete from notes",
    "notes') or true --",
    "' or '1'='1",
    "\\'; drop table notes; --",
    "$$; drop table notes; $$",
    "%s%s%s%n",
    "%(name)s",
    "{0.__class__}",
    "notes\0",
    "\0",
    "\r\n\t\x1b[31m",
    "\u202enotes",
    "nötes",
    "n" * 64,
    "n" * 100_000,
    "%" * 10_000,
    "_" * 10_000,
    "%a" * 5_000 + "b",
    "((((((((((",
    "))))))))))",
    "{{{{{{",
    '"unclosed',
    "a\\",
    "../../etc/passwd",
    "pg_catalog.pg_shadow",
    "NaN",
    "-1e400",
    "[null]",
    "public.notes",
    "*",
    "",
    " ",
)
FILTERS = tuple(
    template.replace("…", text)
    for template in (
        "id=eq.…",
        "body=eq.…",
        "body=match.…",
        "body=like.…",
        "…=eq.1",
        "id=in.(…)",
        "…",
    )
    for text in STRINGS
)


@pytest.fixture
def tables(database):
    database.execute(*SCHEMA)
    yield database
    database.execute("drop owned by anon")


def entries():
    for text in STRINGS:
        yield {**NOTES, "schema": text}
        yield {**NOTES, "table": text}
        yield {**NOTES, "select": [text]}
        yield {"event": text, "schema": text}
        yield {"event": "*", "table": text}
    for text in FILTERS:
        yield {**NOTES, "filter": text}


async def state(connection):
    cursor = await connection.execute(
        "select (select count(*) from pg_class), (select count(*) from pg_proc),"
        " (select count(*) from pg_roles), (select string_agg(notes::text, ',') from notes)"
    )
    return await cursor.fetchone()


async def test_no_text_in_an_entry_changes_anything(tables):
    tried = list(entries())
    assert len(tried) > 100
    async with (
        running_node(tables.conninfo) as node,
        await connect(tables.conninfo) as connection,
        rows_client(node.port) as client,
    ):
        await client.subscribed("witness", NOTES)
        before = await state(connection)
        for number, entry in enumerate(tried):
            topic = f"room{number}"
            await client.join(topic, entry)
            reply = await client.next("phx_reply", topic)
            assert reply["status"] == "ok", entry
            assert reply["response"]["postgres_changes"][0]["id"], entry
            system = await client.next("system", topic)
            assert system["status"] in {"ok", "error"}, entry
            assert "psycopg" not in system["message"], entry
            assert "Traceback" not in system["message"], entry
        after = await state(connection)
        tables.execute("insert into notes values (1, 'still here')")
        heard = await client.change("witness")

    assert after == before
    assert heard["data"]["record"]["body"] == "still here"
