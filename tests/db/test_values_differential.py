"""Differential test: random tables and rows that came through either change source read as `to_jsonb` says.

`DIFFERENTIAL_EXAMPLES=1000` looks at so many batches of tables, and at others each time;
without it they are always the same few.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings

from actors.db.driver import connect
from protocol.changes.render import ChangeRenderer
from tests.contracts.change_source import receive
from tests.support.notify import install, live_notify_stream
from tests.support.random_rows import batches, identifier
from tests.support.streaming import all_columns, live_stream

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

EXAMPLES = os.environ.get("DIFFERENTIAL_EXAMPLES")
OPTIONS = "-c timezone=UTC -c search_path=example"
NUMBERS = {"int2", "int4", "int8", "float4", "float8", "numeric", "numeric(12,3)"}
NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


@settings(
    max_examples=int(EXAMPLES or 100),
    derandomize=EXAMPLES is None,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.parametrize("live", [live_stream, live_notify_stream])
@given(batch=batches())
async def test_random_rows_are_rendered_as_to_jsonb_does(database, live, batch):
    with trio.fail_after(60):
        await install(database)
        async with await connect(database.conninfo, options=OPTIONS) as connection:
            await make_tables(connection, batch)
            actual = await streamed_rows(live(database.conninfo), connection, batch)
            expected = await expected_rows(connection, batch)

    differences = [
        (place, theirs, actual.get(place))
        for place, theirs in expected.items()
        if theirs != actual.get(place)
    ]
    assert differences == []


async def make_tables(connection, batch):
    await connection.execute("drop publication if exists supabase_realtime")
    await connection.execute("drop schema if exists example cascade")
    await connection.execute("create schema example")
    for definition in batch.definitions:
        await connection.execute(definition)
    for table in batch.tables:
        columns = "".join(
            f", {identifier(name)} {kind.name}" for name, kind in table.columns.items()
        )
        await connection.execute(f"create table {table.name} (id int primary key{columns})")
    await connection.execute(
        "create publication supabase_realtime for tables in schema example"
    )


async def streamed_rows(live, connection, batch):
    """Insert the rows, and return each value by table, id and column as a client would read it."""
    async with live as stream:
        count = await insert(connection, batch)
        changes = await receive(stream, count)
    renderer = ChangeRenderer()
    values = {}
    for change in changes:
        names = all_columns(change)
        row = dict(dict(read(renderer.render(change, names)))["record"])
        for name in names:
            values[change.table.relation.name, row["id"], name] = row[name]
    return values


async def insert(connection, batch):
    count = 0
    for table in batch.tables:
        rows = (
            f"({number}, {', '.join(row)})" for number, row in enumerate(table.rows, start=1)
        )
        await connection.execute(f"insert into {table.name} values {', '.join(rows)}")
        count += len(table.rows)
    return count


async def expected_rows(connection, batch):
    """Return what Postgres says, with what spec 6.4 says otherwise."""
    values = {}
    for table in batch.tables:
        cursor = await connection.execute(f"select to_jsonb(t)::text from {table.name} as t")
        for (text,) in await cursor.fetchall():
            row = dict(read(text))
            for name, value in row.items():
                kind = table.columns.get(name)
                base = kind.base if kind else None
                values[table.name, row["id"], name] = adjusted(base, value)
    return values


def adjusted(base, value):
    if base in NUMBERS and value in NOT_FINITE:
        return None
    if base == "bytea" and value is not None:
        return value.removeprefix("\\x")
    return value


def read(text):
    """Read JSON without losing a digit or the order of members."""
    return json.loads(text, parse_int=number, parse_float=number, object_pairs_hook=tuple)


def number(text):
    """Write a number without exponent, as jsonb does; unlike a Python number it equals no boolean."""
    value = Decimal(text)
    return f"number {value or abs(value):f}"
