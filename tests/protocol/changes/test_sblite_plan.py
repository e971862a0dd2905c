"""The unit tests that the sblite plan names for filters: a filter as text, a row as text, and whether it matches.

C17: values are compared as Postgres compares them; the plan's inputs come out the same.
"""

from __future__ import annotations

import pytest

from protocol.changes.comparing import ColumnFacts, make_equality, make_test
from protocol.changes.filters import Operator, parse_filter
from protocol.changes.predicates import Clause, Place, Predicate, Verdict
from protocol.errors import InvalidFilter

STATUS = ColumnFacts("status", 1, 25, 25, "b", has_exact_texts=True)
NUMBER = ColumnFacts("number", 2, 23, 23, "b")
COLUMNS = {column.name: column for column in (STATUS, NUMBER)}


def matches(text: str, row: tuple[str | None, str | None]) -> bool:
    """Return whether a row of status and number matches a filter."""
    clauses = []
    for condition in parse_filter(text):
        column = COLUMNS[condition.column]
        # Postgres takes a list apart; for the plan's lists a comma is enough.
        values = (
            condition.value.split(",")
            if condition.operator is Operator.IN
            else [condition.value]
        )
        test, equality = (
            make_test(condition, column, values),
            make_equality(condition, column, values),
        )
        clauses.append(Clause(condition, column.number, column.type_oid, test, None, equality))
    places = tuple(Place(clause.column_number - 1, clause.type_oid) for clause in clauses)
    verdict = Predicate(16384, tuple(clauses), places).judge(row)
    assert verdict is not Verdict.ASK
    return verdict is Verdict.YES


@pytest.mark.capability("SB-111", "SB-145")
def test_matches_filter_eq():
    assert matches("status=eq.active", ("active", None))
    assert not matches("status=eq.active", ("inactive", None))


@pytest.mark.capability("SB-146")
def test_matches_filter_neq():
    assert matches("status=neq.active", ("inactive", None))
    assert not matches("status=neq.active", ("active", None))


@pytest.mark.capability("SB-112", "SB-116", "SB-117", "SB-147")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("number=gt.3", True),
        ("number=gt.5", False),
        ("number=gt.10", False),
        ("number=gte.5", True),
        ("number=lt.10", True),
        ("number=lt.5", False),
        ("number=lte.5", True),
    ],
)
def test_matches_filter_numeric(text, expected):
    assert matches(text, (None, "5")) is expected


@pytest.mark.capability("SB-113", "SB-148")
def test_matches_filter_in():
    assert matches("status=in.(active,pending)", ("pending", None))
    assert not matches("status=in.(active,pending)", ("gone", None))


@pytest.mark.capability("SB-115", "SB-149")
@pytest.mark.parametrize("text", ["invalid", "status=invalid.value"])
def test_matches_filter_invalid_format(text):
    # C27: the client is told; it matches nothing, as there is no filter.
    with pytest.raises(InvalidFilter):
        matches(text, ("value", None))
