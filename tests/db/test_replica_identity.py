"""What is known of an old row, and of values that were not written anew (spec 6.5)."""

from __future__ import annotations

import pytest
import trio

from tests.support.streaming import reading

pytestmark = pytest.mark.postgres

#: Too long to stay in the row, and not compressed either.
LONG = "select string_agg(md5(n::text), '') from generate_series(1, 200) as n"
NOTES = (
    "create table notes (id int primary key, code text not null unique, body text)",
    f"insert into notes select 1, 'one', ({LONG})",
    "create publication supabase_realtime for all tables",
)
UPDATE = "update notes set code = 'uno'"
UPDATE_KEY = "update notes set id = 2"


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(30):
        yield


async def play(database, *statements, count):
    """Return the data of the changes that the last statements make."""
    database.execute(*NOTES, *statements[:-1])
    async with reading(database.conninfo) as reader:
        database.execute(statements[-1])
        return await reader.data(count)


@pytest.mark.parametrize(
    ("identity", "of_update", "of_key_update", "of_delete"),
    [
        ("default", {"id": 1}, {"id": 1}, {"id": 2}),
        ("using index notes_code_key", {"code": "one"}, {"code": "uno"}, {"code": "uno"}),
    ],
)
async def test_the_old_record_is_the_replica_identity(
    database, identity, of_update, of_key_update, of_delete
):
    database.execute(*NOTES, f"alter table notes replica identity {identity}")
    async with reading(database.conninfo) as reader:
        database.execute(UPDATE, UPDATE_KEY, "delete from notes")
        update, key_update, delete = await reader.data(3)

    assert update["old_record"] == of_update
    assert key_update["old_record"] == of_key_update
    assert delete["old_record"] == of_delete


@pytest.mark.parametrize("identity", ["default", "using index notes_code_key"])
async def test_a_long_value_that_was_not_written_anew_is_missing(database, identity):
    (update,) = await play(
        database, f"alter table notes replica identity {identity}", UPDATE, count=1
    )

    assert update["record"] == {"id": 1, "code": "uno"}
    assert [column["name"] for column in update["columns"]] == ["id", "code", "body"]


async def test_full_identity_knows_the_whole_old_row_and_fills_the_new_one(database):
    database.execute(*NOTES, "alter table notes replica identity full")
    async with reading(database.conninfo) as reader:
        database.execute(UPDATE, "delete from notes")
        update, delete = await reader.data(2)

    assert len(update["record"]["body"]) == 6400
    assert update["old_record"] == update["record"] | {"code": "one"}
    assert delete["old_record"] == update["record"]


async def test_a_long_value_written_anew_is_there(database):
    (update,) = await play(database, f"update notes set body = ({LONG}) || '.'", count=1)

    assert len(update["record"]["body"]) == 6401


async def test_without_identity_inserts_go_through_and_postgres_refuses_the_rest(database):
    database.execute(*NOTES, "alter table notes replica identity nothing")
    async with reading(database.conninfo) as reader:
        with pytest.raises(Exception, match="does not have a replica identity"):
            database.execute(UPDATE)
        with pytest.raises(Exception, match="does not have a replica identity"):
            database.execute("delete from notes")
        database.execute("insert into notes values (2, 'two')")
        (insert,) = await reader.data(1)

    assert insert["record"] == {"id": 2, "code": "two", "body": None}
    assert "old_record" not in insert


async def test_a_table_without_primary_key_is_streamed(database):
    database.execute(
        "create table loose (a int, b text)",
        "create publication supabase_realtime for all tables",
    )
    async with reading(database.conninfo) as reader:
        database.execute(
            "insert into loose values (1, 'x'), (1, 'x')",
            "alter table loose replica identity full",
            "update loose set b = 'y'",
            "delete from loose",
        )
        data = await reader.data(6)

    assert [row["type"] for row in data] == ["INSERT"] * 2 + ["UPDATE"] * 2 + ["DELETE"] * 2
    assert data[-1]["old_record"] == {"a": 1, "b": "y"}


async def test_null_and_not_logged_are_told_apart_in_old_rows(database):
    database.execute(*NOTES, "update notes set body = null")
    database.execute("alter table notes replica identity full")
    async with reading(database.conninfo) as reader:
        database.execute("delete from notes")
        (delete,) = await reader.data(1)

    assert delete["old_record"] == {"id": 1, "code": "one", "body": None}


async def test_generated_identity_and_dropped_columns(database):
    database.execute(
        "create table made (gone int, id int generated always as identity primary key,"
        " also_gone text, price numeric, twice numeric generated always as (price * 2) stored)",
        "alter table made drop column gone, drop column also_gone",
        "create publication supabase_realtime for all tables",
    )
    async with reading(database.conninfo) as reader:
        database.execute("insert into made (price) values (1.50)", "delete from made")
        insert, delete = await reader.data(2)

    # Generated columns are not in the stream, unless Postgres 18 is told to publish them.
    assert insert["record"] == {"id": 1, "price": 1.5}
    assert delete["old_record"] == {"id": 1}


@pytest.fixture
def database_of_18(database):
    if database.server.binaries.version < 18:
        pytest.skip("publish_generated_columns needs Postgres 18")
    return database


async def test_generated_columns_are_streamed_where_the_publication_says_so(database_of_18):
    database = database_of_18
    database.execute(
        "create table made (id int primary key, twice int generated always as (id * 2) stored)"
    )
    database.execute(
        "create publication supabase_realtime for all tables"
        " with (publish_generated_columns = stored)"
    )
    async with reading(database.conninfo) as reader:
        database.execute("insert into made values (2)")

        assert await reader.records(1) == [{"id": 2, "twice": 4}]


async def test_a_long_value_goes_through(database):
    (update,) = await play(database, "update notes set body = repeat('ä', 400000)", count=1)

    assert update["record"]["body"] == "ä" * 400_000
