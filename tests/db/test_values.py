"""Differential test: a value that came through replication is rendered as `to_jsonb` renders it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
import trio

from actors.db.catalog import Catalog
from actors.db.driver import connect
from actors.db.pool import Pool
from actors.db.replication import ReplicationSource
from protocol.changes.render import ChangeRenderer
from tests.contracts.change_source import receive

pytestmark = pytest.mark.postgres

TYPES = (
    "create type mood as enum ('ok', 'very sad')",
    "create domain age as int",
    "create domain tags as text[]",
    "create type pair as (label text, number numeric, moods mood[])",
    "create type nested as (pairs pair[], whole pair, document jsonb)",
)

#: Type, and values as SQL literals of it; spec 6.4 names the types.
VALUES = {
    "int2": ["-32768", "0"],
    "int4": ["2147483647"],
    "int8": ["9007199254740993", "-9223372036854775808"],
    "float4": ["1.1", "3.4e38", "1e-10"],
    "float8": ["0.1", "1e300", "-0.0", "123456789012345680"],
    "numeric": ["1.10", "-0.0000000000000000001", "1e100", "12345678901234567890.123456789"],
    "numeric(10,2)": ["1.1"],
    "oid": ["16384"],
    "bool": ["true", "false"],
    "text": ["", 'it\'s "quoted" \\ é \n\t\u0001\u2028', "NULL", "🙂"],
    "varchar(3)": ["ab"],
    "char(5)": ["abc"],
    "name": ["label"],
    '"char"': ["x"],
    "uuid": ["979a8511-1aec-478e-b8a4-2f34ef2be8fd"],
    "mood": ["very sad"],
    "inet": ["10.0.0.1/8"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "xml": ["<a>b</a>"],
    "tsvector": ["a fat cat"],
    "point": ["(1,2)"],
    "box": ["(1,1),(0,0)"],
    "jsonpath": ["$.a[*]"],
    "pg_lsn": ["0/16B3748"],
    "interval": ["1 day 02:00:00", "-1 year 3 months"],
    "money": ["1234.5"],
    "int4range": ["[1,5)", "empty"],
    "int4multirange": ["{[1,5),[7,8)}"],
    "bit(3)": ["101"],
    "varbit": ["10"],
    "date": ["2026-01-02", "0044-03-15 BC", "infinity", "12026-01-02"],
    "time": ["03:04:05.1", "24:00:00"],
    "timetz": ["03:04:05+02", "03:04:05.123-05:30"],
    "timestamp": [
        "2026-01-02 03:04:05.123456",
        "0044-03-15 01:02:03 BC",
        "-infinity",
        "12026-01-02",
    ],
    "timestamptz": [
        "2026-01-02 03:04:05.1+02",
        "0044-03-15 01:02:03+00 BC",
        "infinity",
        "1800-01-01 BC",
    ],
    "json": ['{"b": 1,   "a": [null, true, "x"]}', '"\\u00e9"', "[]", "1.50", "null"],
    "jsonb": ['{"b": 1, "a": {"c": [1.50, 1e5]}}', '"x"', "null"],
    "age": ["42"],
    "tags": ['{a,"b c"}'],
    "int4[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={1,2}", "{{{1}},{{2}}}"],
    "text[]": ['{a,"b c","","NULL",NULL,"q\\"x\\\\y","{,}","\n"}'],
    "bool[]": ["{t,f}"],
    "numeric[]": ["{1.10,2}"],
    "timestamptz[]": ['{"2026-01-02 03:04:05+02",NULL}'],
    "date[]": ["{2026-01-02}"],
    "jsonb[]": ['{"{\\"a\\": [1]}",NULL}'],
    "uuid[]": ["{979a8511-1aec-478e-b8a4-2f34ef2be8fd}"],
    "mood[]": ['{ok,"very sad"}'],
    "box[]": ["{(1,1),(0,0);(3,3),(2,2)}"],
    "int4range[]": ['{"[1,5)",empty}'],
    "age[]": ["{1,2}"],
    "pair": ['("a ""b"" \\\\ (c),",1.10,"{ok,""very sad""}")', "(,,)", '("",0,{})'],
    "pair[]": ['{"(a,1,)","(\\"b c\\",2,\\"{ok}\\")"}'],
    "nested": ['("{""(a,1,)""}","(b,2,{ok})","{""x"": [1]}")'],
}


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
    pool = Pool(database.conninfo)
    source = ReplicationSource(database.conninfo, Catalog(pool), now=lambda: 1.7e9)
    with trio.fail_after(60):
        async with source.connect(None) as stream:
            yield stream
    pool.close()


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
