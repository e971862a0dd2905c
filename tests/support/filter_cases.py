"""Columns of every kind with values that are near each other, for comparing filters with what Postgres says.

Near means: equal, equal in another text, the neighbour, NULL, and what is longer or finer than the column.
Most of them are in `filter_values.json`; here are those that are drawn by lot.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from protocol.changes.filters import Operator

if TYPE_CHECKING:
    from random import Random

TYPES = (
    "create type mood as enum ('sad', 'ok', 'a b', 'Happy', 'happy', '%')",
    "create type pair as (x int, label text)",
    "create type opaque as (x int, content json)",
    "create domain small as int2",
    "create domain price as numeric(8,2)",
    "create domain word as varchar(9)",
    "create domain short_word as word",
    "create domain feeling as mood",
    "create domain moment as timestamptz",
    "create domain numbers as int[]",
    "create domain couple as pair",
    "create type \"odd %s \"\"type\"\" l.value\" as enum ('a', 'b', 'c')",
)
#: Types that a server may lack.
OPTIONAL_TYPES = ("xml", "citext", "hstore", "ltree")
#: What domains go back to, and the types whose usual name without a modifier means one of length 1.
BASES = {
    "small": "int2",
    "price": "numeric",
    "word": "varchar",
    "short_word": "varchar",
    "feeling": "mood",
    "moment": "timestamptz",
    "numbers": "int[]",
    "couple": "pair",
    "char": "bpchar",
    "bit": '"bit"',
}
POOLS = json.loads(Path(__file__).with_name("filter_values.json").read_text("utf-8"))
WORDS: list[str] = POOLS["words"]
NOT_FINITE = ["NaN", "Infinity", "-Infinity"]


@frozen
class FilterColumn:
    """A column, the texts that are values of it, and those that filters say of it.

    `name` is its type, with the collation if it has one of its own.
    """

    name: str
    definition: str
    values: list[str]
    filters: list[str]
    patterns: list[str] = field(default=POOLS["patterns"])
    #: What stands between the elements of a list.
    delimiter: str = ","
    #: The type without modifier and collation; for a domain what it goes back to.
    base: str = field()

    @base.default
    def _without_modifier(self) -> str:
        name = self.definition.split(" collate")[0].split("(")[0]
        return BASES.get(name, name)

    def row_values(self, random: Random, count: int) -> list[str | None]:
        """Return the values of a column: each at least once if there is room, and every fourth is NULL."""
        values = random.sample(self.values, len(self.values))
        return [
            None if place % 4 == 3 else values[(place - place // 4) % len(values)]
            for place in range(count)
        ]

    def filter_values(
        self, operator: Operator, random: Random, count: int
    ) -> list[str | list[str | None]]:
        """Return what filters with this operator may say; for `in` a list, NULL as None."""
        if operator is Operator.IS:
            return ["null", "true", "false", "unknown"]
        if operator in (Operator.MATCH, Operator.IMATCH):
            return ["", *random.sample(POOLS["expressions"], count - 1)]
        if operator in (Operator.LIKE, Operator.ILIKE):
            return ["%", *random.sample(self.patterns, count - 1)]
        if operator is Operator.IN:
            some = [random.choices(self.filters, k=size) for size in range(2, count)]
            return [[], [random.choice(self.filters), None], *some]
        return random.choices(self.values, k=2) + random.choices(self.filters, k=count - 2)


def columns(random: Random, collations: list[str], absent: set[str]) -> list[FilterColumn]:
    """Return a column of each kind, but for those that are `absent` from the server."""
    found = [*_listed(), *_numbers(random), *_others(random), *_texts(random, collations)]
    return [column for column in found if column.definition not in absent]


def _listed() -> list[FilterColumn]:
    return [
        FilterColumn(
            entry["type"],
            entry["type"],
            entry["values"],
            entry.get("filters", entry["values"] + entry.get("more", [])),
            entry.get("patterns", POOLS["patterns"]),
            entry.get("delimiter", ","),
        )
        for entry in POOLS["columns"]
    ]


def _column(
    definition: str, values: list[str], more: list[str] | None = None, collation: str = ""
) -> FilterColumn:
    if collation:
        name, definition = f"{definition} {collation}", f'{definition} collate "{collation}"'
    else:
        name = definition
    return FilterColumn(name, definition, values, values + (more or []))


def _integers(random: Random, name: str, bits: int) -> FilterColumn:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    near = random.randint(low + 2, high - 2)
    numbers = [near - 1, near, near + 1, 0, 1, -1, low, high, low + 1, high - 1, 9, 10]
    return _column(name, list(map(str, numbers)), [f" {near} ", f"{near:+d}", "-0", "007"])


def _numbers(random: Random) -> list[FilterColumn]:
    huge = str(random.getrandbits(600))
    numerics = ["1", "1.0", "1.00", f"1.{'0' * 40}1", "0", "-0", "0.000", "1e-10", "-1", "9.99"]
    numerics += [huge, f"{huge}.0", f"{huge}1", f"-{huge}", "1e400", "10", *NOT_FINITE]
    value = random.uniform(-1e9, 1e9)
    doubles = ["0", "-0", "1", "1.0", "0.1", "0.30000000000000004", "0.3", "1e308", "5e-324"]
    doubles += [repr(value), repr(math.nextafter(value, math.inf)), *NOT_FINITE]
    singles = ["0", "-0", "1", "1.0", "0.1", "3e38", "1e-45", *NOT_FINITE]
    (bits,) = struct.unpack("I", struct.pack("f", random.uniform(1, 1e9)))
    for neighbour in (bits, bits + 1, bits + 2):
        (number,) = struct.unpack("f", struct.pack("I", neighbour))
        singles.append(f"{number:.9g}")
    return [
        _integers(random, "int2", 16),
        _integers(random, "int4", 32),
        _integers(random, "int8", 64),
        _integers(random, "small", 16),
        _column("float4", singles),
        _column("float8", doubles, ["1e0", "0.10", " 1"]),
        _column("numeric", numerics),
    ]


def _others(random: Random) -> list[FilterColumn]:
    number = random.getrandbits(120)
    uuids = [_uuid(number), _uuid(number + 1), _uuid(number + 2), _uuid(0), _uuid(2**128 - 1)]
    words = [word for word in WORDS if word.isascii() and "\n" not in word]
    arrays = [_array(random.sample(words, 2)) for _ in range(8)]
    return [
        _column("uuid", uuids, [uuids[0].upper(), f"{{{uuids[1]}}}"]),
        _column("text[]", [*arrays, "{}", "{NULL}", "{a,NULL}"]),
    ]


def _uuid(number: int) -> str:
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _array(items: list[str]) -> str:
    quoted = (item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return "{" + ",".join(f'"{item}"' for item in quoted) + "}"


def _texts(random: Random, collations: list[str]) -> list[FilterColumn]:
    words = random.sample(WORDS, len(WORDS))
    short = [word for word in words if len(word) <= 9]
    padded = [*(word for word in words if len(word) <= 5), "a   ", "ab ", "abc"]
    return [
        _column("text", words),
        *(_column("text", words, collation=name) for name in collations),
        _column("varchar(9)", short, words),
        _column("char(5)", padded, ["abcdefgh", "a       "]),
        _column("char(5)", padded, collation="C"),
        _column("name", words),
        _column("word", short, words),
        _column("short_word", short, words),
        _column("citext", words[:25]),
    ]
