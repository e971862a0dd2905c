"""Asks Postgres which rows may be seen with which claims, and finds out whose fault it is when that fails.

Called by `visibility` for one query (`row_query`) at a time; what is asked at once is in `row_statements`.
Many are asked about together, with a part of the time; whose claims were slow there is asked about alone,
with all of it, and the others have their answer before that.

**Invariants**
- Claims under which a policy fails or dawdles are refused alone, and so is a row.

**Source**: ADR 0081 for who waits for whom.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from actors.db.row_faults import ERROR_SLOW, RowFaults
from actors.db.row_query import OUT_OF_TIME, RENAMED
from actors.db.row_statements import Case, RowStatements
from actors.db.sqlstates import QUERY_CANCELED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actors.db.row_query import RowQuery
    from actors.db.row_sessions import RowSessions
    from actors.db.row_statements import Outcome, Rows
    from protocol.changes.model import Change

#: How many judgements one statement makes at most: some tenths of a second's worth under a usual policy.
MAX_PAIRS = 20_000
#: After so many slow claims among many a policy is taken to be slow for everybody, and everybody is asked alone.
SLOW_ONES = 5
#: After so many timeouts without anything else, of those who are asked alone, the rest is not tried.
MAX_TIMEOUTS = 5

#: The table, a column, the schema or the session's function is not there under the name known.
OUTDATED = ("42P01", "42703", "3F000", "42883", RENAMED)


@frozen
class Request:
    """Which of these rows may be seen with these claims? Each row comes with the values that the query wants."""

    claims: str
    rows: Mapping[Change, tuple[str | None, ...]]


@define
class Verdict:
    """What came out for one set of claims; a change that is in neither may not be seen."""

    visible: set[Change] = field(factory=set["Change"])
    faults: dict[Change, str] = field(factory=dict["Change", str])


@define
class Verdicts:
    """What came out, by claims; `is_outdated` says that the names in the query mean nothing any more.

    About claims that are `slow` nothing is said yet.
    """

    by_claims: dict[str, Verdict] = field(factory=dict[str, Verdict])
    slow: set[str] = field(factory=set[str])
    is_outdated: bool = False


@define(eq=False)
class RowJudge:
    """Judges rows by one query; `judge` is used by one task at a time, `judge_alone` by any."""

    _statements: RowStatements
    _faults: RowFaults

    @classmethod
    def open(cls, query: RowQuery, sessions: RowSessions) -> RowJudge:
        """Return the judge of a query; nothing is asked yet."""
        return cls(RowStatements(query, sessions), RowFaults(query))

    async def judge(self, batch: Sequence[Sequence[Request]]) -> Verdicts:
        """Answer all requests, with one statement if nothing is wrong; leave out claims that are slow.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        cases, rows = _merged(chain.from_iterable(batch))
        verdicts = Verdicts({case.claims: Verdict() for case in cases})
        await self._settle(cases, rows, verdicts)
        return verdicts

    async def judge_alone(self, requests: Iterable[Request]) -> Verdicts:
        """Answer requests whose claims are slow, each by itself.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        cases, rows = _merged(requests)
        verdicts = Verdicts({case.claims: Verdict() for case in cases})
        timeouts = answers = 0
        for case in cases:
            waiting = [case]
            while waiting:
                one = waiting.pop(0)
                is_hopeless = timeouts >= MAX_TIMEOUTS and not answers
                if is_hopeless or self._faults.is_held(one.claims):
                    faults = dict.fromkeys(one.changes, ERROR_SLOW)
                    verdicts.by_claims[one.claims].faults.update(faults)
                    continue
                (outcome,) = await self._statements.run([one], rows, is_alone=True)
                timeouts += outcome == QUERY_CANCELED
                answers += outcome != QUERY_CANCELED
                waiting += self._note(one, outcome, verdicts)
        return verdicts

    async def _settle(self, cases: Sequence[Case], rows: Rows, verdicts: Verdicts) -> None:
        """Judge the cases and note the outcome; the rows of one that failed are judged one by one."""
        again: list[Case] = []
        for part in _parts(cases):
            outcomes = await self._outcomes(part, rows)
            for case, outcome in zip(part, outcomes, strict=True):
                if outcome == QUERY_CANCELED:
                    self._set_aside(case, verdicts)
                else:
                    again += self._note(case, outcome, verdicts)
        if again:
            await self._settle(again, rows, verdicts)

    def _set_aside(self, case: Case, verdicts: Verdicts) -> None:
        if self._faults.is_held(case.claims):
            faults = dict.fromkeys(case.changes, ERROR_SLOW)
            verdicts.by_claims[case.claims].faults.update(faults)
        else:
            verdicts.slow.add(case.claims)

    def _note(self, case: Case, outcome: Outcome, verdicts: Verdicts) -> list[Case]:
        """Note an outcome; return what has to be asked again to know which row is to blame."""
        verdict = verdicts.by_claims[case.claims]
        if not isinstance(outcome, str):
            verdict.visible.update(case.changes[place - 1] for place in outcome)
        elif outcome in OUTDATED or len(case.changes) == 1:
            verdicts.is_outdated |= outcome in OUTDATED
            fault = self._faults.note(case.claims, outcome)
            verdict.faults.update(dict.fromkeys(case.changes, fault))
        else:
            return [Case(case.claims, (change,)) for change in case.changes]
        return []

    async def _outcomes(self, cases: Sequence[Case], rows: Rows) -> list[Outcome]:
        """Return what came out for each case: that the time was over for those who are slow, or were."""
        outcomes: list[Outcome] = [QUERY_CANCELED] * len(cases)
        rest = [
            place for place, case in enumerate(cases) if not self._faults.is_held(case.claims)
        ]
        slow = 0
        while rest and slow < SLOW_ONES:
            found = await self._statements.run([cases[place] for place in rest], rows)
            for place, outcome in zip(rest, found, strict=True):
                outcomes[place] = QUERY_CANCELED if outcome == OUT_OF_TIME else outcome
            slow += found.count(QUERY_CANCELED)
            rest = [
                place
                for place, outcome in zip(rest, found, strict=True)
                if outcome == OUT_OF_TIME
            ]
        return outcomes


def _merged(requests: Iterable[Request]) -> tuple[list[Case], Rows]:
    """Return one case for each set of claims, and the values of all rows."""
    rows: Rows = {}
    wanted: dict[str, dict[Change, None]] = {}
    merged: Mapping[Change, tuple[str | None, ...]] | None = None
    for request in requests:
        if request.rows is not merged:
            merged = request.rows
            rows.update(merged)
        wanted.setdefault(request.claims, {}).update(dict.fromkeys(request.rows))
    return [Case(claims, tuple(changes)) for claims, changes in wanted.items()], rows


def _parts(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    """Yield the cases in parts that one statement has time for."""
    start = pairs = 0
    for place, case in enumerate(cases):
        if pairs and pairs + len(case.changes) > MAX_PAIRS:
            yield cases[start:place]
            start, pairs = place, 0
        pairs += len(case.changes)
    yield cases[start:]
