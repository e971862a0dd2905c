from __future__ import annotations

import re

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.comparing import ColumnFacts, make_equality, make_test
from protocol.changes.filters import Condition, Operator
from protocol.changes.like import ends_in_escape, like_matcher
from protocol.changes.model import Absent, TypeFacts
from protocol.changes.predicates import Clause, Place, Predicate, Verdict
from tests.support.changes import INT4, TEXT, make_table

YES, NO, ASK = Verdict.YES, Verdict.NO, Verdict.ASK
ID = ColumnFacts("id", 1, 23, 23, "b")
BODY = ColumnFacts("body", 2, 25, 25, "b", has_exact_texts=True)
INTERVAL = ColumnFacts("wait", 3, 1186, 1186, "b")
PAIR = ColumnFacts("pair", 4, 90001, 90001, "c")


def clause(column, operator, *values, negated=False):
    text = ",".join("NULL" if value is None else value for value in values)
    condition = Condition(column.name, operator, text, negated)
    return Clause(
        condition,
        column.number,
        column.type_oid,
        make_test(condition, column, values),
        None,
        make_equality(condition, column, values),
    )


def predicate(*clauses):
    places = tuple(Place(one.column_number - 1, one.type_oid) for one in clauses)
    return Predicate(16384, clauses, places)


def verdicts(column, operator, *values):
    """Return the verdict on NULL, plain and negated."""
    row = [None] * 4
    return [
        predicate(clause(column, operator, *values, negated=negated)).judge(row)
        for negated in (False, True)
    ]


def test_no_conditions_match_everything():
    assert predicate().judge(()) is YES


def test_all_conditions_must_hold():
    both = predicate(clause(ID, Operator.EQ, "1"), clause(BODY, Operator.EQ, "a"))

    assert [both.judge(row) for row in (("1", "a"), ("1", "b"), ("2", "a"))] == [YES, NO, NO]


def test_what_does_not_hold_here_need_not_be_asked():
    both = predicate(clause(INTERVAL, Operator.EQ, "1 day"), clause(ID, Operator.EQ, "1"))

    assert both.judge(("1", "a", "24:00:00")) is ASK
    assert both.judge(("2", "a", "24:00:00")) is NO


@pytest.mark.parametrize(
    ("column", "operator", "values", "expected"),
    [
        (ID, Operator.EQ, ["1"], [NO, NO]),
        (ID, Operator.NEQ, ["1"], [NO, NO]),
        (ID, Operator.LT, ["1"], [NO, NO]),
        (ID, Operator.IN, ["1"], [NO, NO]),
        (ID, Operator.IN, ["1", None], [NO, NO]),
        (ID, Operator.IN, [], [NO, YES]),
        (BODY, Operator.LIKE, ["%"], [NO, NO]),
        (BODY, Operator.MATCH, [""], [NO, NO]),
        (INTERVAL, Operator.EQ, ["0"], [NO, NO]),
        (ID, Operator.ISDISTINCT, ["1"], [YES, NO]),
        (ID, Operator.IS, ["null"], [YES, NO]),
        (ID, Operator.IS, ["unknown"], [YES, NO]),
        (ID, Operator.IS, ["true"], [NO, YES]),
        (PAIR, Operator.IS, ["null"], [YES, NO]),
    ],
)
def test_null_is_known_without_asking(column, operator, values, expected):
    assert verdicts(column, operator, *values) == expected


def test_a_list_with_null_leaves_open_what_is_not_in_it():
    one_of = clause(ID, Operator.IN, "1", None)
    none_of = clause(ID, Operator.IN, "1", None, negated=True)

    assert [predicate(one_of).judge((text,)) for text in ("1", "2")] == [YES, NO]
    assert [predicate(none_of).judge((text,)) for text in ("1", "2")] == [NO, NO]


@pytest.mark.parametrize("absent", Absent)
@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize(
    ("operator", "value"),
    [(Operator.EQ, "1"), (Operator.ISDISTINCT, "1"), (Operator.IS, "null"), (Operator.IN, "1")],
)
def test_an_absent_value_never_matches(absent, negated, operator, value):
    assert predicate(clause(ID, operator, value, negated=negated)).judge((absent,)) is NO


@pytest.mark.parametrize("text", ["", "x", "-"])
@pytest.mark.parametrize("type_oid", [700, 1700, 1184])
def test_a_text_that_does_not_look_as_its_type_says_is_for_postgres(type_oid, text):
    column = ColumnFacts("id", 1, type_oid, type_oid, "b")
    value = "2026-01-02 03:04:05+00" if type_oid == 1184 else "1.5"

    assert predicate(clause(column, Operator.EQ, value)).judge((text,)) is ASK


def test_on_finds_the_columns_by_their_numbers():
    matches = predicate(clause(ID, Operator.EQ, "1"), clause(BODY, Operator.EQ, "a"))
    table = evolve(
        make_table({"new": TEXT, "text": TEXT, "key": INT4}), column_numbers=(3, 2, 1)
    )

    assert matches.on(table).judge(("x", "a", "1")) is YES
    assert matches.on(table).judge(("1", "1", "a")) is NO


def test_a_column_that_is_not_in_the_stream_never_matches():
    matches = predicate(clause(ID, Operator.IS, "null"))
    table = evolve(make_table({"body": TEXT}), column_numbers=(2,))

    assert matches.on(table).judge((None,)) is NO


def test_values_of_another_type_are_for_postgres():
    matches = predicate(clause(ID, Operator.EQ, "1")).on(
        make_table({"id": TypeFacts(20, "int8")})
    )

    assert [matches.judge((value,)) for value in ("1", "2", None)] == [ASK, ASK, NO]


def test_the_shortest_equality_is_the_one_to_look_up():
    found = predicate(
        clause(ID, Operator.IN, "1", "2", None), clause(BODY, Operator.EQ, "a")
    ).equalities

    assert (found.column, found.column_number, found.texts) == ("body", 2, {"a"})


@pytest.mark.parametrize(
    "one",
    [
        clause(ID, Operator.EQ, "1", negated=True),
        clause(ID, Operator.NEQ, "1"),
        clause(ID, Operator.GT, "1"),
        clause(INTERVAL, Operator.EQ, "1 day"),
        clause(ColumnFacts("body", 2, 25, 25, "b"), Operator.EQ, "a"),
        clause(ColumnFacts("price", 2, 1700, 1700, "b"), Operator.EQ, "1.0"),
    ],
)
def test_what_is_no_equality_of_texts_is_not_looked_up(one):
    assert predicate(one).equalities is None


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", False),
        ("a", False),
        ("\\", True),
        ("a\\\\", False),
        ("\\\\\\", True),
        ("\\%", False),
    ],
)
def test_an_escape_without_anything_to_escape_is_noticed(pattern, expected):
    assert ends_in_escape(pattern) is expected


@given(
    st.text(alphabet="ab%_\\\n😀", max_size=8).filter(lambda text: not ends_in_escape(text)),
    st.text(alphabet="ab%_\\\n😀", max_size=12),
)
def test_likeness_is_that_of_the_regular_expression(pattern, text):
    source = re.sub(
        r"\\(.)|(%)|(_)|(.)",
        lambda token: (
            ".*" if token[2] else "." if token[3] else re.escape(token[1] or token[4])
        ),
        pattern,
        flags=re.DOTALL,
    )

    assert like_matcher(pattern)(text) == bool(re.fullmatch(source, text, re.DOTALL))


def test_hostile_patterns_take_no_longer_than_others():
    # With one step more for each `%` a regular expression would not end.
    matches = like_matcher("%a" * 200 + "%b")

    assert not matches("a" * 20_000)
