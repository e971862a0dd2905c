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

pytestmark = pytest.mark.postgres

TYPES = (
    "create type mood as enum ('ok', 'very sad')",
    "create domain age as int",
    "create domain tags as text[]",
    "create domain area as box",
    "create domain rooms as area[]",
    "create domain flats as rooms[]",
    "create type nothing as ()",
    "create type measured as (value float8, bytes bytea, at date)",
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
    "date": ["2026-01-02", "4714-11-24 BC", "-infinity", "12026-01-02", "5874897-12-31"],
    "time": ["03:04:05.1", "24:00:00"],
    "timetz": ["03:04:05+02", "03:04:05.123-05:30", "24:00:00-15:59:59"],
    "timestamp": [
        "2026-01-02 03:04:05.123456",
        "0044-03-15 01:02:03 BC",
        "-infinity",
        "12026-01-02",
        "294276-12-31 23:59:59.999999",
        "4714-11-24 00:00:00 BC",
    ],
    "timestamptz": [
        "2026-01-02 03:04:05.1+02",
        "0044-03-15 01:02:03+00 BC",
        "infinity",
        "1800-01-01 BC",
        "294276-12-31 23:59:59.999999+00",
        "1800-01-01 00:00:00+00:12:34",
    ],
    "json": ['{"b": 1,   "a": [null, true, "x"]}', '"\\u00e9"', "[]", "1.50", "null"],
    "jsonb": ['{"b": 1, "a": {"c": [1.50, 1e5]}}', '"x"', "null"],
    "age": ["42"],
    "tags": ['{a,"b c"}'],
    "int4[]": [
        "{}",
        "{1,NULL,3}",
        "{{1,2},{3,4}}",
        "[0:1]={1,2}",
        "[-3:-2][5:5]={{1},{NULL}}",
        "{{{1}},{{2}}}",
        "{{{{{{7}}}}}}",
    ],
    "float8[]": ["{NaN,1.5,Infinity,-Infinity,NULL}", "{1e300,-0}"],
    "bytea[]": [r'{"\\x0102ff",NULL}'],
    "int2vector": ["1 -2 3", ""],
    "oidvector": ["1 4294967295"],
    "area[]": ["{(1,1),(0,0);(3,3),(2,2)}"],
    "rooms": ["{(1,1),(0,0);(3,3),(2,2)}"],
    "flats": ['{"{(1,1),(0,0);(3,3),(2,2)}"}'],
    "nothing": ["()"],
    "measured": ['(NaN,"\\\\x01",2026-01-02)'],
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


EXTENSIONS = {
    "citext": ["Some Text"],
    "ltree": ["a.b.c"],
    "hstore": ['"a\\"\\\\ b"=>"1, \\"2\\"", c=>NULL, bb=>""', ""],
}


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
