"""Differential test: triggers and the log make the same changes of the same writes."""

from __future__ import annotations

import json
import re

import psycopg
import pytest
import trio

from actors.db.driver import connect
from protocol.changes.render import ChangeRenderer
from tests.contracts.change_source import receive
from tests.support.notify import install, live_notify_stream
from tests.support.streaming import all_columns, live_stream
from tests.support.value_cases import EXTENSIONS, TYPES, VALUES

pytestmark = pytest.mark.postgres

BOUNDS = re.compile(r"^(\[-?\d+:-?\d+\])+=")


async def both(database, *statements):
    """Return the changes that the same writes are made of, by the log and by triggers."""
    with trio.fail_after(100):
        async with (
            live_stream(database.conninfo) as log,
            live_notify_stream(database.conninfo) as told,
            await connect(database.conninfo) as connection,
        ):
            count = 0
            for statement, *values in statements:
                count += (await connection.execute(statement, values)).rowcount
            return await receive(log, count), await receive(told, count)


def rendered(change):
    data = json.loads(ChangeRenderer().render(change, all_columns(change)))
    del data["commit_timestamp"]
    return data


def facts(change):
    relation = change.table.relation
    return (
        change.kind,
        relation,
        change.table.types,
        change.table.primary_key,
        change.table.row_security,
        change.table.column_numbers,
        _as_told(change.new),
        _as_told(change.old),
        change.xid,
    )


def _as_told(row):
    """Return the texts without what JSON cannot say: lower bounds of arrays, and a null of its own beside SQL's."""
    return row and tuple(
        None if value == "null" else BOUNDS.sub("", value) if isinstance(value, str) else value
        for value in row
    )


@pytest.mark.parametrize("identity", ["default", "full"])
async def test_values_of_every_type_come_out_alike(database, identity):
    await install(database)
    database.execute(*TYPES)
    writes = []
    for number, (name, values) in enumerate(VALUES.items()):
        database.execute(
            f"create table t{number} (id int primary key, value {name})",
            f"alter table t{number} replica identity {identity}",
            f"alter publication supabase_realtime add table t{number}",
        )
        for key, value in enumerate([*values, None]):
            writes.append((f"insert into t{number} values (%s, %s)", key, value))
            writes.append((f"update t{number} set id = id + 100 where id = %s", key))
            writes.append((f"delete from t{number} where id = %s", key + 100))

    log, told = await both(database, *writes)

    assert [rendered(change) for change in told] == [rendered(change) for change in log]
    assert [facts(change) for change in told] == [facts(change) for change in log]


@pytest.mark.parametrize("extension", EXTENSIONS)
async def test_values_of_extensions_come_out_alike(database, extension):
    try:
        database.execute(f"create extension {extension}")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        pytest.skip(f"NOT CHECKED, this server lacks an extension: {error}")
    await install(database)
    database.execute(
        f"create table t (id int primary key, value {extension}, list {extension}[])",
        "alter publication supabase_realtime add table t",
    )
    writes = [
        (f"insert into t values (%s, %s, array[%s, null]::{extension}[])", key, value, value)
        for key, value in enumerate(EXTENSIONS[extension])
    ]

    log, told = await both(database, *writes)

    assert [rendered(change) for change in told] == [rendered(change) for change in log]


TABLES = {
    "no key": "create table t (a int, b text); alter table t replica identity full",
    "two keys": "create table t (a int, b text, c text default 'c', primary key (c, a))",
    "index": "create table t (a int not null unique, b text);"
    " alter table t replica identity using index t_a_key",
    "generated": "create table t (a int primary key, b text, g int generated always as (a * 2) stored)",
    "dropped": "create table t (x int, a int primary key, y int, b text); alter table t drop x, drop y",
    "names": 'create table t ("a" int primary key, b text, "O""dd \\ näme," text default \'x\')',
    "row security": "create table t (a int primary key, b text); alter table t enable row level security",
}


@pytest.mark.parametrize("definition", TABLES.values(), ids=TABLES)
async def test_tables_of_every_kind_come_out_alike(database, definition):
    await install(database)
    database.execute(definition)
    database.execute("alter publication supabase_realtime add table t")

    log, told = await both(
        database,
        ("insert into t (a, b) values (1, 'x'), (2, null)",),
        ("update t set b = 'y' where a = 1",),
        ("update t set a = 3 where a = 2",),
        ("delete from t",),
    )

    assert [facts(change) for change in told] == [facts(change) for change in log]


async def test_a_list_of_columns_is_heeded(database):
    await install(database)
    database.execute(
        "create table t (a int primary key, b text, secret text)",
        "alter publication supabase_realtime add table t (a, b)",
    )

    log, told = await both(database, ("insert into t values (1, 'x', 'secret')",))

    assert [facts(change) for change in told] == [facts(change) for change in log]


@pytest.mark.capability("GF-126")
async def test_partitions_come_under_the_name_of_their_table(database):
    await install(database)
    database.execute(
        "create table t (a int primary key, b text) partition by range (a)",
        "create table t1 partition of t for values from (0) to (10)",
        # Its columns stand in another order.
        "create table t2 (b text, a int not null)",
        "alter table t attach partition t2 for values from (10) to (20)",
        "select enable_realtime('public', 't')",
    )

    log, told = await both(
        database,
        ("insert into t values (1, 'x'), (11, 'y')",),
        ("update t set b = 'z'",),
        ("delete from t",),
    )

    assert [facts(change) for change in told] == [facts(change) for change in log]
    assert {change.table.relation.name for change in told} == {"t"}
