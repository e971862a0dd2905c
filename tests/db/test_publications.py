"""What the publication says counts for the rows after it, without a reconnect."""

from __future__ import annotations

import pytest
import trio

from tests.support.streaming import reading

pytestmark = pytest.mark.postgres

#: How soon a change of the publication must show, in seconds.
WITHIN_S = 1.0

TABLES = (
    "create table notes (id int primary key, body text, secret text)",
    "create table others (id int primary key)",
    "create table marks (id int primary key)",
)
MARK = "insert into marks values (1)"


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(30):
        yield


@pytest.fixture
def tables(database):
    database.execute(*TABLES)
    return database


@pytest.fixture
def tables_of_15(tables):
    if tables.server.binaries.version < 15:
        pytest.skip("row filters, column lists and publications of schemas need Postgres 15")
    return tables


async def until_mark(reader, database):
    """Return what has been streamed so far; the mark is the last of it."""
    database.execute(MARK)
    seen = []
    with trio.fail_after(WITHIN_S):
        while True:
            (data,) = await reader.data(1)
            if data["table"] == "marks":
                return seen
            seen.append(data)


async def played(database, *statements, publication="for table notes, marks"):
    database.execute(f"create publication supabase_realtime {publication}")
    async with reading(database.conninfo) as reader:
        database.execute(*statements)
        return await until_mark(reader, database)


def outline(data):
    return [
        (row["type"], row["table"], row.get("record", row.get("old_record"))) for row in data
    ]


@pytest.mark.capability("AG-025", "AG-026")
async def test_a_table_counts_from_when_it_is_added_until_it_is_dropped(tables):
    seen = await played(
        tables,
        "insert into others values (1)",
        "alter publication supabase_realtime add table others",
        "insert into others values (2)",
        "alter publication supabase_realtime drop table others",
        "insert into others values (3)",
    )

    assert outline(seen) == [("INSERT", "others", {"id": 2})]


async def test_only_the_operations_that_are_published_arrive(tables):
    seen = await played(
        tables,
        "insert into notes values (1)",
        "update notes set body = 'a'",
        "alter publication supabase_realtime set (publish = 'update')",
        "insert into notes values (2)",
        "update notes set body = 'b' where id = 1",
        "alter publication supabase_realtime set (publish = 'insert, delete')",
        "delete from notes where id = 1",
        publication="for table notes, marks with (publish = 'insert')",
    )

    assert [row["type"] for row in seen] == ["INSERT", "UPDATE", "DELETE"]


async def test_row_filters_count_and_make_inserts_and_deletes_of_updates(tables_of_15):
    seen = await played(
        tables_of_15,
        "insert into notes values (1), (20)",
        "update notes set id = 30 where id = 20",
        "update notes set id = 11 where id = 1",
        "update notes set id = 2 where id = 11",
        publication="for table notes where (id > 10), marks",
    )

    assert outline(seen) == [
        ("INSERT", "notes", {"id": 20, "body": None, "secret": None}),
        ("UPDATE", "notes", {"id": 30, "body": None, "secret": None}),
        ("INSERT", "notes", {"id": 11, "body": None, "secret": None}),
        ("DELETE", "notes", {"id": 11}),
    ]


async def test_column_lists_count_and_change_live(tables_of_15):
    seen = await played(
        tables_of_15,
        "insert into notes values (1, 'a', 's')",
        "alter publication supabase_realtime set table notes (id, secret), marks",
        "insert into notes values (2, 'b', 't')",
        publication="for table notes (id, body), marks",
    )

    assert [row["record"] for row in seen] == [{"id": 1, "body": "a"}, {"id": 2, "secret": "t"}]
    assert [column["name"] for column in seen[0]["columns"]] == ["id", "body"]


async def test_all_tables_includes_those_that_are_made_later(tables):
    seen = await played(
        tables,
        "create table later (id int primary key)",
        "insert into later values (1)",
        publication="for all tables",
    )

    assert outline(seen) == [("INSERT", "later", {"id": 1})]


async def test_all_tables_of_a_schema_includes_those_that_come_to_it(tables_of_15):
    tables_of_15.execute("create schema office", "alter table marks set schema office")
    tables_of_15.execute("create view marks as select * from office.marks")
    seen = await played(
        tables_of_15,
        "insert into notes values (1)",
        "alter table notes set schema office",
        "insert into office.notes values (2)",
        "create table office.later (id int)",
        "insert into office.later values (3)",
        publication="for tables in schema office",
    )

    assert [(row["schema"], row["table"]) for row in seen] == [
        ("office", "notes"),
        ("office", "later"),
    ]


PARTITIONS = (
    "create table logs (id int primary key, body text) partition by range (id)",
    "create table logs_low partition of logs for values from (0) to (100)",
    # Its columns stand in another order, and one was dropped.
    "create table logs_high (gone int, body text, id int not null primary key)",
    "alter table logs_high drop column gone",
    "alter table logs attach partition logs_high for values from (100) to (200)",
)
PARTITIONED_WRITES = (
    "insert into logs values (1, 'a'), (101, 'b')",
    "update logs set body = 'c' where id = 101",
    "update logs set id = 102 where id = 1",
    "delete from logs where id = 101",
)


async def test_partitions_go_by_their_own_names(tables):
    tables.execute(*PARTITIONS)
    seen = await played(tables, *PARTITIONED_WRITES, publication="for table logs, marks")

    assert outline(seen) == [
        ("INSERT", "logs_low", {"id": 1, "body": "a"}),
        ("INSERT", "logs_high", {"body": "b", "id": 101}),
        ("UPDATE", "logs_high", {"body": "c", "id": 101}),
        ("DELETE", "logs_low", {"id": 1}),
        ("INSERT", "logs_high", {"body": "a", "id": 102}),
        ("DELETE", "logs_high", {"id": 101}),
    ]


async def test_partitions_go_by_the_name_of_their_root_where_the_publication_says_so(tables):
    tables.execute(*PARTITIONS)
    seen = await played(
        tables,
        *PARTITIONED_WRITES,
        publication="for table logs, marks with (publish_via_partition_root = true)",
    )

    assert outline(seen) == [
        ("INSERT", "logs", {"id": 1, "body": "a"}),
        ("INSERT", "logs", {"id": 101, "body": "b"}),
        ("UPDATE", "logs", {"id": 101, "body": "c"}),
        ("DELETE", "logs", {"id": 1}),
        ("INSERT", "logs", {"id": 102, "body": "a"}),
        ("DELETE", "logs", {"id": 101}),
    ]
    assert {row["schema"] for row in seen} == {"public"}
    assert [column["name"] for column in seen[1]["columns"]] == ["id", "body"]


async def test_a_partition_detached_goes_by_its_own_name_or_not_at_all(tables):
    tables.execute(*PARTITIONS)
    seen = await played(
        tables,
        "alter table logs detach partition logs_low",
        "insert into logs_low values (1, 'a')",
        "insert into logs values (101, 'b')",
        publication="for table logs, marks with (publish_via_partition_root = true)",
    )

    assert [row["table"] for row in seen] == ["logs"]


async def test_heirs_go_by_their_own_names(tables):
    tables.execute("create table heirs (more int) inherits (others)")
    seen = await played(
        tables,
        "insert into others values (1)",
        "insert into heirs values (2, 3)",
        publication="for table others, marks",
    )

    assert outline(seen) == [
        ("INSERT", "others", {"id": 1}),
        ("INSERT", "heirs", {"id": 2, "more": 3}),
    ]


async def test_unlogged_and_temporary_tables_are_silent(tables):
    seen = await played(
        tables,
        "create unlogged table fast (id int)",
        "insert into fast values (1)",
        "create temporary table brief (id int); insert into brief values (1)",
        "alter table fast set logged",
        "insert into fast values (2)",
        publication="for all tables",
    )

    # Switching to logged writes the old rows anew, which is no insert.
    assert outline(seen) == [("INSERT", "fast", {"id": 2})]


async def test_a_table_rewritten_says_nothing(tables):
    seen = await played(
        tables,
        "insert into notes values (1, '2')",
        "alter table notes alter column body type int using body::int",
        "vacuum full notes",
        "cluster notes using notes_pkey",
    )

    assert [row["type"] for row in seen] == ["INSERT"]
