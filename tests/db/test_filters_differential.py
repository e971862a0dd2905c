"""Differential test: filters match the rows that SQL's WHERE would, for each type, operator and negation.

The rows come through replication, so that their texts are those of pgoutput.
The long form goes through several random choices of values (`TROUPE_TESTS=long`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from itertools import product
from random import Random

import psycopg
import pytest
from attrs import define, field, frozen

from actors.db.driver import connect
from actors.db.filters import PostgresFilters
from actors.db.pool import Pool
from actors.realtime.change_ports import FilterRequest
from protocol.changes.filters import Condition, Operator
from protocol.changes.predicates import Verdict
from tests.contracts.change_source import receive
from tests.support.extent import is_long
from tests.support.filter_cases import OPTIONAL_TYPES, TYPES, columns
from tests.support.random_rows import literal
from tests.support.streaming import live_stream

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SEEDS = range(20) if is_long() else range(1)
ROWS = 220
#: How many of the rows are looked at but for `is`, which has few values.
FEWER_ROWS = 44
TEXTS = 5
MIN_CASES = 200
OPTIONS = "-c timezone=UTC"
SQL = {
    Operator.EQ: "=",
    Operator.NEQ: "<>",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LIKE: "LIKE",
    Operator.ILIKE: "ILIKE",
    Operator.MATCH: "~",
    Operator.IMATCH: "~*",
    Operator.ISDISTINCT: "IS DISTINCT FROM",
}
COLLATIONS = ["C", "POSIX", "C.utf8", "pg_c_utf8"]
#: For servers that were built with ICU.
ICU_COLLATIONS = ["de-x-icu", "und-x-icu"]
ANY_CASE = """
    create collation "any case" (provider = icu, locale = 'und-u-ks-level2', deterministic = false)
"""
UNCOMPARABLE = {"opaque", "json[]"}
NOT_GUESSED = {"pair", "opaque", "regclass", "regtype"}
EQUALITIES = {Operator.EQ, Operator.NEQ, Operator.IN, Operator.IS, Operator.ISDISTINCT}
COMPARISONS = EQUALITIES | {Operator.LT, Operator.LTE, Operator.GT, Operator.GTE}
#: What Postgres need not be asked for; the table in docs/reference/postgres-changes.md says the same.
JUDGED_HERE = {
    (
        "int2",
        "int4",
        "int8",
        "small",
        "oid",
        "float4",
        "float8",
        "numeric",
        "numeric(12,3)",
        "price",
    ): COMPARISONS,
    (
        "bool",
        "uuid",
        "bytea",
        "date",
        "time",
        "timestamp",
        "timestamp(0)",
        "timestamptz",
        "moment",
    ): COMPARISONS,
    ("text C", "text POSIX", "char(5) C", "name"): COMPARISONS | {Operator.LIKE},
    ("text", "varchar(9)", "char(5)", "word", "short_word"): EQUALITIES | {Operator.LIKE},
    ("mood", "feeling"): EQUALITIES,
}
#: What can be looked up in an index.
LOOKED_UP = {
    "int2",
    "int4",
    "int8",
    "small",
    "bool",
    "uuid",
    "date",
    "text",
    "varchar(9)",
    "word",
    "short_word",
}
#: The name of a type, an operator, and whether it is negated.
Cell = tuple[str, Operator, bool]
#: These never come out NULL.
TWO_VALUED = {Operator.IS, Operator.ISDISTINCT}


@frozen
class Case:
    """One condition on one column, and for each row whether it holds; `answers` is None if Postgres refuses it."""

    condition: Condition
    answers: list[bool | None] | None


@define
class Report:
    """What came out for each cell, which is a column, an operator, and whether it is negated."""

    outcomes: defaultdict[Cell, Counter[bool | None]] = field(
        factory=lambda: defaultdict(Counter)
    )
    asked: Counter[Cell] = field(factory=Counter)
    looked_up: set[str] = field(factory=set)
    differences: list[tuple[object, ...]] = field(factory=list)

    def poor_cells(self):
        """Return the cells with too few cases, or without one of the outcomes."""
        return [
            (cell, dict(outcomes))
            for cell, outcomes in self.outcomes.items()
            if outcomes.total() < MIN_CASES
            or outcomes.keys() < {True, False}
            or (None in outcomes) == (cell[1] in TWO_VALUED)
        ]

    def cells_without_postgres(self):
        return {cell for cell in self.outcomes if not self.asked[cell]}


@pytest.mark.parametrize("seed", SEEDS)
async def test_filters_match_the_rows_that_where_does(database, seed):
    random = Random(seed)
    report = Report()
    async with await connect(database.conninfo, options=OPTIONS) as connection:
        kinds = await make_table(connection, random)
        changes = await streamed_rows(database, connection, kinds, random)
        cases = {
            name: [
                case
                for operator in Operator
                for case in await cases_of(connection, name, kind, operator, random)
            ]
            for name, kind in kinds.items()
        }
    pool = Pool(database.conninfo)
    for name, kind in kinds.items():
        await compare(PostgresFilters(pool), changes, cases[name], kind, report)
    pool.close()

    assert report.differences == []
    assert report.poor_cells() == []
    assert judged_here() <= report.cells_without_postgres()
    assert report.looked_up >= LOOKED_UP


def judged_here() -> set[Cell]:
    return {
        (name, operator, is_negated)
        for kinds, operators in JUDGED_HERE.items()
        for name, operator, is_negated in product(kinds, operators, (False, True))
    }


async def make_table(connection, random):
    """Make a table with all the columns, and return them by name."""
    for statement in TYPES:
        await connection.execute(statement)
    absent = {name for name in OPTIONAL_TYPES if not await has_type(connection, name)}
    query = "select collname from pg_collation where collname = any(%s)"
    cursor = await connection.execute(query, (COLLATIONS,))
    collations = [name for (name,) in await cursor.fetchall()]
    with suppress(psycopg.errors.FeatureNotSupported):
        await connection.execute(ANY_CASE)
        collations += ["any case", *ICU_COLLATIONS]
    kinds = {
        f"c{number}": kind for number, kind in enumerate(columns(random, collations, absent))
    }
    definitions = ", ".join(f"{name} {kind.definition}" for name, kind in kinds.items())
    await connection.execute(f"create table examples (id int primary key, {definitions})")
    await connection.execute("create publication supabase_realtime for table examples")
    return kinds


async def has_type(connection, name):
    if name == "xml":
        with suppress(psycopg.errors.FeatureNotSupported):
            await connection.execute("select '<a/>'::xml")
            return True
        return False
    with suppress(psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
        await connection.execute(f"create extension {name}")
        return True
    return False


async def streamed_rows(database, connection, kinds, random):
    by_column = [kind.row_values(random, ROWS) for kind in kinds.values()]
    rows = (
        f"({number}, {', '.join('NULL' if text is None else literal(text) for text in row)})"
        for number, row in enumerate(zip(*by_column, strict=True))
    )
    async with live_stream(database.conninfo) as stream:
        await connection.execute(f"insert into examples values {', '.join(rows)}")
        return await receive(stream, ROWS)


async def cases_of(connection, name, kind, operator, random):
    """Return the cases of one column and operator, with what Postgres says."""
    cases = []
    count = ROWS if operator is Operator.IS else FEWER_ROWS
    for value in kind.filter_values(operator, random, TEXTS):
        sql = expression(name, kind, operator, value)
        query = f"select {sql}, not ({sql}) from examples order by id limit {count}"
        answers = None
        if not is_refused(kind, operator):
            with suppress(psycopg.Error):
                answers = await (await connection.execute(query)).fetchall()
        text = value if isinstance(value, str) else list_text(value, kind.delimiter)
        for is_negated in (False, True):
            condition = Condition(name, operator, text, is_negated)
            cases.append(Case(condition, answers and [row[is_negated] for row in answers]))
    return cases


async def compare(filters, changes, cases, kind, report):
    """Judge the rows here, and with Postgres where that is needed; note what differs from what it says itself."""
    table = changes[0].table
    oid = table.relation.oid
    predicates = await filters.compile(
        [FilterRequest(oid, "postgres", (case.condition,)) for case in cases]
    )
    questions, expected = [], []
    for case, predicate in zip(cases, predicates, strict=True):
        note = (kind.name, case.condition)
        if case.answers is None or isinstance(predicate, str):
            if (case.answers is None) != isinstance(predicate, str):
                report.differences.append((*note, predicate))
            continue
        cell = (kind.name, case.condition.operator, case.condition.is_negated)
        report.outcomes[cell].update(case.answers)
        fitting = predicate.on(table)
        equality = predicate.equalities
        if equality is not None:
            report.looked_up.add(kind.name)
        for change, answer in zip(changes, case.answers, strict=False):
            if answer and equality is not None:
                found = change.new[equality.column_number - 1]
                if found not in equality.texts:
                    report.differences.append((*note, found, equality))
            verdict = fitting.judge(change.new)
            report.asked[cell] += verdict is Verdict.ASK
            if verdict is not Verdict.ASK and (verdict is Verdict.YES) != (answer is True):
                report.differences.append((*note, change.new, verdict, answer))
            questions.append((fitting, change.new))
            expected.append((*note, answer))
    judged = await filters.judge(questions)
    report.differences += [
        (*case, judgement)
        for case, judgement in zip(expected, judged, strict=True)
        if judgement is not (case[-1] is True)
    ]


def is_refused(kind, operator):
    """Whether we refuse what Postgres would do, or do with luck."""
    if kind.name in UNCOMPARABLE:
        # As long as it meets no JSON, Postgres compares them.
        return operator is not Operator.IS
    # Which is not a regular expression there.
    return kind.name == "ltree" and operator is Operator.MATCH


def expression(name, kind, operator, value):
    """Return the condition as somebody would write it who asks for such rows."""
    if operator is Operator.IS:
        return f"{name} is {value}"
    if kind.definition == "feeling":
        # Postgres does not see by itself that a domain over an enum is one.
        name = f"{name}::{kind.base}"
    if operator is Operator.IN:
        texts = ("null" if text is None else literal(text) for text in value)
        return f"{name} = any (array[{', '.join(texts)}]::{kind.base}[])"
    # Nor does it know what a composite in quotes is, and the name of a table it takes for a number.
    cast = f"::{kind.base}" if kind.base in NOT_GUESSED else ""
    return f"{name} {SQL[operator]} {literal(value)}{cast}"


def list_text(texts, delimiter):
    quoted = (
        "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for text in texts
    )
    return delimiter.join(quoted)
