"""Filters made ready and judged by a real Postgres; what they mean is in `test_filters_differential`."""

from __future__ import annotations

from itertools import product

import pytest
import trio

from actors.db.driver import connect
from actors.db.filters import REST_S, PostgresFilters
from actors.db.isolation import MAX_STATEMENT_MS
from actors.db.pool import Pool
from actors.realtime.change_ports import FilterRequest, Undecided
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.filters import Condition, Operator, parse_filter
from protocol.changes.model import Absent, TypeFacts
from protocol.changes.predicates import Predicate, Verdict
from protocol.errors import InvalidFilter
from tests.support.changes import TEXT, make_table
from tests.support.embedded import query
from tests.support.hostile_strings import HOSTILE_STRINGS

pytestmark = pytest.mark.postgres

YES, NO, ASK = Verdict.YES, Verdict.NO, Verdict.ASK
#: An odd number of characters is never two equal halves, but that takes long to find out.
SLOW = r"^(.*)(.*)(.*)(.*)\1\2\3\4$"
INVALID = "invalid regular expression"
RAISED = "ERROR P0001 (raise_exception) "
TABLE = (
    "create type mood as enum ('sad', 'ok')",
    "create type pair as (x int, content json)",
    """create table notes (id int primary key, body text, done bool, content json, mood mood, pair pair,
        numbers int[], wait interval, price numeric(5,2), data bytea, stamp timestamptz)""",
)


@pytest.fixture
async def pool(database):
    pool = Pool(database.conninfo)
    yield pool
    pool.close()


@pytest.fixture
def filters(pool):
    return PostgresFilters(pool)


@pytest.fixture
def notes(database):
    database.execute(*TABLE)
    return database


async def oid_of(database, table="notes"):
    async with await connect(database.conninfo) as connection:
        cursor = await connection.execute("select %s::regclass::oid::bigint", (table,))
        return (await cursor.fetchone())[0]


async def compiled(filters, database, *texts, role="postgres"):
    """Return what became of each filter of the table."""
    oid = await oid_of(database)
    return await filters.compile(
        [FilterRequest(oid, role, parse_filter(text)) for text in texts]
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("missing=eq.1", f"{RAISED}invalid column for filter missing"),
        ("ctid=eq.(0\\,1)", f"{RAISED}invalid column for filter ctid"),
        ("=eq.1", f"{RAISED}invalid column for filter "),
        (
            "id=eq.abc",
            'ERROR 22P02 (invalid_text_representation) invalid input syntax for type integer: "abc"',
        ),
        (
            "id=isdistinct.null",
            'ERROR 22P02 (invalid_text_representation) invalid input syntax for type integer: "null"',
        ),
        (
            "id=in.(1,x)",
            'ERROR 22P02 (invalid_text_representation) invalid input syntax for type integer: "x"',
        ),
        (
            "id=in.({1)",
            'ERROR 22P02 (invalid_text_representation) malformed array literal: "{{1}"',
        ),
        (
            "id=eq.99999999999",
            'ERROR 22003 (numeric_value_out_of_range) value "99999999999" is out of range for type integer',
        ),
        (
            "stamp=gt.2026-02-30",
            'ERROR 22008 (datetime_field_overflow) date/time field value out of range: "2026-02-30"',
        ),
        (
            "mood=eq.glad",
            'ERROR 22P02 (invalid_text_representation) invalid input value for enum mood: "glad"',
        ),
        (
            "id=is.maybe",
            f"{RAISED}invalid value for is filter: must be null, true, false, or unknown",
        ),
        (
            "id=is.NULL",
            f"{RAISED}invalid value for is filter: must be null, true, false, or unknown",
        ),
        ("body=is.true", f"{RAISED}is true filter requires a boolean column, got text"),
        ("id=is.unknown", f"{RAISED}is unknown filter requires a boolean column, got integer"),
        (
            "id=like.1%",
            f"{RAISED}operator like requires a text-compatible column type, got integer",
        ),
        (
            "id=not.ilike.1%",
            f"{RAISED}operator ilike requires a text-compatible column type, got integer",
        ),
        (
            "mood=match.a",
            f"{RAISED}operator match requires a text-compatible column type, got mood",
        ),
        (
            "data=imatch.a",
            f"{RAISED}operator imatch requires a text-compatible column type, got bytea",
        ),
        (
            "body=match.(",
            f"{RAISED}invalid regular expression for match filter: {INVALID}: parentheses () not balanced",
        ),
        (
            "body=imatch.[",
            f"{RAISED}invalid regular expression for imatch filter: {INVALID}: brackets [] not balanced",
        ),
        (
            r"body=like.a\\\x\\",
            None,
        ),
        (
            "body=like.a\\",
            "ERROR 22025 (invalid_escape_sequence) LIKE pattern must not end with escape character",
        ),
        (
            "body=ilike.a\\",
            "ERROR 22025 (invalid_escape_sequence) LIKE pattern must not end with escape character",
        ),
        (
            "data=like.a\\\\",
            "ERROR 22025 (invalid_escape_sequence) LIKE pattern must not end with escape character",
        ),
        (
            "content=eq.1",
            "ERROR 42883 (undefined_function) operator does not exist: json = json",
        ),
        (
            "content=neq.1",
            "ERROR 42883 (undefined_function) operator does not exist: json <> json",
        ),
        (
            "content=in.()",
            "ERROR 42883 (undefined_function) operator does not exist: json = json",
        ),
        (
            'pair=eq."(,)"',
            "ERROR 42883 (undefined_function) could not identify an equality operator for type pair",
        ),
        (
            'pair=lt."(,)"',
            "ERROR 42883 (undefined_function) could not identify an ordering operator for type pair",
        ),
        (
            "numbers=in.({1})",
            "ERROR 42704 (undefined_object) could not find array type for data type integer[]",
        ),
        (
            f"id=in.({','.join(map(str, range(101)))})",
            f"{RAISED}too many values for `in` filter. Maximum 100",
        ),
        (f"id=in.({','.join(map(str, range(100)))})", None),
    ],
)
async def test_faults_have_the_words_of_upstream_or_postgres(filters, notes, text, fault):
    (result,) = await compiled(filters, notes, text)

    assert result == fault or (fault is None and isinstance(result, Predicate))


async def test_the_first_fault_of_a_filter_counts(filters, notes):
    (result,) = await compiled(filters, notes, "id=eq.1,body=is.true,missing=eq.1")

    assert result == f"{RAISED}is true filter requires a boolean column, got text"


async def test_a_filter_that_is_refused_leaves_the_others_alone(filters, notes):
    texts = [
        "id=eq.1",
        "id=eq.x",
        "content=eq.1",
        "id=eq.2",
        "",
        "body=match.(",
        "body=match.a",
    ]

    results = await compiled(filters, notes, *texts)

    assert [isinstance(result, Predicate) for result in results] == [
        *(True, False, False, True, True, False, True)
    ]


async def test_a_column_must_be_readable_for_the_role(filters, notes, postgres_server):
    postgres_server.execute(
        "do $$ begin create role visitor; exception when duplicate_object then null; end $$"
    )
    notes.execute("grant select (id) on notes to visitor")

    readable, hidden = await compiled(filters, notes, "id=eq.1", "body=eq.a", role="visitor")
    notes.execute("drop owned by visitor")

    assert isinstance(readable, Predicate)
    assert hidden == f"{RAISED}invalid column for filter body"


@pytest.mark.parametrize("role", ["nobody at all", "", "a\0b", "\ud800", "x" * 100])
async def test_a_role_must_exist(filters, notes, role):
    (result,) = await compiled(filters, notes, "id=eq.1", role=role)

    assert result == f'ERROR 42704 (undefined_object) role "{role}" does not exist'


async def test_a_table_that_is_gone_has_no_columns(filters):
    (result,) = await filters.compile([FilterRequest(1, "postgres", parse_filter("id=eq.1"))])

    assert result == f"{RAISED}invalid column for filter id"


async def test_a_predicate_is_ready_for_the_columns_there_are(filters, notes):
    notes.execute("alter table notes drop column body")

    (matches,) = await compiled(filters, notes, "done=is.true")

    assert [matches.judge(("1", value)) for value in ("t", "f")] == [YES, NO]


async def test_now_is_the_time_of_the_subscription(filters, notes):
    (matches,) = await compiled(filters, notes, "stamp=lte.now")
    row = [None] * 10

    assert matches.judge([*row, "2000-01-01 00:00:00+00"]) is YES
    assert matches.judge([*row, "2999-01-01 00:00:00+00"]) is NO
    question = matches.clauses[0].question
    assert "now" not in question.text


async def test_checks_of_domains_do_not_run(filters, database):
    database.execute(
        "create function spy(int) returns bool language plpgsql as"
        " $$ begin raise exception 'the check ran'; end $$",
        "create domain watched as int check (spy(value))",
        "create table notes (id watched)",
    )

    (matches,) = await compiled(filters, database, "id=eq.1")

    assert [matches.judge((value,)) for value in ("1", "2")] == [YES, NO]


async def test_operators_and_types_of_others_take_no_ones_place(filters, notes):
    notes.execute(
        "create schema evil",
        "create function evil.always(int, int) returns bool language sql as 'select true'",
        "create function evil.always(text, text) returns bool language sql as 'select true'",
        "create function evil.always(interval, interval) returns bool language sql as 'select true'",
        *(
            f"create operator evil.{symbol} (leftarg = {kind}, rightarg = {kind}, function = evil.always)"
            for symbol in ("=", "<", "~~*", "~")
            for kind in ("int", "text", "interval")
        ),
        "create function evil.format(text, variadic \"any\") returns text language internal as 'now'",
        "create domain evil.interval as text",
        "create domain evil.text as int",
        "create domain evil.int4 as text",
        f"alter database {notes.name} set search_path = evil, pg_catalog, public",
    )
    oid = await oid_of(notes, "public.notes")
    texts = [
        "id=eq.1",
        "id=lt.1",
        "wait=eq.1 day",
        "wait=lt.1 day",
        "body=ilike.a",
        "body=match.a",
    ]
    row = ("2", "b", None, None, None, None, None, "2 days")

    predicates = await filters.compile(
        [FilterRequest(oid, "postgres", parse_filter(text)) for text in texts]
    )

    assert await filters.judge([(one, row) for one in predicates]) == [False] * len(texts)


async def test_the_type_of_an_extension_is_compared_by_its_own_operators(filters, database):
    database.execute(
        "create schema apart",
        "create extension citext schema apart",
        "create table notes (id apart.citext)",
    )

    equal, one_of, less = await compiled(filters, database, "id=eq.A", "id=in.(A,B)", "id=lt.b")

    questions = [(one, (value,)) for one in (equal, one_of, less) for value in ("a", "B", "c")]
    assert await filters.judge(questions) == [
        *(True, False, False),
        *(True, True, False),
        *(True, False, False),
    ]


async def test_an_operator_that_somebody_put_beside_an_extension_is_not_run(filters, database):
    database.execute(
        "create extension hstore",
        "create table notes (id hstore)",
        "create function spy(hstore, hstore) returns bool language sql as 'select true'",
        "create operator < (leftarg = hstore, rightarg = hstore, function = spy)",
    )

    equal, less = await compiled(filters, database, "id=eq.a=>1", "id=lt.a=>1")

    assert await filters.judge([(equal, ('"a"=>"1"',)), (equal, ('"a"=>"2"',))]) == [
        True,
        False,
    ]
    assert less.startswith("ERROR 42883 (undefined_function) operator does not exist: ")


async def test_a_type_of_no_extension_has_no_operators_of_its_own(filters, database):
    database.execute(
        "create schema apart",
        "create type apart.folded",
        "create function apart.folded_in(cstring) returns apart.folded"
        " language internal immutable strict as 'textin'",
        "create function apart.folded_out(apart.folded) returns cstring"
        " language internal immutable strict as 'textout'",
        "create type apart.folded (input = apart.folded_in, output = apart.folded_out, like = text)",
        "create function apart.same(apart.folded, apart.folded) returns bool"
        " language sql as 'select true'",
        "create operator apart.="
        " (leftarg = apart.folded, rightarg = apart.folded, function = apart.same)",
        "create table notes (id apart.folded)",
    )

    (equal,) = await compiled(filters, database, "id=eq.A")

    assert equal.startswith("ERROR 42883 (undefined_function) operator does not exist: ")


async def test_a_question_that_raises_fails_alone(filters, notes):
    (matches,) = await compiled(filters, notes, "wait=eq.1 day")
    row = [None] * 7
    values = [
        "24:00:00",
        "no interval",
        "1 day",
        "\ud800",
        None,
        Absent.UNCHANGED,
        "2 days",
    ] * 20

    answers = await filters.judge([(matches, [*row, value]) for value in values])

    fault = Undecided(
        'ERROR 22007 (invalid_datetime_format) invalid input syntax for type interval: "no interval"'
    )
    unreadable = Undecided(
        'ERROR 22021 (character_not_in_repertoire) invalid byte sequence for encoding "UTF8"'
    )
    assert answers == [True, fault, True, unreadable, False, False, False] * 20


async def test_what_takes_too_long_fails_alone(filters, notes):
    slow, quick = await compiled(filters, notes, f"body=match.{SLOW}", "body=match.a$")
    row = ("1", "a" * 401)
    questions = [(slow, row), (quick, row), (quick, ("1", "b")), (slow, row)]

    answers = await filters.judge(questions)
    with trio.fail_after(MAX_STATEMENT_MS / 1000):
        # It rests now, so nobody waits for it.
        answers_later = await filters.judge(questions)

    timeout = Undecided(
        "ERROR 57014 (query_canceled) canceling statement due to statement timeout"
    )
    assert answers == answers_later == [timeout, True, False, timeout]


async def test_what_took_too_long_is_asked_again_later(pool, notes):
    now = 0.0
    filters = PostgresFilters(pool, lambda: now)
    (matches,) = await compiled(filters, notes, f"body=match.{SLOW}")
    await filters.judge([(matches, ("1", "a" * 401))])
    quick_now = [(matches, ("1", "aa"))]

    (resting,) = await filters.judge(quick_now)
    now = REST_S
    (rested,) = await filters.judge(quick_now)

    assert isinstance(resting, Undecided)
    assert rested is True


async def test_a_type_that_is_gone_decides_nothing(filters, notes):
    happier, waiting = await compiled(filters, notes, "mood=gt.sad", "wait=eq.1 day")
    notes.execute("drop table notes", "drop type mood")
    row = ["1", None, None, None, "ok", None, None, "24:00:00"]

    gone, here = await filters.judge([(happier, row), (waiting, row)])

    assert gone == Undecided('ERROR 42704 (undefined_object) type "public.mood" does not exist')
    assert here is True


async def test_a_condition_that_fails_here_spares_the_question(filters, notes):
    (both,) = await compiled(filters, notes, "id=eq.1,wait=eq.1 day")
    row = ["2", None, None, None, None, None, None, "no interval"]

    assert await filters.judge([(both, row)]) == [False]


async def test_rows_from_before_a_change_of_type_are_judged_in_theirs(filters, notes):
    (equal,) = await compiled(filters, notes, "id=eq.0010")
    as_text = equal.on(make_table({"id": TEXT}))
    as_number = equal.on(make_table({"id": TypeFacts(1700, "numeric")}))
    as_interval = equal.on(make_table({"id": TypeFacts(1186, "interval")}))
    as_json = equal.on(make_table({"id": TypeFacts(114, "json")}))
    questions = [
        *((as_text, ("10",)), (as_text, ("0010",)), (as_text, (None,))),
        *((as_number, ("10.00",)), (as_number, ("10.01",))),
        *((as_interval, ("00:00:10",)), (as_interval, ("10 days",))),
        (as_json, ("10",)),
    ]

    *answers, refused = await filters.judge(questions)

    assert answers == [False, True, False, True, False, True, False]
    assert refused == Undecided(
        "ERROR 42883 (undefined_function) operator does not exist: json = json"
    )


async def test_another_encoding_of_the_database_is_no_obstacle(postgres_server):
    postgres_server.execute(
        "create database latin template template0 encoding latin1 locale 'C'"
    )
    pool = Pool(postgres_server.conninfo("latin"))
    try:
        postgres_server.execute("create table notes (id text)", dbname="latin")
        async with await connect(postgres_server.conninfo("latin")) as connection:
            cursor = await connection.execute("select 'notes'::regclass::oid::bigint")
            (oid,) = await cursor.fetchone()
        filters = PostgresFilters(pool)
        requests = [
            FilterRequest(oid, "postgres", parse_filter(text))
            for text in ("id=eq.ä", "id=like._", "id=eq.日")
        ]
        equal, like, foreign = await filters.compile(requests)
        answers = await filters.judge([(equal, ("ä",)), (equal, ("a",)), (like, ("ä",))])
    finally:
        pool.close()
        postgres_server.execute("drop database latin with (force)")

    assert equal.equalities is None
    assert answers == [True, False, True]
    assert foreign.startswith("ERROR 22P05 (untranslatable_character) ")


async def test_a_database_that_is_away_is_said_to_be():
    filters = PostgresFilters(Pool("host=127.0.0.1 port=1 dbname=x"))

    with pytest.raises(DatabaseUnavailable):
        await filters.compile([FilterRequest(1, "postgres", parse_filter("id=eq.1"))])


@pytest.mark.slow
async def test_hostile_strings_are_answered_and_change_nothing(filters, database):
    database.execute(
        "create table canary (id int primary key, body text, pair text[], wait interval)",
        "insert into canary values (1, 'a', '{a}', '1 day')",
    )
    oid = await oid_of(database, "canary")
    before = await state(database)
    places = [*product(("body", "wait"), Operator), ("id", Operator.IN), ("pair", Operator.EQ)]
    conditions = [
        Condition(column, operator, text, False)
        for text in HOSTILE_STRINGS
        for column, operator in [(text, Operator.EQ), *places]
    ]
    requests = [FilterRequest(oid, "postgres", (condition,)) for condition in conditions]
    requests += [
        FilterRequest(oid, text, (Condition("id", Operator.EQ, "1", False),))
        for text in HOSTILE_STRINGS
    ]

    results = await filters.compile(requests)
    predicates = [result for result in results if isinstance(result, Predicate)]
    rows = [("1", text, "{a}", "1 day") for text in ("a", *HOSTILE_STRINGS[-20:])]
    answers = await filters.judge([(one, row) for one in predicates[:1000] for row in rows])

    assert len(results) == len(requests)
    assert all(isinstance(answer, bool | Undecided) for answer in answers)
    assert await state(database) == before


@pytest.mark.parametrize("text", HOSTILE_STRINGS)
def test_hostile_operators_are_refused(text):
    with pytest.raises(InvalidFilter):
        parse_filter(f"id={text}.1" if "=" not in text else f"{text}")


async def state(database):
    """Return what hostile strings would want to change."""
    async with await connect(database.conninfo) as connection:
        cursor = await connection.execute(
            """select (select string_agg(canary::text, ' ' order by id) from canary),
                (select count(*) from pg_class), (select count(*) from pg_proc),
                (select count(*) from pg_roles), (select count(*) from pg_type)"""
        )
        return await cursor.fetchone()


@pytest.mark.parametrize(
    ("column_type", "value"), [("checked[]", "{a}"), ("pair", "(a)"), ("checked", "a")]
)
async def test_the_checks_of_a_domain_are_never_run_for_a_filter(database, column_type, value):
    """They are functions of whoever made the domain, and would run with the rights of this server."""
    role = f"visitor_{database.name}"
    database.execute(
        "create function betray(text) returns boolean language plpgsql as"
        " $$ begin raise exception 'ran as %', current_user; end $$",
        "create domain checked as text check (betray(value))",
        "create type pair as (x checked)",
        f"create table t (id int primary key, v {column_type})",
        f"create role {role}",
        f"grant select on t to {role}",
    )
    ((relation_oid,),) = query(database.conninfo, "select 't'::regclass::oid::int")
    pool = Pool(database.conninfo)
    try:
        condition = Condition("v", Operator.EQ, value, is_negated=False)
        (outcome,) = await PostgresFilters(pool).compile(
            [FilterRequest(relation_oid, role, (condition,))]
        )
    finally:
        pool.close()
        database.execute(f"drop owned by {role}", f"drop role {role}")

    assert "ran as" not in str(outcome)
    assert isinstance(outcome, str) is (column_type != "checked")
