"""Tables that change while their rows are streamed: each row is rendered with the facts that held for it.

Promptly: each row is read before the next statement, so the catalog is asked in time.
Late: everything is read at the end, so the catalog is ahead of the rows, as after a reconnect.
"""

from __future__ import annotations

import pytest
import trio

from tests.support.streaming import reading

pytestmark = pytest.mark.postgres

NOTES = (
    "create type mood as enum ('ok', 'sad')",
    "create domain size as numeric check (value > 0)",
    "create table notes (id int primary key, body text, mood mood, size size)",
    "create publication supabase_realtime for all tables",
)
INSERT_1 = "insert into notes values (1, '7', 'ok', 1.5)"
BEFORE = {"id": 1, "body": "7", "mood": "ok", "size": 1.5}


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(30):
        yield


@pytest.fixture
def notes(database):
    database.execute(*NOTES)
    return database


async def one_by_one(reader, database, *statements):
    """Run statements of which every insert is read before the next one."""
    data = []
    for statement in statements:
        database.execute(statement)
        if statement.startswith("insert"):
            data += await reader.data(1)
    return data


async def at_the_end(reader, database, *statements):
    database.execute(*statements)
    return await reader.data(sum(text.startswith("insert") for text in statements))


both = pytest.mark.parametrize("play", [one_by_one, at_the_end])


@both
@pytest.mark.parametrize(
    ("alteration", "insertion", "after"),
    [
        (
            "alter table notes add column extra int[] default '{1}'",
            "insert into notes (id) values (2)",
            {"id": 2, "body": None, "mood": None, "size": None, "extra": [1]},
        ),
        (
            "alter table notes drop column body",
            "insert into notes values (2, 'sad', 2)",
            {"id": 2, "mood": "sad", "size": 2},
        ),
        (
            "alter table notes rename column body to words",
            "insert into notes (id, words) values (2, 'x')",
            {"id": 2, "words": "x", "mood": None, "size": None},
        ),
        (
            "alter table notes alter column body type int using body::int",
            "insert into notes values (2, 8)",
            {"id": 2, "body": 8, "mood": None, "size": None},
        ),
        (
            "alter table notes alter column mood type text, alter column size type int",
            "insert into notes values (2, null, 'ok', 2)",
            {"id": 2, "body": None, "mood": "ok", "size": 2},
        ),
        (
            "alter type mood add value 'new'",
            "insert into notes values (2, null, 'new')",
            {"id": 2, "body": None, "mood": "new", "size": None},
        ),
        (
            "alter type mood rename value 'ok' to 'fine'",
            "insert into notes values (2, null, 'fine')",
            {"id": 2, "body": None, "mood": "fine", "size": None},
        ),
        (
            "alter domain size drop constraint size_check",
            "insert into notes values (2, null, null, -2)",
            {"id": 2, "body": None, "mood": None, "size": -2},
        ),
    ],
)
async def test_rows_before_and_after_an_alteration(notes, play, alteration, insertion, after):
    async with reading(notes.conninfo) as reader:
        data = await play(reader, notes, INSERT_1, alteration, insertion)

    assert [row["record"] for row in data] == [BEFORE, after]
    assert [[column["name"] for column in row["columns"]] for row in data] == [
        list(BEFORE),
        list(after),
    ]


@both
async def test_types_are_named_as_of_their_row(notes, play):
    async with reading(notes.conninfo) as reader:
        before, after = await play(
            reader,
            notes,
            INSERT_1,
            "alter table notes alter column body type int using body::int",
            "insert into notes values (2, 8)",
        )

    assert before["columns"][1] == {"name": "body", "type": "text"}
    assert after["columns"][1] == {"name": "body", "type": "int4"}


@both
@pytest.mark.parametrize(
    ("alteration", "name"),
    [
        ("alter table notes rename to papers", ("public", "papers")),
        ("create schema office; alter table notes set schema office", ("office", "notes")),
    ],
)
async def test_a_table_has_the_name_of_its_time(notes, play, alteration, name):
    insertion = f"insert into {'.'.join(name)} values (2)"
    async with reading(notes.conninfo) as reader:
        data = await play(reader, notes, INSERT_1, alteration, insertion)

    assert [(row["schema"], row["table"]) for row in data] == [("public", "notes"), name]


@pytest.fixture
def notes_of_16(notes):
    if notes.server.binaries.version < 16:
        pytest.skip("before Postgres 16 a renamed schema shows when the table itself changes")
    return notes


@both
async def test_a_schema_has_the_name_of_its_time(notes_of_16, play):
    notes = notes_of_16
    async with reading(notes.conninfo) as reader:
        data = await play(
            reader,
            notes,
            INSERT_1,
            "alter schema public rename to office",
            "insert into office.notes values (2)",
        )

    assert [row["schema"] for row in data] == ["public", "office"]


@both
async def test_a_table_dropped_and_made_again_is_another_one(notes, play):
    async with reading(notes.conninfo) as reader:
        before, after = await play(
            reader,
            notes,
            INSERT_1,
            "drop table notes; create table notes (body jsonb, id text primary key)",
            "insert into notes values ('{}', 'x')",
        )

    assert before["record"] == BEFORE
    assert after["record"] == {"body": {}, "id": "x"}


async def test_what_a_dropped_table_leaves_behind_is_for_nobody(notes):
    async with reading(notes.conninfo) as reader:
        notes.execute(INSERT_1, "drop table notes", "create table notes (id int)")
        (change,) = await reader.changes(1)

    table = change.table
    assert (table.primary_key, table.row_security) == ((), True)
    assert set(table.column_numbers) == {None}


async def test_a_dropped_type_leaves_its_values_as_strings(notes):
    async with reading(notes.conninfo) as reader:
        notes.execute(INSERT_1, "drop type mood cascade", "drop domain size cascade")
        (data,) = await reader.data(1)

    assert data["record"] == {"id": 1, "body": "7", "mood": "ok", "size": "1.5"}
    assert data["columns"][2:] == [
        {"name": "mood", "type": "unknown"},
        {"name": "size", "type": "unknown"},
    ]


@both
async def test_another_primary_key_makes_another_old_record(notes, play):
    async with reading(notes.conninfo) as reader:
        await play(reader, notes, INSERT_1)
        notes.execute(
            "delete from notes",
            "alter table notes drop constraint notes_pkey, add primary key (body)",
            "insert into notes values (2, 'x')",
            "delete from notes",
        )
        first, _, second = await reader.data(3)

    assert (first["old_record"], second["old_record"]) == ({"id": 1}, {"body": "x"})


@both
async def test_the_primary_key_of_now_is_named_as_of_the_row(notes, play):
    async with reading(notes.conninfo) as reader:
        if play is one_by_one:
            notes.execute(INSERT_1)
            (before,) = await reader.changes(1)
            notes.execute("alter table notes rename column id to number")
        else:
            notes.execute(INSERT_1, "alter table notes rename column id to number")
            (before,) = await reader.changes(1)
        notes.execute("insert into notes values (2)")
        (after,) = await reader.changes(1)

    assert (before.table.primary_key, after.table.primary_key) == (("id",), ("number",))
    assert before.table.column_numbers == after.table.column_numbers == (1, 2, 3, 4)


async def test_an_alteration_inside_of_a_transaction_divides_its_rows(notes):
    async with reading(notes.conninfo) as reader:
        notes.execute(
            "begin; insert into notes values (1, 'a'); alter table notes rename body to words;"
            " insert into notes values (2, 'b'); alter table notes drop words;"
            " insert into notes values (3); commit"
        )
        records = await reader.records(3)

    assert [list(record) for record in records] == [
        ["id", "body", "mood", "size"],
        ["id", "words", "mood", "size"],
        ["id", "mood", "size"],
    ]


async def test_a_composite_ahead_of_its_rows_leaves_them_as_strings(notes):
    notes.execute("create type pair as (a int, b text)", "alter table notes add pair pair")
    insertion = "insert into notes (id, pair) values ({}, row(1, 'x'{}))"
    async with reading(notes.conninfo) as reader:
        notes.execute(insertion.format(1, ""), "alter type pair add attribute c int")
        # Whatever invalidates the table makes its types known again.
        notes.execute("comment on table notes is ''", "alter table notes replica identity full")
        notes.execute(insertion.format(2, ", 3"))
        before, after = await reader.records(2)

    assert before["pair"] == "(1,x)"
    assert after["pair"] == {"a": 1, "b": "x", "c": 3}
