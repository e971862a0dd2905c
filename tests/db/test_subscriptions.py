"""What can be subscribed to, asked of a real catalog."""

from __future__ import annotations

import pytest
import trio

from actors.db.driver import connect
from actors.db.pool import Pool
from actors.db.subscriptions import PostgresSubscriptions
from actors.realtime.change_ports import Scope
from actors.realtime.errors import DatabaseUnavailable

pytestmark = [pytest.mark.postgres, pytest.mark.every_postgres]

PUBLICATION = "supabase_realtime"


@pytest.fixture
async def pool(database):
    pool = Pool(database.conninfo)
    yield pool
    pool.close()


@pytest.fixture
def subscriptions(pool):
    return PostgresSubscriptions(pool, PUBLICATION)


@pytest.fixture
def tables(database):
    database.execute(
        "do $$ begin create role visitor; exception when duplicate_object then null; end $$",
        'create table my_notes (id int primary key, "Body" text, secret text, gone int)',
        "alter table my_notes drop column gone",
        "create table myxnotes (a int, b int, c int, primary key (b, a))",
        "create table unpublished (id int primary key)",
        "create schema other",
        "create table other.my_notes (id int primary key)",
        'grant select (id, "Body") on my_notes to visitor',
        "grant select (a, c) on myxnotes to visitor",
        f"create publication {PUBLICATION} for table my_notes, myxnotes, other.my_notes",
    )
    yield database
    database.execute("drop owned by visitor")


def scope(schema="public", table="my_notes", role="visitor", select=None, is_listed=True):
    return Scope(role, schema, table, select, is_listed)


async def listed(subscriptions, pool, asked):
    """Return the names of the tables of a scope, and whether their keys can be read."""
    (extent,) = await subscriptions.resolve([asked])
    oids = {table.relation_oid: table.reads_key for table in extent.tables}
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select oid::bigint, oid::regclass::text from pg_class where oid = any(%s)",
            (list(oids),),
        )
        return {name: oids[oid] for oid, name in await cursor.fetchall()}


@pytest.mark.parametrize(
    ("schema", "table", "names"),
    [
        ("public", "my_notes", {"my_notes", "myxnotes"}),
        ("public", "myxnotes", {"myxnotes"}),
        ("public", "%notes", {"my_notes", "myxnotes"}),
        ("public", "*", {"my_notes", "myxnotes"}),
        ("*", "my_notes", {"my_notes", "myxnotes", "other.my_notes"}),
        ("oth_r", "%", {"other.my_notes"}),
        ("public", "MY_NOTES", set()),
        ("public", "my\\_notes", set()),
        ("public", "unpublished", set()),
        ("public", "", set()),
        ("", "my_notes", set()),
        ("public", "my_notes\0", set()),
        ("public", "%" * 2000, set()),
        ("public'; drop table my_notes; --", "my_notes", set()),
    ],
)
async def test_published_tables_match_by_like_without_an_escape(
    tables, subscriptions, pool, schema, table, names
):
    asked = scope(schema, table)
    (extent,) = await subscriptions.resolve([asked])

    assert extent.is_published is bool(names)
    assert set(await listed(subscriptions, pool, asked)) == names


async def test_it_is_said_whose_key_a_role_cannot_read(tables, subscriptions, pool):
    found = await listed(subscriptions, pool, scope(table="*"))
    as_owner = await listed(subscriptions, pool, scope(table="*", role="postgres"))

    assert found == {"my_notes": True, "myxnotes": False}
    assert as_owner == {"my_notes": True, "myxnotes": True}


async def test_tables_are_listed_on_demand_only(tables, subscriptions):
    (extent,) = await subscriptions.resolve([scope(table="*", is_listed=False)])

    assert extent.is_published
    assert extent.tables == ()


@pytest.mark.parametrize(
    ("select", "refused"),
    [
        (("id",), None),
        (("Body", "id"), None),
        (("body",), "body"),
        (("id", "secret"), "secret"),
        (("gone",), "gone"),
        (("ctid",), "ctid"),
        (("a\0b",), "a\0b"),
        (("id); drop table my_notes; --",), "id); drop table my_notes; --"),
    ],
)
async def test_columns_that_a_role_cannot_select_are_refused(
    tables, subscriptions, select, refused
):
    tables.execute("drop table myxnotes")
    (extent,) = await subscriptions.resolve([scope(select=select, is_listed=False)])

    assert extent.fault == (
        None
        if refused is None
        else f"ERROR P0001 (raise_exception) invalid column for select {refused}"
    )


@pytest.mark.parametrize("role", ["nobody", "no\0body", "x" * 5000, "", "public"])
async def test_a_role_that_does_not_exist_is_refused(tables, subscriptions, role):
    extent, other = await subscriptions.resolve([scope(role=role), scope()])

    assert extent.fault == f'ERROR 42704 (undefined_object) role "{role}" does not exist'
    assert other.fault is None


async def test_without_a_publication_nothing_is_published(database, subscriptions):
    (extent,) = await subscriptions.resolve([scope()])

    assert not extent.is_published


async def test_many_who_ask_at_once_share_few_statements(tables, pool):
    statements = []

    class CountingPool:
        def transaction(self, timeout_s):
            statements.append(1)
            return pool.transaction(timeout_s)

    subscriptions = PostgresSubscriptions(CountingPool(), PUBLICATION)
    found = []

    async def ask(number):
        asked = scope(table=f"my_notes{'' if number % 2 else number}")
        found.append((number, await subscriptions.resolve([asked])))

    async with trio.open_nursery() as nursery:
        for number in range(1200):
            nursery.start_soon(ask, number)

    assert len(statements) <= 3
    assert all(extent.is_published is bool(number % 2) for number, (extent,) in found)


async def test_what_is_published_shows_in_one_text(tables, subscriptions):
    texts = [await subscriptions.published()]
    tables.execute("insert into my_notes values (1)")
    texts.append(await subscriptions.published())
    tables.execute(f"alter publication {PUBLICATION} add table unpublished")
    texts.append(await subscriptions.published())
    tables.execute(f"drop publication {PUBLICATION}")
    texts.append(await subscriptions.published())

    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


async def test_a_database_that_is_away_cannot_be_asked(postgres_server):
    subscriptions = PostgresSubscriptions(
        Pool(postgres_server.conninfo("nowhere")), PUBLICATION
    )

    with pytest.raises(DatabaseUnavailable):
        await subscriptions.resolve([scope()])
    with pytest.raises(DatabaseUnavailable):
        await subscriptions.published()


async def test_a_catalog_that_is_locked_is_not_waited_for(tables, pool):
    subscriptions = PostgresSubscriptions(pool, PUBLICATION, timeout_s=0.2)
    await subscriptions.resolve([scope()])
    async with await connect(tables.conninfo) as connection, connection.transaction():
        await connection.execute("lock table pg_catalog.pg_publication")
        with pytest.raises(DatabaseUnavailable), trio.fail_after(10):
            await subscriptions.resolve([scope()])
        with pytest.raises(DatabaseUnavailable), trio.fail_after(10):
            await subscriptions.published()

    assert (await subscriptions.resolve([scope()]))[0].is_published


async def test_no_scopes_need_no_database(postgres_server):
    subscriptions = PostgresSubscriptions(
        Pool(postgres_server.conninfo("nowhere")), PUBLICATION
    )

    assert await subscriptions.resolve([]) == []
