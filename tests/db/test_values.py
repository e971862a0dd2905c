"""Differential test: a value that came through replication is rendered as `to_jsonb` renders it."""

from __future__ import annotations

import json
from decimal import Decimal

import psycopg
import pytest
import trio

from actors.db.driver import connect
from protocol.changes.render import ChangeRenderer
from tests.contracts.change_source import receive
from tests.support.streaming import live_stream, reading
from tests.support.value_cases import EXTENSIONS, TYPES, VALUES

pytestmark = pytest.mark.postgres


@pytest.fixture
async def stream(database):
    database.execute(
        *TYPES,
        *(
            f"create table t{number} (id int primary key, value {name})"
            for number, name in enumerate(VALUES)
        ),
        "create publication supabase_realtime for all tables",
    )
    with trio.fail_after(60):
        async with live_stream(database.conninfo) as stream:
            yield stream


@pytest.mark.capability("AG-041")
async def test_values_are_rendered_as_to_jsonb_does(stream, database):
    expected = []
    async with await connect(database.conninfo, options="-c timezone=UTC") as connection:
        for number, values in enumerate(VALUES.values()):
            for value in [*values, None]:
                cursor = await connection.execute(
                    f"insert into t{number} values (%s, %s) returning to_jsonb(value)::text",
                    (len(expected), value),
                )
                (text,) = await cursor.fetchone()
                expected.append("null" if text is None else text)
    renderer = ChangeRenderer()

    actual = [
        json.loads(renderer.render(change, frozenset({"value"})), parse_float=Decimal)
        for change in await receive(stream, len(expected))
    ]

    names = [name for name, values in VALUES.items() for _ in [*values, None]]
    differences = [
        (name, json.loads(theirs, parse_float=Decimal), ours["record"]["value"])
        for name, theirs, ours in zip(names, expected, actual, strict=True)
        if not is_same(json.loads(theirs, parse_float=Decimal), ours["record"]["value"])
    ]
    assert differences == []


def is_same(theirs, ours) -> bool:
    """Compare JSON values, numbers by value and digits; 1 is not true here."""
    return repr(normal(theirs)) == repr(normal(ours))


def normal(value):
    """Write numbers without exponent, as jsonb does; order keys."""
    match value:
        case dict():
            return {key: normal(value[key]) for key in sorted(value)}
        case list():
            return [normal(item) for item in value]
        case Decimal():
            return f"number {value:f}"
        case int() if not isinstance(value, bool):
            return f"number {value}"
        case _:
            return value


@pytest.fixture(params=EXTENSIONS)
def extension(database, request):
    try:
        database.execute(f"create extension {request.param}")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        pytest.skip(f"NOT CHECKED, this server lacks an extension: {error}")
    return request.param


async def test_values_of_extensions_are_rendered_as_to_jsonb_does(database, extension):
    database.execute(
        f"create table t (value {extension}, list {extension}[])",
        "create publication supabase_realtime for all tables",
    )
    async with (
        reading(database.conninfo) as reader,
        await connect(database.conninfo) as connection,
    ):
        for value in EXTENSIONS[extension]:
            cursor = await connection.execute(
                f"insert into t values (%s, array[%s, null]::{extension}[])"
                " returning to_jsonb(t)",
                (value, value),
            )
            (expected,) = await cursor.fetchone()

            assert await reader.records(1) == [expected]


@pytest.fixture
def xml(database):
    """A value of the type xml."""
    try:
        database.execute("select '<a>b</a>'::xml")
    except psycopg.errors.FeatureNotSupported as error:
        pytest.skip(f"NOT CHECKED, this server was built without libxml: {error}")
    return "<a>b</a>"


async def test_xml_is_a_string(database, xml):
    database.execute(
        "create table t (value xml)", "create publication supabase_realtime for all tables"
    )
    async with reading(database.conninfo) as reader:
        database.execute(f"insert into t values ('{xml}')")

        assert await reader.records(1) == [{"value": "<a>b</a>"}]


async def test_json_that_jsonb_refuses_is_passed_on_as_it_is(database):
    database.execute(
        "create table t (value json)", "create publication supabase_realtime for all tables"
    )
    texts = [r'{"b": "\ud800", "a": 1}', r'"\u0000"', "1e1000000"]
    async with live_stream(database.conninfo) as stream:
        async with await connect(database.conninfo) as connection:
            for text in texts:
                await connection.execute("insert into t values (%s)", (text,))
        changes = await receive(stream, len(texts))

    rendered = [ChangeRenderer().render(change, frozenset({"value"})) for change in changes]
    assert [data.decode().split('"record":')[1] for data in rendered] == [
        f'{{"value":{text}}}}}' for text in texts
    ]


async def test_numbers_that_are_not_finite_are_null_in_a_domain_as_well(database):
    database.execute(
        "create domain ratio as float8",
        "create table t (a numeric, b ratio, c float4)",
        "create publication supabase_realtime for all tables",
    )
    async with reading(database.conninfo) as reader:
        database.execute("insert into t values ('NaN', 'NaN', '-Infinity')")

        assert await reader.records(1) == [{"a": None, "b": None, "c": None}]


async def test_columns_carry_the_names_of_their_types(stream, database):
    database.execute(
        "insert into t0 values (1, 1)",
        "create table named (a char(3), b int4[], c mood, d age, e timestamptz, f pair[])",
        "insert into named default values",
    )
    renderer = ChangeRenderer()

    _, change = await receive(stream, 2)

    columns = json.loads(renderer.render(change, frozenset("abcdef")))["columns"]
    assert [column["type"] for column in columns] == [
        "bpchar",
        "_int4",
        "mood",
        "age",
        "timestamptz",
        "_pair",
    ]


async def test_numbers_that_json_cannot_say_are_null(stream, database):
    number = list(VALUES).index("float8")
    database.execute(
        f"insert into t{number} values (1, 'NaN'), (2, 'Infinity'), (3, '-Infinity')"
    )
    renderer = ChangeRenderer()

    changes = await receive(stream, 3)

    rendered = [json.loads(renderer.render(change, frozenset({"value"}))) for change in changes]
    assert [data["record"] for data in rendered] == [{"value": None}] * 3


async def test_bytes_are_hexadecimal_without_a_prefix(stream, database):
    database.execute(
        "create table bytes (value bytea)", r"insert into bytes values ('\x0102ff')"
    )

    (change,) = await receive(stream, 1)

    data = json.loads(ChangeRenderer().render(change, frozenset({"value"})))
    assert data["record"] == {"value": "0102ff"}
