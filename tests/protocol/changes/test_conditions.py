from __future__ import annotations

import operator
import re
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.comparing import ColumnFacts, make_test
from protocol.changes.condition_grammar import MAX_COMPARISONS, MAX_DEPTH, MAX_ELEMENTS
from protocol.changes.conditions import MAX_FILTERS, MAX_TEXT, parse_condition
from protocol.changes.filters import Operator, parse_filter
from protocol.changes.predicates import Verdict
from protocol.errors import ConditionError
from tests.support.hostile_strings import HOSTILE_STRINGS

COLUMNS = {
    "a": ColumnFacts("a", 1, 23, 23, "b"),
    "b": ColumnFacts("b", 2, 23, 23, "b"),
    "Word": ColumnFacts("Word", 3, 25, 25, "b", True, True),
    "done": ColumnFacts("done", 4, 16, 16, "b"),
}


def attempt(text):
    """Return the filters, or the reason why there are none."""
    try:
        return parse_condition(text)
    except ConditionError as error:
        return error.reason


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("user_id IS NOT NULL", ["user_id=not.is.null"]),
        ("Age >= 18", ['age=gte."18"']),
        ('"Age" >= 18', ['Age=gte."18"']),
        ("18 < age", ['age=gt."18"']),
        ("age<-5", ['age=lt."-5"']),
        ("age = + .5e-3", ['age=eq.".5e-3"']),
        ("name = 'O''Neil, \"Pat\" \\'", ['name=eq."O\'Neil, \\"Pat\\" \\\\"']),
        ("name != ''", ['name=neq.""']),
        ("done = TRUE", ['done=eq."true"']),
        ("done", ["done=is.true"]),
        ("NOT done", ["done=is.false"]),
        ("done IS NOT UNKNOWN", ["done=not.is.unknown"]),
        ("a IS DISTINCT FROM 1", ['a=isdistinct."1"']),
        ("a IS NOT DISTINCT FROM 1", ['a=not.isdistinct."1"']),
        ("a IN (1, NULL, 'x,\"y')", ['a=in.("1",NULL,"x,\\"y")']),
        ("a NOT IN (1)", ['a=not.in.("1")']),
        ("a LIKE '50\\%%' AND b NOT ILIKE 'x_'", ['a=like."50\\\\%%",b=not.ilike."x_"']),
        ("a BETWEEN 1 AND 2 AND b", ['a=gte."1",a=lte."2",b=is.true']),
        ("a NOT BETWEEN 1 AND 2", ['a=not.gte."1"', 'a=not.lte."2"']),
        ("a = 1 OR b = 2 AND NOT a = 3", ['a=eq."1"', 'b=eq."2",a=not.eq."3"']),
        ("(a = 1 OR b = 2) AND done", ['a=eq."1",done=is.true', 'b=eq."2",done=is.true']),
        ("NOT (a = 1 OR b = 2)", ['a=not.eq."1",b=not.eq."2"']),
        ("NOT (a = 1 AND b = 2)", ['a=not.eq."1"', 'b=not.eq."2"']),
        ("NOT NOT a = 1 OR a = 1", ['a=eq."1"']),
        ("a = 1 AND (a = 1 OR a = 1)", ['a=eq."1"']),
        ("_größe = 1", ['_größe=eq."1"']),
        ("between between 1 and 2", ['between=gte."1",between=lte."2"']),
        ('"select" = 1', ['select=eq."1"']),
    ],
)
def test_a_condition_becomes_filters(text, filters):
    assert parse_condition(text) == tuple(filters)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", 1, "expected a column"),
        ("a", None, ""),
        ("a =", 4, "expected a value"),
        ("a = b", 5, "expected a value"),
        ("a = 1 b = 2", 7, "expected AND, OR or the end"),
        ("a = 1 = 2", 7, "expected AND, OR or the end"),
        ("(a = 1", 7, "expected `)`"),
        ("a = NULL", 5, "nothing equals NULL"),
        ("a IN ()", 7, "expected a value"),
        ("a IN (SELECT 1)", 7, "expected a value"),
        ("a IN (VALUES (1))", 7, "expected a value"),
        ("EXISTS (SELECT 1)", 8, "functions are not taken"),
        ("a = (SELECT 1)", 5, "expected a value"),
        ("lower(a) = 'x'", 6, "functions are not taken"),
        ("a = now()", 5, "expected a value"),
        ("pg_sleep(10)", 9, "functions are not taken"),
        ("a::text = 'x'", 2, "casts are not taken"),
        ("CAST(a AS text) = 'x'", 1, "a reserved word"),
        ("a = 1; DROP TABLE notes", 6, "without a semicolon"),
        ("a = 1 -- b", 7, "comments are not taken"),
        ("a = 1 /* b */", 7, "comments are not taken"),
        ("a =/**/1", 3, "comments are not taken"),
        ("a=--1\n2", 2, "comments are not taken"),
        ("a = $1", 5, "parameters and dollar quotes"),
        ("a = $$x$$", 5, "parameters and dollar quotes"),
        ("a = %s", 5, "this operator is not taken"),
        ("a = ?", 5, "this operator is not taken"),
        ("a = :name", 5, "casts are not taken"),
        ("a ~ 'x'", 3, "this operator is not taken"),
        ("a !=-5", 3, "this operator is not taken"),
        ("a == 1", 3, "this operator is not taken"),
        ("a ->> 'x' = 'y'", 3, "this operator is not taken"),
        ("a + 1 = 2", 3, "expected AND, OR or the end"),
        ("a || 'x' = 'y'", 3, "this operator is not taken"),
        ("notes.a = 1", 6, "without its table"),
        ("a[1] = 1", 2, "subscripts are not taken"),
        ("a = E'x'", 5, "expected a value"),
        ("a = U&'x'", 6, "this operator is not taken"),
        ("a = 'x' 'y'", 9, "expected AND, OR or the end"),
        ("a = 'x", 5, "this string does not end"),
        ('"a = 1', 1, "this quoted name does not end"),
        ('"" = 1', 1, "a column of this name"),
        ('"a,b" = 1', 1, "a column of this name"),
        ('"a=b" = 1', 1, "a column of this name"),
        ('" a" = 1', 1, "a column of this name"),
        ('"a(" = 1', 1, "a column of this name"),
        ('"""a" = 1', 1, "a column of this name"),
        (f'"{"x" * 64}" = 1', 1, "a column of this name"),
        ("user = 'x'", 1, "a reserved word"),
        ("current_user = 'x'", 1, "a reserved word"),
        ("1 = 1", 5, "expected a column"),
        ("TRUE", 5, "expected a comparison"),
        ("NULL", 1, "nothing equals NULL"),
        ("a IS 5", 6, "after IS"),
        ("a IS DISTINCT 5", 15, "after IS"),
        ("a IS NOT DISTINCT FROM NULL", 24, "nothing equals NULL"),
        ("a NOT = 1", 7, "expected IN, LIKE, ILIKE or BETWEEN"),
        ("a LIKE 5", 8, "which is the pattern"),
        ("a LIKE 'x' ESCAPE '!'", 12, "expected AND, OR or the end"),
        ("a BETWEEN SYMMETRIC 1 AND 2", 11, "expected a value"),
        ("a BETWEEN 1 OR 2", 13, "the other bound"),
        ("a = 0x10", 5, "followed by what is none"),
        ("a = 1_000", 5, "followed by what is none"),
        ("a = 1..2", 5, "followed by what is none"),
        ("a = - -1", 7, "expected a number behind its sign"),
        ("a = -'1'", 6, "expected a number behind its sign"),
        ("a = ARRAY[1]", 10, "subscripts are not taken"),
        ("(a, b) = (1, 2)", 3, "expected `)`"),
        ("a = 1 UNION SELECT 2", 7, "expected AND, OR or the end"),
        ("a = \u200b1", 5, "expected a value"),
    ],
)
def test_the_error_says_what_is_wrong_and_where(text, place, what):
    if place is None:
        assert parse_condition(text)
        return
    with pytest.raises(ConditionError) as refused:
        parse_condition(text)

    assert refused.value.reason.startswith(f"Character {place} of the condition: ")
    assert what in refused.value.reason
    assert refused.value.reason.endswith(".")


@pytest.mark.parametrize("character", ["\0", "\ud800"])
def test_characters_that_no_column_holds_are_refused(character):
    with pytest.raises(ConditionError, match="no column can hold"):
        parse_condition(f"a = '{character}'")


@pytest.mark.parametrize(
    ("template", "joint", "most"),
    [
        ("{}", " AND ", MAX_COMPARISONS),
        ("{}", " OR ", MAX_FILTERS),
    ],
)
def test_there_is_a_most_of_comparisons_and_of_alternatives(template, joint, most):
    def text(count):
        return joint.join(f"c{number} = 1" for number in range(count))

    assert parse_condition(text(most))
    with pytest.raises(ConditionError, match="more than"):
        parse_condition(text(most + 1))


def test_alternatives_that_multiply_are_refused_before_they_are_made():
    text = " AND ".join(f"(a{number} = 1 OR b{number} = 1)" for number in range(50))

    with pytest.raises(ConditionError, match="alternatives"):
        parse_condition(text)


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("NOT ", "")])
def test_there_is_a_deepest_nesting(opening, closing):
    assert parse_condition(f"{opening * MAX_DEPTH}a = 1{closing * MAX_DEPTH}")
    for depth in (MAX_DEPTH + 1, 1_900):
        with pytest.raises(ConditionError, match="nested deeper"):
            parse_condition(f"{opening * depth}a = 1{closing * depth}")


def test_there_is_a_longest_list_and_a_longest_text():
    elements = ",".join(map(str, range(MAX_ELEMENTS)))

    assert parse_condition(f"a in ({elements})")
    with pytest.raises(ConditionError, match="elements"):
        parse_condition(f"a in ({elements},100)")
    with pytest.raises(ConditionError, match="longer than"):
        parse_condition("a = 1" + " " * MAX_TEXT)


@pytest.mark.parametrize(
    "template", ["{}", "a = {}", "a = '{}'", '"{}" = 1', "a in ('{}', 'x')", "a = 1 {}"]
)
def test_hostile_strings_are_refused_or_remain_names_and_values(template):
    assert len(HOSTILE_STRINGS) > 100
    for hostile in HOSTILE_STRINGS:
        found = attempt(template.format(hostile))
        for text in () if isinstance(found, str) else found:
            for condition in parse_filter(text):
                assert plain(hostile) in plain(condition.column + condition.value)


def plain(text):
    """Return the text without what quoting doubles, space around it and case."""
    return re.sub(r"""['"\\]""", "", text).strip().lower()


@given(st.text(max_size=60) | st.text(alphabet="aA1'\"()=<>,;-+*/.$ \n\\NOTIR", max_size=60))
def test_any_text_has_filters_that_can_be_read_or_an_error(text):
    found = attempt(text)

    assert found.endswith(".") if isinstance(found, str) else all(map(parse_filter, found))


@given(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
        min_size=1,
        max_size=20,
    ).filter(lambda name: len(name.encode()) <= 63),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
)
def test_names_and_values_come_back_as_they_were(name, value):
    column, literal = name.replace('"', '""'), value.replace("'", "''")
    found = attempt(f"\"{column}\" <> '{literal}' AND NOT \"{column}\" = 'x'")
    if isinstance(found, str):
        assert "of this name" in found
        return
    (filtered,) = found

    assert [
        (one.column, one.operator, one.value, one.is_negated) for one in parse_filter(filtered)
    ] == [(name, Operator.NEQ, value, False), (name, Operator.EQ, "x", True)]


def kleene_and(left, right):
    return False if False in (left, right) else None if None in (left, right) else True


def kleene_not(value):
    return None if value is None else not value


def compared(symbol, column, value):
    apply = {
        "=": operator.eq,
        "<>": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }[symbol]
    return (
        f"{column} {symbol} {value}",
        lambda row: None if row[column] is None else apply(row[column], value),
    )


def one_of(column, values):
    def holds(row):
        if row[column] is None:
            return None
        return row[column] in values or (None if None in values else False)

    listed = ", ".join("NULL" if value is None else str(value) for value in values)
    return f"{column} IN ({listed})", holds


def both(left, right):
    return (
        f"({left[0]} AND {right[0]})",
        lambda row: kleene_and(left[1](row), right[1](row)),
    )


def either(left, right):
    return (
        f"({left[0]} OR {right[0]})",
        lambda row: kleene_not(kleene_and(kleene_not(left[1](row)), kleene_not(right[1](row)))),
    )


NUMBERS = st.integers(-2, 2)
NUMBERED = st.sampled_from("ab")
LEAVES = (
    st.builds(compared, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), NUMBERED, NUMBERS)
    | st.builds(one_of, NUMBERED, st.lists(st.none() | NUMBERS, min_size=1, max_size=3))
    | NUMBERED.map(lambda name: (f"{name} IS NULL", lambda row: row[name] is None))
    | st.just(("done", lambda row: row["done"]))
    | st.just(("done IS NOT TRUE", lambda row: row["done"] is not True))
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda parts: (
        st.builds(both, parts, parts)
        | st.builds(either, parts, parts)
        | parts.map(lambda part: (f"NOT {part[0]}", lambda row: kleene_not(part[1](row))))
    ),
    max_leaves=8,
)
VALUES = st.none() | NUMBERS


def matches(filters, row):
    texts = {"a": row["a"], "b": row["b"], "done": {True: "t", False: "f"}.get(row["done"])}

    def met(condition):
        column = COLUMNS[condition.column]
        values = [condition.value]
        if condition.operator is Operator.IN:
            values = [
                None if one == "NULL" else one.strip('"') for one in condition.value.split(",")
            ]
        value = texts[condition.column]
        test = make_test(condition, column, values)
        return test(None if value is None else str(value)) is Verdict.YES

    return any(all(map(met, parse_filter(text))) for text in filters)


@given(CONDITIONS, VALUES, VALUES, st.none() | st.booleans())
def test_what_matches_is_what_three_valued_logic_says(condition, a, b, done):
    text, holds = condition
    row = {"a": a, "b": b, "done": done}
    found = attempt(text)
    if isinstance(found, str):
        assert "alternatives" in found
        return

    assert matches(found, row) is (holds(row) is True)


@pytest.mark.parametrize(
    "piece", ["(", "NOT ", "'", '"', "''", "a=1 OR ", "-", "+", "a AND ", "1", ".", "\u00a0"]
)
def test_the_longest_texts_take_no_time(piece):
    text = (piece * MAX_TEXT)[:MAX_TEXT]
    start = perf_counter()
    with pytest.raises(ConditionError):
        parse_condition(text)

    assert perf_counter() - start < 1
