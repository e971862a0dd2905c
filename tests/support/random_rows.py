"""Random tables and rows for differential tests: types of every kind, and values as SQL expressions of them."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

from attrs import field, frozen
from hypothesis import strategies as st
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hypothesis.strategies import DrawFn, SearchStrategy

    Draw = Callable[[SearchStrategy], object]

#: Microseconds from 2000-01-01 to the first and the last moment that Postgres knows.
FIRST_US, LAST_US = -211_813_488_000_000_000, 9_223_371_331_199_999_999
#: Days from 2000-01-01 to the first and the last date that Postgres knows.
FIRST_DAY, LAST_DAY = -2_451_545, 2_145_031_547

NASTY = st.text(alphabet="{}[]()\",;\\:=>'% 019.eE+-atfnulTNL\n\t", max_size=12)
TEXTS = NASTY | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
)
LABELS = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=12)
UNUSUAL = st.sampled_from(["NaN", "Infinity", "-Infinity"])
#: More digits than any machine number has, and exponents.
NUMERICS = UNUSUAL | st.decimals(allow_nan=False, allow_infinity=False).map(str)
NUMERICS |= st.integers(-(10**200), 10**200).map(str)
JSON_NUMBERS = st.sampled_from(["1e5", "-0", "1.50", "1E-7", "9007199254740993", "1" * 40])


@frozen
class RandomType:
    """One type: how SQL calls it, expressions that have it, and what it is made of when it is a domain."""

    name: str
    expressions: SearchStrategy[str]
    #: The name of the built-in type that a domain goes back to.
    base: str


@frozen
class RandomTable:
    name: str
    columns: Mapping[str, RandomType]
    #: One expression per column and row.
    rows: list[list[str]]


@frozen
class Batch:
    """Statements that make the types, and tables full of rows."""

    definitions: list[str] = field(factory=list)
    tables: list[RandomTable] = field(factory=list)


@st.composite
def batches(draw: DrawFn) -> Batch:
    batch = Batch()
    for number in range(draw(st.integers(2, 4))):
        types = [
            _random_type(draw, batch.definitions, depth=2)
            for _ in range(draw(st.integers(4, 8)))
        ]
        rows = st.tuples(*(st.just("null") | kind.expressions for kind in types)).map(list)
        columns = {f"column {place}": kind for place, kind in enumerate(types)}
        batch.tables.append(
            RandomTable(f"t{number}", columns, draw(st.lists(rows, min_size=2, max_size=6)))
        )
    return batch


def json_texts() -> SearchStrategy[str]:
    """Return JSON that jsonb takes, with the spaces, duplicates and numbers that only `json` keeps."""
    leaves = st.none() | st.booleans() | TEXTS.filter(lambda text: "\0" not in text)
    scalars = leaves.map(json.dumps) | JSON_NUMBERS | st.integers().map(str)
    spaces = st.sampled_from(["", " ", "\n\t "])
    return st.recursive(
        scalars,
        lambda inner: (
            st.builds(_json_array, st.lists(inner, max_size=4), spaces)
            | st.builds(_json_object, st.lists(st.tuples(TEXTS, inner), max_size=5), spaces)
        ),
        max_leaves=8,
    )


def _json_array(items: list[str], space: str) -> str:
    return f"[{space}{(space + ',').join(items)}{space}]"


def _json_object(members: list[tuple[str, str]], space: str) -> str:
    # The last key comes again, so that there are duplicates.
    members = members + members[-1:]
    pairs = (f"{json.dumps(key)}{space}:{space}{value}" for key, value in members)
    return "{" + space + f"{space},".join(pairs) + "}"


def _random_type(draw: DrawFn, definitions: list[str], depth: int) -> RandomType:
    """Return a type of any kind, and add to `definitions` what makes it."""
    kinds = ["built-in"] * 3 + ["enum"]
    if depth:
        kinds += ["array", "array", "domain", "composite"]
    kind = draw(st.sampled_from(kinds))
    if kind == "built-in":
        return draw(st.sampled_from(BUILT_IN))
    if kind == "enum":
        return _enum(draw, definitions)
    if kind == "composite":
        return _composite(draw, definitions, depth)
    inner = _random_type(draw, definitions, depth - 1)
    return _domain(inner, definitions) if kind == "domain" else _array(inner)


def _enum(draw: DrawFn, definitions: list[str]) -> RandomType:
    labels = draw(st.lists(TEXTS.filter(_fits_a_name), min_size=1, max_size=4, unique=True))
    quoted = [literal(label) for label in labels]
    return _define(definitions, f"as enum ({', '.join(quoted)})", st.sampled_from(quoted))


def _composite(draw: DrawFn, definitions: list[str], depth: int) -> RandomType:
    names = draw(st.lists(LABELS, min_size=0, max_size=4, unique=True))
    fields = [_random_type(draw, definitions, depth - 1) for _ in names]
    members = ", ".join(
        f"{identifier(name)} {kind.name}" for name, kind in zip(names, fields, strict=True)
    )
    values = st.tuples(*(st.just("null") | kind.expressions for kind in fields))
    rows = values.map(lambda parts: f"row({', '.join(parts)})")
    return _define(definitions, f"as ({members})", rows)


def _define(definitions: list[str], what: str, expressions: SearchStrategy[str]) -> RandomType:
    name = f"type{len(definitions)}"
    definitions.append(f"create type {name} {what}")
    return RandomType(name, expressions.map(lambda text: f"({text})::{name}"), name)


def _domain(base: RandomType, definitions: list[str]) -> RandomType:
    name = f"domain{len(definitions)}"
    definitions.append(f"create domain {name} as {base.name}")
    return RandomType(name, base.expressions.map(lambda text: f"({text})::{name}"), base.base)


def _array(element: RandomType) -> RandomType:
    name = f"{element.name}[]"
    if element.name.endswith("[]") or element.name in {"int2vector", "oidvector"}:
        # More dimensions are not another type, and vectors do not nest.
        return element
    items = st.just("null") | element.expressions
    flat = st.lists(items, max_size=4).map(lambda parts: f"array[{', '.join(parts)}]")
    square = st.lists(st.tuples(items, items), min_size=1, max_size=3).map(
        lambda rows: f"array[{', '.join(f'[{a}, {b}]' for a, b in rows)}]"
    )
    shifted = flat.map(
        lambda text: (
            f"(case cardinality({text}::{name}) when 0 then '' else"
            f" format('[3:%s]=', cardinality({text}::{name}) + 2) end || {text}::{name}::text)"
        )
    )
    return RandomType(
        name, (flat | square | shifted).map(lambda text: f"({text})::{name}"), name
    )


def literal(text: str) -> str:
    return sql.Literal(text).as_string()


def identifier(name: str) -> str:
    return sql.Identifier(name).as_string()


def _fits_a_name(text: str) -> bool:
    return 0 < len(text.encode()) <= 63


def _built_in(name: str, texts: SearchStrategy[str] | list[str]) -> RandomType:
    strategy = st.sampled_from(texts) if isinstance(texts, list) else texts
    return RandomType(name, strategy.map(lambda text: f"{literal(text)}::{name}"), name)


def _moments(name: str) -> RandomType:
    moments = st.integers(FIRST_US, LAST_US) | st.integers(-(10**15), 10**15)
    start = literal("2000-01-01 00:00:00+00")
    sums = moments.map(lambda us: f"({start}::{name} + interval '{us} microseconds')")
    ends = st.sampled_from(["'infinity'", "'-infinity'"]).map(lambda text: f"{text}::{name}")
    return RandomType(name, sums | ends, name)


def _integers(name: str, bits: int) -> RandomType:
    return _built_in(name, st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(str))


def _floats(name: str, width: int) -> RandomType:
    values = st.floats(width=width, allow_subnormal=False).map(str)
    return _built_in(name, values | UNUSUAL)


def _ranges(name: str, texts: SearchStrategy[str]) -> SearchStrategy[str]:
    return st.tuples(texts, texts).map(lambda ends: f"[{min(ends)},{max(ends)}]") | st.just(
        "empty"
    )


_DATES = st.dates().map(str)
_SMALL = st.integers(-9, 9).map(str)
_BITS = st.text("01", max_size=9)
_OFFSETS = ["+00", "+02", "-05:30", "+15:59:59"]
_TIMES = st.times().map(str) | st.just("24:00:00")

BUILT_IN = [
    _integers("int2", 16),
    _integers("int4", 32),
    _integers("int8", 64),
    _floats("float4", 32),
    _floats("float8", 64),
    _built_in("numeric", NUMERICS),
    _built_in("numeric(12,3)", st.decimals(-(10**8), 10**8, places=3).map(str)),
    _built_in("oid", st.integers(0, 2**32 - 1).map(str)),
    _built_in("bool", ["true", "false"]),
    _built_in("text", TEXTS),
    _built_in("varchar(20)", TEXTS),
    _built_in("char(12)", TEXTS),
    _built_in("name", LABELS),
    _built_in('"char"', ["a", "", '"', "\\"]),
    _built_in("bytea", st.binary(max_size=9).map(lambda data: f"\\x{data.hex()}")),
    _built_in("uuid", st.uuids().map(str)),
    _built_in("json", json_texts()),
    _built_in("jsonb", json_texts()),
    RandomType(
        "date",
        st.integers(FIRST_DAY, LAST_DAY).map(lambda days: f"('2000-01-01'::date + {days})")
        | _DATES.map(lambda text: f"'{text}'::date"),
        "date",
    ),
    _moments("timestamp"),
    _moments("timestamptz"),
    _built_in("time", _TIMES),
    _built_in("timetz", st.tuples(_TIMES, st.sampled_from(_OFFSETS)).map("".join)),
    _built_in(
        "interval",
        st.tuples(*[st.integers(-(10**6), 10**6)] * 3).map(
            lambda parts: "{} months {} days {} milliseconds".format(*parts)
        ),
    ),
    _built_in("money", st.decimals(-(10**12), 10**12, places=2).map(str)),
    _built_in("inet", st.ip_addresses().map(str)),
    _built_in("cidr", st.integers(0, 2**32 - 1).map(lambda n: f"{ipaddress.ip_address(n)}/32")),
    _built_in("macaddr", ["08:00:2b:01:02:03"]),
    _built_in("macaddr8", ["08:00:2b:01:02:03:04:05"]),
    _built_in("int4range", _ranges("int4range", st.just("1"))),
    _built_in("daterange", _ranges("daterange", _DATES)),
    _built_in("tsrange", ['["2026-01-02 03:04:05",)', "(,)", "empty"]),
    _built_in("numrange", ["[1.10,2.20)", "(,1e3]"]),
    _built_in("datemultirange", ["{}", "{[2026-01-01,2026-02-01),[2027-01-01,)}"]),
    _built_in("bit(5)", st.text("01", min_size=5, max_size=5)),
    _built_in("varbit", _BITS),
    _built_in("tsvector", ["a fat cat:3A", "'it''s' '\\\\'", ""]),
    _built_in("tsquery", ["fat & (rat | !cat:*)", ""]),
    _built_in("point", ["(1,2)", "(-0.5,1e300)"]),
    _built_in("line", ["{1,2,3}"]),
    _built_in("lseg", ["[(0,0),(1,1)]"]),
    _built_in("box", ["(1,1),(0,0)", "(3,4),(1,2)"]),
    _built_in("path", ["((0,0),(1,1))", "[(0,0),(1,1)]"]),
    _built_in("polygon", ["((0,0),(1,1),(2,0))"]),
    _built_in("circle", ["<(1,2),3>"]),
    _built_in("jsonpath", ["$.a[*]", "strict $"]),
    _built_in("pg_lsn", ["0/16B3748", "FFFFFFFF/FFFFFFFF"]),
    _built_in("xid8", ["18446744073709551615"]),
    _built_in("tid", ["(1,2)"]),
    _built_in("regclass", ["pg_class", "0"]),
    _built_in("regtype", ["timestamp with time zone", "int4[]"]),
    _built_in("regproc", ["now"]),
    _built_in("int2vector", ["1 2 -3", ""]),
    _built_in("oidvector", ["1 4294967295", ""]),
]
