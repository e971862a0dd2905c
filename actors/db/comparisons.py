"""The SQL that compares values of one type: whole lists of them in one statement.

Called by `filters`; a parameter of these statements is text that a client or a row brought.

**Invariants**
- Values are parameters. Names of types, operators and collations are quoted by Postgres and carry their schema,
  so that nothing in a search path can take their place.
- An operator is the one of `pg_catalog`, or that of the schema in which an extension made the type.
- Both sides have the type itself, without its modifier: a longer text or a finer number is not cut to fit the column.

**Source**: PostgreSQL 18 documentation, 4.2.5 (`OPERATOR`), 4.2.10 (`COLLATE`) and 10.2, read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from protocol.changes.filters import Operator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.db.filter_columns import ValueType
    from protocol.changes.filters import Condition

SYMBOLS: Final[Mapping[Operator, str]] = {
    Operator.EQ: "=",
    Operator.NEQ: "<>",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.IN: "=",
    Operator.ISDISTINCT: "=",
    Operator.LIKE: "~~",
    Operator.ILIKE: "~~*",
    Operator.MATCH: "~",
    Operator.IMATCH: "~*",
}
ORDERS: Final = frozenset({Operator.LT, Operator.LTE, Operator.GT, Operator.GTE})
REGULAR_EXPRESSIONS: Final = frozenset({Operator.MATCH, Operator.IMATCH})
PATTERNS: Final = frozenset({Operator.LIKE, Operator.ILIKE}) | REGULAR_EXPRESSIONS

#: Types by their OIDs.
TEXT: Final = 25
JSON: Final = 114
JSONB: Final = 3802

_CATALOG: Final = "pg_catalog"
_TEXT: Final = "pg_catalog.text"
_BYTEA: Final = "pg_catalog.bytea"

# A list of texts as values of a type, in their order; OFFSET 0 sees to it that each is read once.
_GIVEN: Final = """(
    SELECT raw.place, raw.text::{type} AS value
    FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY AS raw(text, place) OFFSET 0
)"""

_JUDGE: Final = """
    SELECT {expression}
    FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.int8[]), pg_catalog.unnest(%s::pg_catalog.int8[]))
        WITH ORDINALITY AS pair(l, r, place)
    JOIN {left} AS l ON l.place OPERATOR(pg_catalog.=) pair.l
    JOIN {right} AS r ON r.place OPERATOR(pg_catalog.=) pair.r
    ORDER BY pair.place
"""

# What is there in the JSON on the left, each value by a path of its own.
_JUDGE_INSIDE: Final = """
    SELECT {expression}
    FROM ROWS FROM (
        pg_catalog.unnest(%s::pg_catalog.int8[]), pg_catalog.unnest(%s::pg_catalog.int8[]),
        pg_catalog.unnest(%s::pg_catalog.text[])
    ) WITH ORDINALITY AS pair(l, r, path, place)
    JOIN {whole} AS whole ON whole.place OPERATOR(pg_catalog.=) pair.l
    JOIN {right} AS r ON r.place OPERATOR(pg_catalog.=) pair.r
    CROSS JOIN LATERAL (
        SELECT {extraction}(whole.value, VARIADIC pair.path::pg_catalog.text[]) AS value OFFSET 0
    ) AS l
    ORDER BY pair.place
"""

# `format` has the output function write the value, where a cast to text may write something else.
_READ_ONE: Final = """
    SELECT pg_catalog.format('%%s', r.value), NULL, 1, {trial} FROM {right} AS r ORDER BY r.place
"""
_READ_LIST: Final = """
    SELECT pg_catalog.format('%%s', r.value),
        ARRAY(
            SELECT CASE WHEN item.value IS DISTINCT FROM NULL
                THEN pg_catalog.format('%%s', item.value) END
            FROM pg_catalog.unnest(r.value) WITH ORDINALITY AS item(value, place)
            ORDER BY item.place),
        pg_catalog.cardinality(r.value), {trial}
    FROM {right} AS r ORDER BY r.place
"""

_TRY: Final = """
    SELECT {expression}
    FROM (SELECT NULL::{left} AS value) AS l, (SELECT NULL::{right} AS value) AS r
"""
_TRY_MEMBERS: Final = "SELECT l.value FROM (SELECT NULL::{left} AS value) AS l {clause} l.value"


@frozen
class Extraction:
    """How a value inside of JSON is had: the type of the whole, and the function that follows a path."""

    source: str
    function: str


@frozen
class Comparison:
    """An operator between values of two types; what is equal can be asked in one statement.

    All are pieces of SQL in which a percent sign is doubled.
    `expression` compares `l.value` with `r.value`.
    `trial` needs `r.value` alone, and fails where that would fail beside other values, too.
    `grouping` is the clause for which Postgres looks whether it can compare what is inside of such a value.
    `inside` says that values on the left are looked up in JSON, by paths that are parameters too.
    """

    left: str
    right: str
    expression: str
    trial: str
    is_list: bool = False
    grouping: str | None = None
    inside: Extraction | None = None

    @property
    def judging(self) -> bytes:
        """The statement with the parameters: places on the left and on the right, texts on the left and on the right.

        Places count from 1. With `inside`, the paths come between both, one for each pair of places.
        """
        if self.inside is not None:
            return _JUDGE_INSIDE.format(
                expression=self.expression,
                whole=_GIVEN.format(type=self.inside.source),
                extraction=self.inside.function,
                right=_GIVEN.format(type=self.right),
            ).encode()
        left, right = _GIVEN.format(type=self.left), _GIVEN.format(type=self.right)
        return _JUDGE.format(expression=self.expression, left=left, right=right).encode()

    @property
    def reading(self) -> bytes:
        """The statement that reads texts, its parameter, as values on the right.

        Each row has the value as Postgres writes it, its elements if it is a list, their number, and the trial.
        """
        query = _READ_LIST if self.is_list else _READ_ONE
        return query.format(trial=self.trial, right=_GIVEN.format(type=self.right)).encode()

    @property
    def attempts(self) -> list[bytes]:
        """Statements that fail if Postgres can compare no values of these types."""
        attempts = [_TRY.format(expression=self.expression, left=self.left, right=self.right)]
        if self.grouping is not None:
            attempts.append(_TRY_MEMBERS.format(left=self.left, clause=self.grouping))
        return [attempt.encode() for attempt in attempts]


def inner_comparison(whole: ValueType, kind: ValueType, condition: Condition) -> Comparison:
    """Return how Postgres applies the condition to values of `kind` that are inside of JSON of the type `whole`."""
    function = "json_extract_path" if whole.base_oid == JSON else "jsonb_extract_path"
    if kind.base_oid == TEXT:
        function += "_text"
    inside = Extraction(whole.name, f"{_CATALOG}.{function}")
    return evolve(comparison(kind, condition), inside=inside)


def comparison(kind: ValueType, condition: Condition) -> Comparison:
    """Return how Postgres applies the condition to values of `kind`; whether it can is for it to say."""
    operator = condition.operator
    if operator is Operator.IS:
        return Comparison(kind.name, _TEXT, f"l.value IS {condition.value.upper()}", "NULL")
    symbol = SYMBOLS[operator]
    is_own = symbol in kind.own_operators
    schema = kind.schema if is_own else _CATALOG
    collated = f" COLLATE {kind.collation}" if kind.collation else ""

    def applied(left: str, right: str = "r.value") -> str:
        return f"({left}{collated}) OPERATOR({schema}.{symbol}) {right}"

    if operator in PATTERNS:
        right = kind.name if is_own or kind.name == _BYTEA else _TEXT
        return Comparison(kind.name, right, applied("l.value"), applied(f"''::{kind.name}"))
    grouping = None
    if kind.has_members:
        grouping = "ORDER BY" if operator in ORDERS else "GROUP BY"
    if operator is Operator.IN:
        expression = applied("l.value", "ANY (r.value)")
        trial = applied(f"NULL::{kind.name}", "ANY (r.value)")
        return Comparison(kind.name, kind.list_name, expression, trial, True, grouping)
    expression = applied("l.value")
    if operator is Operator.ISDISTINCT:
        # On the right there is no NULL; on the left there may be one inside of a value.
        expression = f"l.value IS NOT DISTINCT FROM NULL OR NOT ({expression})"
    return Comparison(kind.name, kind.name, expression, applied("r.value"), grouping=grouping)
