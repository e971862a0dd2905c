"""Differential test: conditions match the rows for which SQL's WHERE is true, and are refused where Postgres refuses.

The long form tries many more conditions (`TROUPE_TESTS=long`).
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import psycopg
import pytest
import trio
from attrs import field, frozen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from actors.db.driver import connect
from actors.db.filters import PostgresFilters
from actors.db.pool import Pool
from actors.realtime.change_ports import FilterRequest
from protocol.changes.condition_columns import RESERVED
from protocol.changes.conditions import parse_condition
from protocol.changes.filters import parse_filter
from protocol.changes.like import ends_in_escape
from tests.support.extent import is_long
from tests.support.filter_cases import TYPES, columns
from tests.support.random_rows import literal

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.slow,
    # Of what failed, the database has a long one.
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
]

OPTIONS = "-c timezone=UTC"
ROWS = 30
CONDITIONS_AT_A_TIME = 6
#: So that what fails can be read.
LONGEST_VALUE = 40
#: A literal in quotes is no value of these for Postgres, or it compares them with luck, or without all operators.
LEFT_OUT = {
    "pair",
    "couple",
    "opaque",
    "feeling",
    "regclass",
    "regtype",
    "json[]",
    "json",
    "xml",
    "cid",
    "point",
}
#: Columns with numbers that SQL compares as what they are.
NUMBERS = {"int2", "int4", "int8", "numeric", "float8"}
KINDS = {
    f"c{number}": kind
    for number, kind in enumerate(columns(Random(1), ["C"], {"citext", "hstore", "ltree"}))
    if kind.definition not in LEFT_OUT and kind.delimiter == ","
}


def quoted(text):
    """Return the text as a literal that has backslashes as they are, as SQL has it."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def value_of(kind):
    def written(text):
        is_number = kind.definition in NUMBERS and text.lstrip("-").isdigit()
        is_short = len(text) < 5
        return text if is_number and is_short else quoted(text)

    short = [one for one in kind.values + kind.filters if len(one) <= LONGEST_VALUE]
    return st.sampled_from(short).map(written)


def comparison(name):
    kind = KINDS[name]
    # There are no arrays of arrays, so lists of them are refused.
    is_array = kind.definition.endswith("[]") or kind.definition == "numbers"
    value = value_of(kind)
    pattern = st.sampled_from(
        [one for one in kind.patterns if len(one) <= LONGEST_VALUE and not ends_in_escape(one)]
    )
    negation = st.sampled_from(["", "NOT "])
    values = st.lists(value | st.just("NULL"), min_size=1, max_size=4).map(", ".join)
    truths = st.sampled_from(["NULL", "TRUE", "FALSE", "UNKNOWN"])
    return st.one_of(
        st.builds(
            "{} {} {}".format,
            st.just(name),
            st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="]),
            value,
        ),
        st.builds("{1} <= {0}".format, st.just(name), value),
        st.builds("{} {}IN ({})".format, st.just(name), negation, values)
        if not is_array
        else st.just(f"{name} IS NULL"),
        st.builds("{} {}LIKE {}".format, st.just(name), negation, pattern.map(quoted)),
        st.builds("{} {}BETWEEN {} AND {}".format, st.just(name), negation, value, value),
        st.builds("{} IS {}{}".format, st.just(name), negation, truths),
        st.builds("{} IS {}DISTINCT FROM {}".format, st.just(name), negation, value),
        st.just(name),
    )


CONDITIONS = st.recursive(
    st.sampled_from(sorted(KINDS)).flatmap(comparison),
    lambda parts: (
        st.builds("({} AND {})".format, parts, parts)
        | st.builds("{} OR {}".format, parts, parts)
        | st.builds("({} OR {})".format, parts, parts)
        | parts.map("NOT {}".format)
        | parts.map("NOT ({})".format)
    ),
    max_leaves=6,
)


@frozen
class Rows:
    """A table's number, and its rows with a text or None for each column."""

    oid: int
    values: list[tuple[str | None, ...]] = field(repr=False)


async def make_rows(database):
    """Make a table of all kinds of columns, and return its rows as replication would write them."""
    random = Random(1)
    by_column = [kind.row_values(random, ROWS) for kind in KINDS.values()]
    definitions = ", ".join(f"{name} {kind.definition}" for name, kind in KINDS.items())
    inserted = (
        f"({', '.join('NULL' if text is None else literal(text) for text in row)})"
        for row in zip(*by_column, strict=True)
    )
    texts = ", ".join(
        f"case when {name} is distinct from null then format('%s', {name}) end"
        for name in KINDS
    )
    async with await connect(database.conninfo, options=OPTIONS) as connection:
        for statement in TYPES:
            await connection.execute(statement)
        await connection.execute(f"create table examples ({definitions})")
        await connection.execute(f"insert into examples values {', '.join(inserted)}")
        cursor = await connection.execute("select 'examples'::regclass::oid::bigint")
        ((oid,),) = await cursor.fetchall()
        cursor = await connection.execute(f"select {texts} from examples".encode())
        return Rows(oid, await cursor.fetchall())


@pytest.fixture
def tables():
    """Return where the table is noted, as it is made once for all examples."""
    return []


@settings(
    max_examples=1_000 if is_long() else 40,
    derandomize=not is_long(),
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(texts=st.lists(CONDITIONS, min_size=1, max_size=CONDITIONS_AT_A_TIME))
async def test_conditions_match_the_rows_that_where_does(database, tables, texts):
    with trio.fail_after(60):
        rows = tables[0] if tables else await make_rows(database)
        tables[:] = [rows]
        async with await connect(database.conninfo, options=OPTIONS) as connection:
            expected = [await matched_by_where(connection, text) for text in texts]
        pool = Pool(database.conninfo)
        try:
            actual = await matched(PostgresFilters(pool), rows, texts)
        finally:
            pool.close()

    differences = [
        (text, theirs, ours)
        for text, theirs, ours in zip(texts, expected, actual, strict=True)
        if theirs != ours
    ]
    assert differences == []


async def matched_by_where(connection, text):
    """Return the places of the rows that match, None if Postgres refuses the condition."""
    query = f"select ({text}) is true from examples"
    with suppress(psycopg.Error):
        answers = await (await connection.execute(query.encode())).fetchall()
        return [place for place, (answer,) in enumerate(answers) if answer]
    return None


async def matched(filters, rows, texts):
    """Return the same for what the conditions became, for all of them together."""
    requests = [
        [
            FilterRequest(rows.oid, "postgres", parse_filter(one))
            for one in parse_condition(text)
        ]
        for text in texts
    ]
    compiled = iter(await filters.compile([one for some in requests for one in some]))
    predicates = [[next(compiled) for _ in some] for some in requests]
    questions = [
        (predicate, values)
        for some in predicates
        for predicate in some
        for values in rows.values
        if not refused(some)
    ]
    judged = iter(await filters.judge(questions))
    found = []
    for some in predicates:
        if refused(some):
            found.append(None)
            continue
        answers = [[next(judged) for _ in rows.values] for _ in some]
        found.append(
            [place for place, met in enumerate(zip(*answers, strict=True)) if True in met]
        )
    return found


def refused(predicates):
    return any(isinstance(one, str) for one in predicates)


async def test_what_postgres_reserves_is_no_column_without_quotes(database):
    async with await connect(database.conninfo) as connection:
        cursor = await connection.execute(
            "select word from pg_get_keywords() where catcode in ('R', 'T')"
        )
        words = {word for (word,) in await cursor.fetchall()}

    assert words <= RESERVED
