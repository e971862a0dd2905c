"""How long it takes to judge one row by a filter, in nanoseconds, on one core and without Postgres.

    python bench/micro/filters.py

Each figure is the best of seven rounds; the loop around it is taken off.
It fails if the most usual one, an integer that is not equal, takes longer than the goal.
"""

from __future__ import annotations

import sys
import timeit
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from protocol.changes.comparing import ColumnFacts, make_equality, make_test
from protocol.changes.filters import Condition, Operator, parse_filter
from protocol.changes.predicates import Clause, Place, Predicate

ROUNDS, REPEATS = 7, 50_000
USUAL, GOAL_NS = "int eq, other", 1000

INT4, TEXT, NUMERIC, TIMESTAMPTZ, FLOAT8, UUID = 23, 25, 1700, 1184, 701, 2950
A_UUID = "5a3c8f0e-7b1d-4a52-9f60-1c2d3e4f5a6b"
#: What is judged: type, operator, values of the filter, value of the row.
CASES: dict[str, tuple[int, Operator, list[str], str]] = {
    "int eq, equal": (INT4, Operator.EQ, ["123"], "123"),
    "int eq, other": (INT4, Operator.EQ, ["123"], "124"),
    "int neq": (INT4, Operator.NEQ, ["123"], "124"),
    "int gt": (INT4, Operator.GT, ["123"], "124"),
    "int in, of 100": (INT4, Operator.IN, [str(number) for number in range(100)], "77"),
    "uuid eq": (UUID, Operator.EQ, [A_UUID], A_UUID),
    "text eq": (TEXT, Operator.EQ, ["open"], "open"),
    "text like a%": (TEXT, Operator.LIKE, ["the quick%"], "the quick brown fox"),
    "text like %a_b%": (TEXT, Operator.LIKE, ["%br_wn%"], "the quick brown fox"),
    "text is null": (TEXT, Operator.IS, [], "open"),
    "numeric lt": (NUMERIC, Operator.LT, ["100.00"], "99.95"),
    "float gte": (FLOAT8, Operator.GTE, ["0.5"], "0.25"),
    "timestamptz gt": (
        TIMESTAMPTZ,
        Operator.GT,
        ["2026-01-02 03:04:05+00"],
        "2026-01-02 03:04:05.5+00",
    ),
}
FILTER = 'status=in.(open,"on hold"),price=lt.100,name=not.like.%test%'


def predicate(*conditions: tuple[int, Operator, list[str]]) -> Predicate:
    clauses = []
    for number, (type_oid, operator, values) in enumerate(conditions, start=1):
        column = ColumnFacts(f"c{number}", number, type_oid, type_oid, "b", True, True)
        word = "null" if operator is Operator.IS else ",".join(values)
        condition = Condition(column.name, operator, word, is_negated=False)
        test = make_test(condition, column, values)
        equality = make_equality(condition, column, values)
        clauses.append(Clause(condition, number, type_oid, test, None, equality))
    places = tuple(Place(index, clause.type_oid) for index, clause in enumerate(clauses))
    return Predicate(16384, tuple(clauses), places)


def best_ns(statement: str, names: dict[str, object]) -> float:
    def measured(what: str) -> float:
        return min(timeit.repeat(what, globals=names, repeat=ROUNDS, number=REPEATS))

    return (measured(statement) - measured("pass")) / REPEATS * 1e9


def main() -> int:
    usual_ns = 0.0
    for name, (type_oid, operator, values, value) in CASES.items():
        names = {"judge": predicate((type_oid, operator, values)).judge, "row": (value,)}
        took_ns = best_ns("judge(row)", names)
        if name == USUAL:
            usual_ns = took_ns
        print(f"{name:<20} {took_ns:7.0f} ns")
    three = [
        case for name, case in CASES.items() if name in ("int eq, equal", "text eq", "int gt")
    ]
    names = {
        "judge": predicate(*(case[:3] for case in three)).judge,
        "row": tuple(case[3] for case in three),
    }
    print(f"{'three conditions':<20} {best_ns('judge(row)', names):7.0f} ns")
    names = {"parse": parse_filter, "text": FILTER}
    print(f"{'parse a filter':<20} {best_ns('parse(text)', names):7.0f} ns")
    return 0 if usual_ns < GOAL_NS else 1


if __name__ == "__main__":
    sys.exit(main())
