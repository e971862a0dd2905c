"""Filters of row changes, as far as Postgres is needed for them: what a value means, and whether it matches.

Implements the port `Filters`; called when a client subscribes, and by the rows actors in doubt.
The catalog is read by `filter_columns`, the SQL is made by `comparisons`, and `isolation` carries it out.

**Invariants**
- A filter that Postgres could not apply is refused when it is made ready, not when rows come.
- The values of a condition are read once, by Postgres and in the type of the column; then each row sees the same,
  and `now` is the time of the subscription.
- A condition that takes too long rests for a while, so that it does not hold up the others again and again.
- Domains count as what they go back to: their checks may be functions of others, and are none of a client's business.

**Source**: spec 6.2, and 6.5 for what a failing filter must not do.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from actors.db.clauses import AskedAs, ClauseRequest, make_clauses
from actors.db.filter_columns import ColumnKey, TypeKey, find_columns
from actors.db.isolation import (
    NOT_SENDABLE,
    TOO_SLOW,
    Fault,
    is_sendable,
    isolated,
    raised,
    read_only_session,
)
from actors.db.row_query import text_array
from actors.db.sqlstates import QUERY_CANCELED
from actors.realtime.change_ports import Undecided
from protocol.changes.model import Absent
from protocol.changes.predicates import Clause, Place, Predicate, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actors.db.comparisons import Comparison
    from actors.db.filter_columns import FoundColumn
    from actors.db.isolation import ReadOnlySession
    from actors.db.pool import Pool
    from actors.realtime.change_ports import FilterRequest
    from protocol.changes.filters import Condition
    from protocol.changes.model import Value

#: How long a condition that took too long is not asked again, in seconds.
REST_S = 60.0
#: How many conditions are remembered: those that rest, and those made ready for an earlier type of a column.
MAX_REMEMBERED = 1000

#: By the clause for the type of now, and the type of the row.
_OtherTypes = dict[tuple[Clause, int], "Clause | Fault"]


@frozen
class _Doubt:
    """A value of which only Postgres knows whether it meets a condition."""

    clause: Clause
    text: str

    @property
    def asked_as(self) -> AskedAs:
        if not isinstance(self.clause.question, AskedAs):
            raise TypeError("the clause was not made by this room")
        return self.clause.question


@define(eq=False)
class PostgresFilters:
    """See the port for the contract; `clock` returns seconds, from any start."""

    _pool: Pool
    _clock: Callable[[], float] = trio.current_time
    _others: _OtherTypes = field(factory=dict[tuple[Clause, int], "Clause | Fault"], init=False)
    #: What took too long, and when it may be asked again.
    _resting: dict[AskedAs, float] = field(factory=dict[AskedAs, float], init=False)

    async def compile(self, requests: Sequence[FilterRequest]) -> Sequence[Predicate | str]:
        async with read_only_session(self._pool) as session:
            keys = {
                _key(request, condition)
                for request in requests
                for condition in request.conditions
            }
            columns = await find_columns(session, keys) if keys else {}
            clauses = await make_clauses(
                session,
                {
                    ClauseRequest(condition, column.number, column.kind)
                    for request in requests
                    for condition in request.conditions
                    if (column := columns.get(_key(request, condition))) is not None
                },
            )
        return [_predicate(request, columns, clauses) for request in requests]

    async def judge(
        self, questions: Sequence[tuple[Predicate, Sequence[Value]]]
    ) -> Sequence[bool | Undecided]:
        async with read_only_session(self._pool) as session:
            others = await self._clauses_for_other_types(session, questions)
            doubts = [
                self._doubts(predicate, values, others) for predicate, values in questions
            ]
            unique = {
                doubt for some in doubts for doubt in some or () if isinstance(doubt, _Doubt)
            }
            answers = await _ask(session, unique)
        for doubt, answer in answers.items():
            if isinstance(answer, Fault) and answer.sqlstate == QUERY_CANCELED:
                self._let_rest(doubt.asked_as)
        return [_answer(some, answers) for some in doubts]

    async def _clauses_for_other_types(
        self,
        session: ReadOnlySession,
        questions: Iterable[tuple[Predicate, Sequence[Value]]],
    ) -> _OtherTypes:
        """Return what judges the values of columns that had another type when the row was written."""
        keys = {
            (clause, place.type_oid)
            for predicate, values in questions
            for clause, place in _other_types(predicate, values)
        }
        known = {key: self._others[key] for key in keys & self._others.keys()}
        requests = {
            key: ClauseRequest(key[0].condition, key[0].column_number, TypeKey(key[1]))
            for key in keys - known.keys()
        }
        if not requests:
            return known
        clauses = await make_clauses(session, requests.values())
        made = {key: clauses[request] for key, request in requests.items()}
        if len(self._others) + len(made) > MAX_REMEMBERED:
            self._others.clear()
        self._others.update(made)
        return known | made

    def _doubts(
        self, predicate: Predicate, values: Sequence[Value], others: _OtherTypes
    ) -> list[_Doubt | Fault] | None:
        """Return what must be asked about a row, None if it does not match."""
        doubts: list[_Doubt | Fault] = []
        for clause, place in zip(predicate.clauses, predicate.places, strict=True):
            value = Absent.NOT_LOGGED if place.index is None else values[place.index]
            fitting: Clause | Fault = clause
            if isinstance(value, str) and place.type_oid != clause.type_oid:
                fitting = others[clause, place.type_oid]
            if isinstance(fitting, Fault):
                doubts.append(fitting)
                continue
            verdict = fitting.test(value)
            if verdict is Verdict.NO:
                return None
            if verdict is Verdict.ASK and isinstance(value, str):
                doubts.append(self._doubt(fitting, value))
        return doubts

    def _doubt(self, clause: Clause, text: str) -> _Doubt | Fault:
        doubt = _Doubt(clause, text)
        if self._clock() < self._resting.get(doubt.asked_as, -math.inf):
            return TOO_SLOW
        return doubt if is_sendable(text) else NOT_SENDABLE

    def _let_rest(self, asked_as: AskedAs) -> None:
        if len(self._resting) >= MAX_REMEMBERED:
            self._resting.clear()
        self._resting[asked_as] = self._clock() + REST_S


def _key(request: FilterRequest, condition: Condition) -> ColumnKey:
    return ColumnKey(request.relation_oid, request.role, condition.column)


def _predicate(
    request: FilterRequest,
    columns: Mapping[ColumnKey, FoundColumn | None],
    clauses: Mapping[ClauseRequest, Clause | Fault],
) -> Predicate | str:
    """Return the clauses of a request together, or the fault of the first that has one."""
    made: list[Clause] = []
    places: list[Place] = []
    for condition in request.conditions:
        key = _key(request, condition)
        if key not in columns:
            return Fault("42704", f'role "{request.role}" does not exist').text
        column = columns[key]
        if column is None:
            return raised(f"invalid column for filter {condition.column}").text
        clause = clauses[ClauseRequest(condition, column.number, column.kind)]
        if isinstance(clause, Fault):
            return clause.text
        made.append(clause)
        places.append(Place(column.index, clause.type_oid))
    return Predicate(request.relation_oid, tuple(made), tuple(places))


def _other_types(
    predicate: Predicate, values: Sequence[Value]
) -> Iterable[tuple[Clause, Place]]:
    return (
        (clause, place)
        for clause, place in zip(predicate.clauses, predicate.places, strict=True)
        if place.type_oid != clause.type_oid
        and place.index is not None
        and isinstance(values[place.index], str)
    )


async def _ask(
    session: ReadOnlySession, doubts: Iterable[_Doubt]
) -> dict[_Doubt, bool | Fault]:
    """Return for each value whether it meets the condition."""
    groups: dict[Comparison, list[_Doubt]] = {}
    for doubt in doubts:
        groups.setdefault(doubt.asked_as.comparison, []).append(doubt)
    answers: dict[_Doubt, bool | Fault] = {}
    for comparison, group in groups.items():
        found = await isolated(
            session,
            group,
            partial(_compare, session, comparison),
            lambda doubt: doubt.clause,
            comparison.attempts,
        )
        answers.update(zip(group, found, strict=True))
    return answers


async def _compare(
    session: ReadOnlySession, comparison: Comparison, doubts: Sequence[_Doubt]
) -> list[bool]:
    """Ask about all of them in one statement, sending each text once."""
    left = {text: place for place, text in enumerate({one.text for one in doubts}, start=1)}
    right = {
        text: place for place, text in enumerate({one.asked_as.text for one in doubts}, start=1)
    }
    paths = [one.clause.condition.path for one in doubts]
    parameters = (
        [left[one.text] for one in doubts],
        [right[one.asked_as.text] for one in doubts],
        *([[text_array(path.steps) for path in paths if path]] if comparison.inside else []),
        list(left),
        list(right),
    )
    rows = await session.rows(comparison.judging, parameters)
    # NULL is neither met nor, negated, unmet.
    return [
        met is (not one.clause.condition.is_negated)
        for one, (met,) in zip(doubts, rows, strict=True)
    ]


def _answer(
    doubts: list[_Doubt | Fault] | None, answers: Mapping[_Doubt, bool | Fault]
) -> bool | Undecided:
    """Put together what was said of the conditions of one row."""
    if doubts is None:
        return False
    found = [answers[doubt] if isinstance(doubt, _Doubt) else doubt for doubt in doubts]
    if False in found:
        return False
    faults = [one for one in found if isinstance(one, Fault)]
    return Undecided(faults[0].text) if faults else True
