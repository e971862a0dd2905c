from __future__ import annotations

import pytest
import trio

from actors.db.catalog import Catalog
from actors.db.driver import connect
from actors.db.pool import Pool
from protocol.changes.model import Column, Relation, ReplicaIdentity, TypeFacts

pytestmark = pytest.mark.postgres

INT4 = TypeFacts(23, "int4")
TEXT = TypeFacts(25, "text")


@pytest.fixture
async def relation_of(database):
    """Return what the relation message of a table of the fresh database would say now."""

    async def relation_of(name: str):
        async with await connect(database.conninfo) as connection:
            cursor = await connection.execute(
                "select attname, atttypid::bigint from pg_attribute"
                " where attrelid = %s::regclass and attnum > 0 and not attisdropped"
                " order by attnum",
                (name,),
            )
            columns = tuple(
                Column(*row, -1, is_identity=False) for row in await cursor.fetchall()
            )
            cursor = await connection.execute("select %s::regclass::oid::bigint", (name,))
            (oid,) = await cursor.fetchone()
        return Relation(oid, "public", name, ReplicaIdentity.DEFAULT, columns)

    return relation_of


@pytest.fixture
async def catalog(database):
    pool = Pool(database.conninfo)
    with trio.fail_after(20):
        yield Catalog(pool)
    pool.close()


@pytest.fixture
async def describe(catalog, relation_of):
    """Describe a table as its relation message would ask for it."""

    async def describe(name: str):
        return await catalog.describe(await relation_of(name))

    return describe


async def test_columns_that_an_index_only_carries_along_are_no_part_of_the_key(
    describe, database
):
    database.execute(
        "create table t (id int, body text)",
        "alter table t add constraint t_key primary key (id) include (body)",
    )

    assert (await describe("t")).primary_key == ("id",)


async def test_plain_types_are_named(describe, database):
    database.execute("create table t (id int, body text, spot point, label name)")

    table = await describe("t")

    assert table.types == (INT4, TEXT, TypeFacts(600, "point"), TypeFacts(19, "name"))


async def test_arrays_domains_enums_and_composites_are_taken_apart(describe, database):
    database.execute(
        "create type mood as enum ('ok', 'sad')",
        "create domain age as int",
        "create type pair as (label text, gone int, ages age[])",
        "alter type pair drop attribute gone",
        "create table t (moods mood[], years age, pairs pair[], span int4range)",
    )

    moods, years, pairs, span = (await describe("t")).types

    assert (moods.name, moods.element.kind) == ("_mood", "e")
    assert (years.name, years.kind, years.base) == ("age", "d", INT4)
    assert [name for name, _ in pairs.element.fields] == ["label", "ages"]
    assert pairs.element.fields[1][1].element.base == INT4
    assert (span.kind, span.element) == ("r", None)


async def test_the_primary_key_is_in_its_own_order(describe, database):
    database.execute("create table t (a int, b int, c int, unique (a), primary key (c, a))")

    assert (await describe("t")).primary_key == ("c", "a")


async def test_a_table_without_primary_key_has_none(describe, database):
    database.execute("create table t (a int not null unique)")

    table = await describe("t")

    assert (table.primary_key, table.row_security) == ((), False)


async def test_row_security_is_looked_up_each_time(describe, database):
    database.execute("create table t (a int)")
    before = await describe("t")
    database.execute("alter table t enable row level security")
    after = await describe("t")

    assert (before.row_security, after.row_security) == (False, True)


async def test_vectors_are_no_arrays_and_delimiters_go_with_the_type(describe, database):
    database.execute(
        "create domain area as box", "create table t (a int2vector, b box[], c area[])"
    )

    vector, boxes, areas = (await describe("t")).types

    assert vector == TypeFacts(22, "int2vector")
    assert (boxes.element.delimiter, areas.element.delimiter) == (";", ";")


async def test_a_relation_of_the_past_is_found_in_the_table_of_now(
    catalog, relation_of, database
):
    database.execute("create table t (gone int, a int, b text, c text, primary key (c, a))")
    database.execute("alter table t drop column gone")
    past = await relation_of("t")
    database.execute(
        "alter table t rename column a to id",
        "alter table t drop column b",
        "alter table t add d int",
    )

    table = await catalog.describe(past)

    assert [column.name for column in table.relation.columns] == ["a", "b", "c"]
    # The place of `a` and `b` is not certain any more: the first column may have been dropped since.
    assert table.column_numbers == (None, None, 4)
    assert table.primary_key == ()


async def test_a_primary_key_renamed_since_keeps_the_name_it_had(
    catalog, relation_of, database
):
    database.execute("create table t (a int, b text, c text, primary key (c, a))")
    past = await relation_of("t")
    database.execute("alter table t rename column a to id", "alter table t drop column b")

    table = await catalog.describe(past)

    assert (table.primary_key, table.column_numbers) == (("c", "a"), (1, None, 3))


async def test_what_is_gone_is_unknown_and_for_nobody(catalog):
    relation = Relation(
        99_999_999,
        "public",
        "gone",
        ReplicaIdentity.DEFAULT,
        (Column("a", 99_999_998, -1, False),),
    )

    table = await catalog.describe(relation)

    assert table.column_numbers == (None,)
    assert table.types == (TypeFacts(99_999_998, "unknown"),)
    assert (table.primary_key, table.row_security) == ((), True)
