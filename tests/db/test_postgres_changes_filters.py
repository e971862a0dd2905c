"""Every operator of a filter on insert, update and delete, from a real Postgres to a client of a running node.

All filters are subscribed to at once, each on a topic of its own; after a round of writes each has heard its rows.
"""

from __future__ import annotations

import pytest

from tests.support.rows_client import rows_client
from tests.support.running_node import running_node

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.every_postgres]

VERSIONS = ["1.0.0", "2.0.0"]
SCHEMA = (
    "do $$ begin create role anon; exception when duplicate_object then null; end $$",
    "create table items (id int primary key, name text, price numeric, is_old bool, note text)",
    "alter table items replica identity full",
    "grant select on items to anon",
    "create publication supabase_realtime for table items",
)
#: id, name, price, is_old, note
ROWS = (
    (1, "Apple", 1.10, True, None),
    (2, "banana", 20, False, "a,b"),
    (3, "Cherry pie", 300, None, 'say "x"'),
)
#: Which of the rows each filter lets through.
FILTERS = {
    "id=eq.2": {2},
    "id=neq.2": {1, 3},
    "id=lt.2": {1},
    "id=lte.2": {1, 2},
    "id=gt.2": {3},
    "id=gte.2": {2, 3},
    "id=in.(1,3)": {1, 3},
    "id=in.()": set(),
    "name=like.%an%": {2},
    "name=ilike.a%": {1},
    "note=is.null": {1},
    "is_old=is.true": {1},
    "is_old=is.unknown": {3},
    "name=match.^[A-Z]": {1, 3},
    "name=imatch.^[a-b]": {1, 2},
    'note=isdistinct."a,b"': {1, 3},
    "price=eq.1.1": {1},
    # Two conditions, and what only one of them lets through.
    "id=gt.1,name=like.b%": {2},
    "id=gt.2,name=like.b%": set(),
    "id=not.eq.2": {1, 3},
    "note=not.eq.zzz": {2, 3},
    "note=not.is.null": {2, 3},
    "note=not.isdistinct.a": set(),
    'note=eq."a,b"': {2},
    'note=eq."say \\"x\\""': {3},
    'name=in.("Cherry pie",Apple)': {1, 3},
    # Composed, as upstream's end-to-end suite has them.
    "id=gte.2,name=not.eq.banana,name=match.pie": {3},
    "price=gte.2,price=lt.100": {2},
    "id=in.(1,2),name=like.A%": {1},
    "name=neq.Apple,name=not.like.b%": {3},
    "note=not.is.null,name=ilike.B%": {2},
    "id=gt.0,id=lt.3,name=neq.x,is_old=is.false": {2},
}


@pytest.fixture
def items(database):
    database.execute(*SCHEMA)
    yield database
    database.execute("drop owned by anon")


def _id_of(data) -> int:
    return data["record" if "record" in data else "old_record"]["id"]


async def heard_by_filter(client, kind):
    """Return the ids of the rows each topic heard of; the row 99 is for everybody the last."""
    heard = {}
    for place, text in enumerate(FILTERS):
        ids = []
        while True:
            data = (await client.change(f"room{place}"))["data"]
            assert data["type"] == kind
            row = _id_of(data)
            if row == 99:
                break
            ids.append(row)
        assert len(set(ids)) == len(ids)
        heard[text] = set(ids)
    return heard


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.capability("SB-175")
async def test_each_filter_lets_through_what_it_says(items, version):
    witness = {"event": "*", "schema": "public", "table": "items", "filter": "id=eq.99"}
    async with (
        running_node(items.conninfo) as node,
        rows_client(node.port, version) as client,
    ):
        for place, text in enumerate(FILTERS):
            await client.subscribed(f"room{place}", {**witness, "filter": text}, witness)
        values = ", ".join(
            f"({row[0]}, '{row[1]}', {row[2]}, {_literal(row[3])}, {_literal(row[4])})"
            for row in ROWS
        )
        items.execute(
            f"insert into items values {values}, (99, 'last', 0, null, 'last')",
        )
        inserted = await heard_by_filter(client, "INSERT")
        items.execute("update items set price = price")
        updated = await heard_by_filter(client, "UPDATE")
        items.execute("delete from items")
        deleted = await heard_by_filter(client, "DELETE")

    assert inserted == FILTERS
    assert updated == FILTERS
    assert deleted == FILTERS


@pytest.mark.capability("AG-042")
async def test_a_value_may_be_a_uuid_in_any_spelling(items):
    mine, other = "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"
    items.execute(
        "create table positions (id int primary key, user_id uuid)",
        "grant select on positions to anon",
        "alter publication supabase_realtime add table positions",
    )
    binding = {"event": "*", "schema": "public", "table": "positions"}
    async with running_node(items.conninfo) as node, rows_client(node.port) as client:
        await client.subscribed("room", {**binding, "filter": f"user_id=eq.{mine}"})
        items.execute(f"insert into positions values (1, '{other}'), (2, '{mine.lower()}')")
        heard = await client.change()

    assert heard["data"]["record"] == {"id": 2, "user_id": mine.lower()}


async def test_filters_look_at_the_new_row_of_an_update(items):
    binding = {"event": "*", "schema": "public", "table": "items", "filter": "name=eq.in"}
    async with running_node(items.conninfo) as node, rows_client(node.port) as client:
        await client.subscribed("room", binding)
        items.execute(
            "insert into items (id, name) values (1, 'out'), (2, 'in')",
            "update items set name = case name when 'in' then 'out' else 'in' end",
            "delete from items",
        )
        heard = [(await client.change())["data"] for _ in range(3)]

    assert [(data["type"], _id_of(data)) for data in heard] == [
        ("INSERT", 2),
        ("UPDATE", 1),
        ("DELETE", 1),
    ]


@pytest.mark.capability("AG-008")
async def test_a_delete_is_filtered_by_what_the_replica_identity_logs(items):
    items.execute("alter table items replica identity default")
    binding = {"event": "DELETE", "schema": "public", "table": "items"}
    async with running_node(items.conninfo) as node, rows_client(node.port) as client:
        await client.subscribed(
            "by name", {**binding, "filter": "name=neq.x"}, {**binding, "filter": "id=eq.99"}
        )
        await client.subscribed("by id", {**binding, "filter": "id=lt.3"})
        items.execute(
            "insert into items (id, name) values (1, 'a'), (2, 'b'), (3, 'c'), (99, 'd')",
            "delete from items",
        )
        by_id = [(await client.change("by id"))["data"]["old_record"] for _ in range(2)]
        by_name = (await client.change("by name"))["data"]["old_record"]

    assert by_id == [{"id": 1}, {"id": 2}]
    assert by_name == {"id": 99}


def _literal(value) -> str:
    if value is None:
        return "null"
    return (
        str(value).lower() if isinstance(value, bool) else "'" + value.replace("'", "''") + "'"
    )
