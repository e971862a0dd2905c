"""Fluxbase's clients of a running node with a real Postgres: who may have which rows, and who is told what."""

from __future__ import annotations

import pytest

from actors.settings import DEVELOPMENT_SECRET
from tests.support.fluxbase import open_fluxbase
from tests.support.rows_client import rows_client
from tests.support.running_node import running_node
from tests.support.tokens import mint

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

ROLE = "do $$ begin create role {} nologin; exception when duplicate_object then null; end $$"
SCHEMA = (
    ROLE.format("anon"),
    ROLE.format("authenticated"),
    "create schema inventory",
    "create table products (id int primary key, name text, price numeric)",
    "alter table products replica identity full",
    "create table inventory.items (id int primary key, tags jsonb)",
    "create table hidden (id int primary key)",
    "create table apart (id int primary key)",
    "create table owned (id int primary key, owner text)",
    "alter table owned enable row level security",
    """create policy own on owned for select to authenticated
        using (owner = current_setting('request.jwt.claims', true)::jsonb ->> 'sub')""",
    "grant usage on schema inventory to anon, authenticated",
    "grant select on products, inventory.items, owned, apart to anon, authenticated",
    "create publication supabase_realtime for table products, inventory.items, hidden, owned",
)
PRODUCTS = "table:public.products"


@pytest.fixture
def tables(database):
    database.execute(*SCHEMA)
    yield database
    database.execute("drop owned by anon, authenticated")


@pytest.fixture
async def node(tables, nursery):
    async with running_node(tables.conninfo, join_error_delay_s=0.0) as node:
        yield node


def token_of(user: str) -> str:
    return mint("authenticated", secret=DEVELOPMENT_SECRET, sub=user)


def visitor(node, user: str | None = None):
    return open_fluxbase(node.port, token_of(user) if user else "")


@pytest.mark.capability("FB-006", "FB-016", "FB-032", "FB-034", "FB-033", "FB-057", "FB-061")
async def test_the_rows_of_the_document_arrive_as_it_shows_them(tables, node):
    async with visitor(node) as anon:
        await anon.subscribed(PRODUCTS)
        tables.execute(
            "insert into products values (123, 'Old Product', 99.99)",
            "update products set name = 'Updated Product', price = 149.99",
            "delete from products",
        )
        inserted, updated, deleted = [await anon.next() for _ in range(3)]

    old = {"id": 123, "name": "Old Product", "price": 99.99}
    new = {"id": 123, "name": "Updated Product", "price": 149.99}
    table = {"table": "products", "schema": "public"}
    head = {"type": "broadcast", "channel": PRODUCTS}
    assert inserted == {**head, "payload": {"type": "INSERT", **table, "record": old}}
    assert updated == {
        **head,
        "payload": {"type": "UPDATE", **table, "record": new, "old_record": old},
    }
    assert deleted == {**head, "payload": {"type": "DELETE", **table, "old_record": new}}


@pytest.mark.capability("FB-017", "FB-039", "FB-040", "FB-041", "FB-045", "FB-071")
async def test_everybody_sees_own_rows_and_anonymous_clients_none(tables, node):
    channel = "table:public.owned"
    async with visitor(node, "ann") as ann, visitor(node, "bob") as bob, visitor(node) as anon:
        for client in (ann, bob, anon):
            await client.subscribed(channel)
        await anon.subscribed(PRODUCTS)
        tables.execute(
            "insert into owned values (1, 'ann'), (2, 'bob'), (3, 'nobody')",
            "insert into products values (1, 'last', 1)",
        )

        assert (await ann.next())["payload"]["record"] == {"id": 1, "owner": "ann"}
        assert (await bob.next())["payload"]["record"] == {"id": 2, "owner": "bob"}
        assert (await anon.next())["channel"] == PRODUCTS


@pytest.mark.parametrize(
    "channel",
    [
        "table:public.missing",
        "table:public.apart",
        "table:nowhere.items",
        "table:public.hidden",
    ],
)
@pytest.mark.capability("FB-010", "FB-012", "FB-053")
async def test_a_table_that_is_missing_or_not_granted_or_not_published_is_an_error(
    node, channel
):
    async with visitor(node) as anon:
        assert "Unable to subscribe" in await anon.refusal(channel)
        # The connection lives on.
        await anon.subscribed(PRODUCTS)


@pytest.mark.capability("FB-012", "FB-063", "FB-070")
async def test_any_schema_and_any_operator_of_filters(tables, node):
    operators = ["eq.2", "neq.1", "gt.1", "gte.2", "lt.3", "lte.2", "in.(2,7)"]
    filters = [f"id={one}" for one in operators]
    filters += ["name=like.b%", "name=ilike.B%", "price=is.null"]
    async with visitor(node) as anon:
        for one in filters:
            config = {"event": "INSERT", "table": "products", "filter": one}
            await anon.subscribed("filters", config=config)
        items = {"schema": "inventory", "table": "items"}
        await anon.subscribed("items", config=items)
        tables.execute(
            "insert into products values (1, 'a', 1)",
            "insert into products values (2, 'b', null)",
            "insert into inventory.items values (1, '[\"a\"]')",
        )
        changes = [(await anon.next())["payload"] for _ in range(len(filters) + 3)]

    found = {one["subscription_id"] for one in changes if one["new"]["id"] == 2}
    assert len(found) == len(filters)
    assert [one["new"] for one in changes if one["table"] == "items"] == [
        {"id": 1, "tags": ["a"]}
    ]


@pytest.mark.capability("FB-025", "FB-026", "FB-027")
async def test_a_table_is_live_as_long_as_sql_says_so(tables, node):
    channel = "table:public.apart"
    tables.execute("select enable_realtime('public', 'apart')")
    async with visitor(node) as anon:
        await anon.subscribed(channel)
        await anon.subscribed(PRODUCTS)
        tables.execute("insert into apart values (1)")
        assert (await anon.next())["payload"]["record"] == {"id": 1}

        tables.execute(
            "select disable_realtime('public', 'apart')",
            "insert into apart values (2)",
            "insert into products values (1, 'a', 1)",
        )
        assert (await anon.next())["channel"] == PRODUCTS


@pytest.mark.capability("FB-070")
async def test_a_filter_may_follow_a_path_into_json(tables, node):
    items = {"schema": "inventory", "table": "items"}
    filters = ["tags->0->>name=eq.a", "tags->0->size=gt.9", "tags->0->>none=is.null"]
    async with visitor(node) as anon:
        for one in filters:
            await anon.subscribed("items", config={**items, "filter": one})
        tables.execute(
            """insert into inventory.items values (1, '[{"name": "a", "size": 10}]'), (2, null)""",
            """update inventory.items set tags = '[{"name": "b", "size": 9, "none": 0}]' where id = 1""",
            """insert into inventory.items values (3, '[{"name": "a", "size": 1, "none": 0}]')""",
        )
        changes = [(await anon.next())["payload"] for _ in range(5)]

    found = sorted((one["new"]["id"], one["subscription_id"]) for one in changes)
    assert found == [(1, "sub_1"), (1, "sub_2"), (1, "sub_3"), (2, "sub_3"), (3, "sub_1")]


async def test_supabase_clients_have_no_paths_as_upstream(node):
    async with rows_client(node.port) as supabase:
        entry = {"event": "*", "schema": "inventory", "table": "items"}
        refused = await supabase.refused("room", {**entry, "filter": "tags->>key=eq.1"})

    assert "invalid column for filter tags->>key" in refused


@pytest.mark.parametrize(
    "condition", ["tags->=eq.1", "tags->>a->b=eq.1", "id->a=eq.1", "nope->a=eq.1", "x"]
)
async def test_a_filter_that_cannot_be_had_is_an_error(node, condition):
    config = {"schema": "inventory", "table": "items", "filter": condition}
    async with visitor(node) as anon:
        assert await anon.refusal("items", config=config)


@pytest.mark.capability("M5-061")
async def test_a_supabase_client_that_waits_is_refused_too(node):
    async with rows_client(node.port) as supabase:
        entry = {"event": "*", "schema": "public", "table": "hidden"}
        await supabase.join("room", entry, postgres_changes_options={"wait": True})
        reply = await supabase.next("phx_reply", "room")

    assert reply["status"] == "error"
    assert "permission denied for table" in reply["response"]["reason"]
