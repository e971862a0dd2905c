"""Filters with paths into JSON, judged by a real Postgres: they match the rows that SQL's WHERE does."""

from __future__ import annotations

import json
from itertools import product

import psycopg
import pytest
from psycopg import sql

from actors.db.driver import connect
from actors.db.filters import PostgresFilters
from actors.db.pool import Pool
from actors.realtime.change_ports import FilterRequest, Undecided
from protocol.changes.filters import Condition, Operator, parse_filter
from protocol.changes.json_paths import JsonPath
from protocol.changes.model import Absent
from protocol.changes.predicates import Predicate, Verdict
from tests.support.hostile_strings import HOSTILE_STRINGS

pytestmark = pytest.mark.postgres

RAISED = "ERROR P0001 (raise_exception) "
KEYS = ["a", "b c", "0", "ключ", "", "null", "it's", 'quo"te', "back\\slash", "%s", "{x}"]
LEAVES = [None, True, 1, 1.50, "1", "one", "", "null", "O'Neil", [], {}, [1, None], {"a": 1}]
DOCUMENTS = [
    *LEAVES,
    *({key: leaf} for key in KEYS for leaf in LEAVES[:6]),
    *([leaf, {"a": leaf}] for leaf in LEAVES),
    *({"a": {"0": leaf, "list": [leaf, {"a": leaf}]}} for leaf in LEAVES),
]
PATHS = [
    *((key,) for key in KEYS),
    ("a", "0"),
    ("a", "list", "0"),
    ("a", "list", "-1", "a"),
    ("0", "0", "0"),
    ("1", "a"),
    ("-1", "a"),
    ("99999999999999999999",),
    (" 0",),
]
TEXTS = ["1", "1.5", "one", "", "null", "O'Neil", "[]", "zz", "%"]
JSONS = ["1", "1.50", '"one"', "null", "[]", '{"a":1}', '""']
#: How many conditions are judged in one go.
TOGETHER = 50
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


@pytest.fixture
async def filters(database):
    pool = Pool(database.conninfo)
    yield PostgresFilters(pool)
    pool.close()


@pytest.fixture
def rows(database):
    """A table of documents, and their texts as the log has them."""
    database.execute(
        "create domain document as jsonb",
        """create table notes (id int primary key, plain json, data jsonb, tamed document, body text,
            hidden jsonb)""",
    )
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        for number, found in enumerate(DOCUMENTS):
            text = json.dumps(found)
            query = "insert into notes values (%s, %s, %s, %s, 'x', '{}')"
            connection.execute(query, (number, text, text, text))
        connection.execute("insert into notes values (-1, null, null, null, null)")
        query = "select id::text, plain::text, data::text, tamed::text, body, '{}' from notes"
        return connection.execute(f"{query} order by notes.id").fetchall()


async def compiled(filters, database, *conditions, role="postgres"):
    async with await connect(database.conninfo) as connection:
        cursor = await connection.execute("select 'notes'::regclass::oid::bigint")
        (oid,) = await cursor.fetchone()
    return await filters.compile([FilterRequest(oid, role, (one,)) for one in conditions])


def left_side(column: str, path: JsonPath) -> sql.Composable:
    arrow = sql.SQL("#>>" if path.is_text else "#>")
    return sql.SQL("({} {} {}::text[])").format(
        sql.Identifier(column), arrow, sql.Literal(list(path.steps))
    )


def where(condition: Condition) -> sql.Composable:
    left = left_side(condition.column, condition.path)
    kind = sql.SQL("text" if condition.path.is_text else "jsonb")
    match condition.operator:
        case Operator.IS:
            met = sql.SQL("{} IS NULL").format(left)
        case Operator.IN:
            elements = sql.Literal("{" + condition.value + "}")
            met = sql.SQL("{} = ANY ({}::{}[])").format(left, elements, kind)
        case operator:
            met = sql.SQL("{} {} {}").format(
                left, sql.SQL(SQL[operator]), sql.Literal(condition.value)
            )
    return sql.SQL("NOT ({})").format(met) if condition.is_negated else met


def cases():
    """Yield each operator, negated and not, with values, on texts and on JSON, over all paths."""
    quoted = ",".join(json.dumps(text) for text in JSONS)
    for place, (steps, operator, negated) in enumerate(product(PATHS, Operator, (False, True))):
        text, value = TEXTS[place % len(TEXTS)], JSONS[place % len(JSONS)]
        if operator in (Operator.MATCH, Operator.IMATCH):
            text = text.strip("[]")
        elif operator is Operator.IS:
            text = value = "null"
        elif operator is Operator.IN:
            text, value = ('1,"one",NULL', f"{quoted},NULL") if place % 4 < 2 else ("", "")
        for column in ("plain", "data", "tamed"):
            yield Condition(column, operator, text, negated, JsonPath(steps, True))
        if operator not in (Operator.LIKE, Operator.ILIKE, Operator.MATCH, Operator.IMATCH):
            for column in ("data", "tamed"):
                yield Condition(column, operator, value, negated, JsonPath(steps, False))


async def test_paths_match_the_rows_that_where_does(filters, database, rows):
    conditions = list(cases())
    predicates = await compiled(filters, database, *conditions)
    assert [one for one in predicates if not isinstance(one, Predicate)] == []
    outcomes = set()
    differences = []
    pairs = list(zip(conditions, predicates, strict=True))
    with psycopg.connect(database.conninfo) as connection:
        for start in range(0, len(pairs), TOGETHER):
            part = pairs[start : start + TOGETHER]
            judged = await filters.judge([(one, row) for _, one in part for row in rows])
            for place, (condition, _) in enumerate(part):
                query = sql.SQL("SELECT {} FROM notes ORDER BY id").format(where(condition))
                expected = [met for (met,) in connection.execute(query)]
                outcomes |= {(condition.operator, met) for met in expected}
                found = judged[place * len(rows) : (place + 1) * len(rows)]
                if found != [met is True for met in expected]:
                    differences.append(condition)
    assert differences == []
    assert {(operator, met) for operator in Operator for met in (True, False)} <= outcomes


async def test_a_step_is_what_the_arrows_of_sql_would_take_it_for(filters, database, rows):
    texts = ["data->a->list->-1->>a=eq.one", "data->1->>a=eq.one", "data->a->>b=is.null"]
    arrows = [
        "data -> 'a' -> 'list' -> -1 ->> 'a' = 'one'",
        "data -> 1 ->> 'a' = 'one'",
        "data -> 'a' ->> 'b' is null",
    ]
    conditions = [parse_filter(text, takes_paths=True)[0] for text in texts]
    predicates = await compiled(filters, database, *conditions)
    with psycopg.connect(database.conninfo) as connection:
        for predicate, condition in zip(predicates, arrows, strict=True):
            query = f"select coalesce({condition}, false) from notes order by id"
            expected = [met for (met,) in connection.execute(query)]
            assert await filters.judge([(predicate, row) for row in rows]) == expected
            assert True in expected


async def test_what_the_log_does_not_carry_matches_nothing(filters, database, rows):
    path = JsonPath(("a",), is_text=True)
    conditions = [
        Condition("data", operator, value, negated, path)
        for operator, value in ((Operator.EQ, "1"), (Operator.IS, "null"))
        for negated in (False, True)
    ]
    predicates = await compiled(filters, database, *conditions)

    for predicate in predicates:
        row = ["1", None, Absent.NOT_LOGGED, None, None, None]
        assert predicate.judge(row) is Verdict.NO
        assert await filters.judge([(predicate, row)]) == [False]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("missing->a=eq.1", f"{RAISED}invalid column for filter missing"),
        ("->a=eq.1", f"{RAISED}invalid column for filter "),
        ("body->a=eq.1", f"{RAISED}a path requires a json or jsonb column, got text"),
        ("id->>a=is.null", f"{RAISED}a path requires a json or jsonb column, got integer"),
        ("data->a=eq.{", "ERROR 22P02 (invalid_text_representation) invalid input syntax"),
        ("data->>a=is.true", f"{RAISED}is true filter requires a boolean column, got text"),
        ("data->a=like.x", f"{RAISED}operator like requires a text-compatible column type"),
        ("plain->a=eq.1", "ERROR 42883 (undefined_function) operator does not exist: json ="),
        ("data->>a=match.(", f"{RAISED}invalid regular expression for match filter"),
        ("data->a\0=eq.1", "ERROR 22021 (character_not_in_repertoire)"),
        ("data->\ud800=eq.1", "ERROR 22021 (character_not_in_repertoire)"),
    ],
)
async def test_what_cannot_work_is_refused_at_once(filters, database, rows, text, fault):
    (result,) = await compiled(filters, database, *parse_filter(text, takes_paths=True))

    assert isinstance(result, str)
    assert result.startswith(fault)


async def test_the_column_must_be_readable_for_the_role(filters, database, rows):
    database.execute(
        "do $$ begin create role visitor; exception when duplicate_object then null; end $$",
        "grant select (id, data) on notes to visitor",
    )
    conditions = [parse_filter(f"{c}->a=eq.1", takes_paths=True)[0] for c in ("data", "hidden")]
    readable, hidden = await compiled(filters, database, *conditions, role="visitor")
    database.execute("drop owned by visitor")

    assert isinstance(readable, Predicate)
    assert hidden == f"{RAISED}invalid column for filter hidden"
    assert readable.column_numbers == {3}


async def test_hostile_steps_and_values_are_only_texts(filters, database, rows):
    database.execute("create table canary (id int)", "insert into canary values (1)")
    strings = [text for text in HOSTILE_STRINGS if "\0" not in text][:300]
    documents = [{text: text} for text in strings]
    conditions = [
        Condition("data", Operator.EQ, text, False, JsonPath((text,), is_text=True))
        for text in strings
    ]
    kept = [(c, d) for c, d in zip(conditions, documents, strict=True) if _is_text(c.value)]
    predicates = await compiled(filters, database, *(condition for condition, _ in kept))
    questions = [
        (predicate, ["1", None, json.dumps(found), None, None, None])
        for predicate, (_, found) in zip(predicates, kept, strict=True)
    ]

    assert len(kept) > 50
    assert set(await filters.judge(questions)) == {True}
    with psycopg.connect(database.conninfo) as connection:
        assert connection.execute("select count(*) from canary").fetchone() == (1,)


def _is_text(text: str) -> bool:
    return text.encode("utf-8", "replace").decode() == text


async def test_functions_of_others_take_no_ones_place(filters, database, rows):
    database.execute(
        "create schema evil",
        """create function evil.jsonb_extract_path_text(jsonb, variadic text[]) returns text
            language sql as $$ select 'evil' $$""",
        f"alter database {database.name} set search_path = evil, pg_catalog, public",
    )
    (condition,) = parse_filter("data->>a=eq.evil", takes_paths=True)
    with psycopg.connect(database.conninfo) as connection:
        query = "select 'public.notes'::regclass::oid::bigint"
        (oid,) = connection.execute(query).fetchone()
    (predicate,) = await filters.compile([FilterRequest(oid, "postgres", (condition,))])

    row = ["1", None, '{"a": "good"}', None, None, None]
    assert await filters.judge([(predicate, row)]) == [False]


async def test_a_value_that_cannot_be_taken_as_text_is_undecided_alone(filters, database, rows):
    (condition,) = parse_filter("plain->>a=eq.x", takes_paths=True)
    (predicate,) = await compiled(filters, database, condition)
    texts = [r'{"a": "\u0000"}', '{"a": "x"}', '{"a": "y"}']

    odd, same, other = await filters.judge(
        [(predicate, ["1", text, None, None, None, None]) for text in texts]
    )

    assert isinstance(odd, Undecided)
    assert (same, other) == (True, False)
