"""Asks Postgres which rows may be seen with which claims, and finds out whose fault it is when that fails.

Called by `visibility` for one query (`row_query`) at a time; the statements run in `row_sessions`.
Many are asked about together, with a part of the time; whose claims were slow there is asked about alone,
with all of it, and the others have their answer before that.

**Invariants**
- Claims under which a policy fails or dawdles are refused alone, and so is a row.
- A judgement is made only when the transactions that wrote the rows are through for other sessions.

**Source**: ADR 0081 for who waits for whom.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from actors.db.row_faults import ERROR_SLOW, TIMED_OUT, RowFaults
from actors.db.row_query import OUT_OF_TIME, RENAMED, UNFINISHED, text_array
from actors.db.row_sessions import StatementFailed
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actors.db.row_query import RowQuery
    from actors.db.row_sessions import RowSessions
    from protocol.changes.model import Change

#: How many judgements one statement makes at most: some tenths of a second's worth under a usual policy.
MAX_PAIRS = 20_000
#: After so many slow claims among many a policy is taken to be slow for everybody, and everybody is asked alone.
SLOW_ONES = 5
#: After so many timeouts without anything else, of those who are asked alone, the rest is not tried.
MAX_TIMEOUTS = 5
#: What takes longer is slow, in seconds.
SLOW_S = 0.25
#: How long to wait for a commit to be through, and how often to look, in seconds.
COMMIT_WITHIN_S = 2.0
LOOK_AGAIN_S = 0.002

#: The table is locked, or Postgres has no room: this is not about the claims.
TRANSIENT = ("55P03", "53")
#: The table, a column, the schema or the session's function is not there under the name known.
OUTDATED = ("42P01", "42703", "3F000", "42883", RENAMED)
#: A value that psycopg cannot send (it has no SQLSTATE then), or Postgres cannot take: it spoils the whole statement.
UNSENT = ""
UNREADABLE = "22"
#: The time of the statement was over.
OUT = (TIMED_OUT, OUT_OF_TIME)

_UNFINISHED = "A commit is not through yet: Postgres waits for a standby."
_TRANSIENT = "Postgres could not judge rows: a table is locked, or a resource is used up."


#: The values that the query wants of each row.
Rows = dict["Change", tuple[str | None, ...]]


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


@frozen
class _Case:
    """What is judged at once: the changes asked about with one set of claims."""

    claims: str
    changes: tuple[Change, ...]


#: The places of the changes that may be seen, counted from 1, or the SQLSTATE of what went wrong.
_Outcome = list[int] | str


@define(eq=False)
class RowJudge:
    """Judges rows by one query; `judge` is used by one task at a time, `judge_alone` by any."""

    _query: RowQuery
    _sessions: RowSessions
    _is_slow: bool = field(default=False, init=False)
    _faults: RowFaults = field(init=False)

    @_faults.default
    def _no_faults(self) -> RowFaults:
        return RowFaults(self._query)

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
                (outcome,) = await self._found([one], rows, is_alone=True)
                timeouts += outcome == TIMED_OUT
                answers += outcome != TIMED_OUT
                waiting += self._note(one, outcome, verdicts)
        return verdicts

    async def _settle(self, cases: Sequence[_Case], rows: Rows, verdicts: Verdicts) -> None:
        """Judge the cases and note the outcome; the rows of one that failed are judged one by one."""
        again: list[_Case] = []
        for part in _parts(cases):
            outcomes = await self._outcomes(part, rows)
            for case, outcome in zip(part, outcomes, strict=True):
                if outcome == TIMED_OUT:
                    self._set_aside(case, verdicts)
                else:
                    again += self._note(case, outcome, verdicts)
        if again:
            await self._settle(again, rows, verdicts)

    def _set_aside(self, case: _Case, verdicts: Verdicts) -> None:
        if self._faults.is_held(case.claims):
            faults = dict.fromkeys(case.changes, ERROR_SLOW)
            verdicts.by_claims[case.claims].faults.update(faults)
        else:
            verdicts.slow.add(case.claims)

    def _note(self, case: _Case, outcome: _Outcome, verdicts: Verdicts) -> list[_Case]:
        """Note an outcome; return what has to be asked again to know which row is to blame."""
        verdict = verdicts.by_claims[case.claims]
        if not isinstance(outcome, str):
            verdict.visible.update(case.changes[place - 1] for place in outcome)
        elif outcome in OUTDATED or len(case.changes) == 1:
            verdicts.is_outdated |= outcome in OUTDATED
            fault = self._faults.note(case.claims, outcome)
            verdict.faults.update(dict.fromkeys(case.changes, fault))
        else:
            return [_Case(case.claims, (change,)) for change in case.changes]
        return []

    async def _outcomes(self, cases: Sequence[_Case], rows: Rows) -> list[_Outcome]:
        """Return what came out for each case: that the time was over for those who are slow, or were."""
        outcomes: list[_Outcome] = [TIMED_OUT] * len(cases)
        rest = [
            place for place, case in enumerate(cases) if not self._faults.is_held(case.claims)
        ]
        slow = 0
        while rest and slow < SLOW_ONES:
            found = await self._found([cases[place] for place in rest], rows)
            for place, outcome in zip(rest, found, strict=True):
                outcomes[place] = TIMED_OUT if outcome == OUT_OF_TIME else outcome
            slow += found.count(TIMED_OUT)
            rest = [
                place
                for place, outcome in zip(rest, found, strict=True)
                if outcome == OUT_OF_TIME
            ]
        return outcomes

    async def _found(
        self, cases: Sequence[_Case], rows: Rows, *, is_alone: bool = False
    ) -> list[_Outcome]:
        """Return what came out of one statement; if a value of one kept Postgres from reading it, of one for each.

        Raises:
            DatabaseUnavailable: Postgres could not be asked, or could judge nothing for now.
        """
        try:
            found = await self._ask(cases, rows, is_alone=is_alone)
        except StatementFailed as failed:
            is_of_one = failed.sqlstate == UNSENT or failed.sqlstate.startswith(UNREADABLE)
            if len(cases) == 1 or not is_of_one:
                found = [failed.sqlstate] * len(cases)
            else:
                found = [(await self._found([case], rows))[0] for case in cases]
        if all(isinstance(outcome, str) and outcome.startswith(TRANSIENT) for outcome in found):
            raise DatabaseUnavailable(_TRANSIENT)
        return found

    async def _ask(
        self, cases: Sequence[_Case], rows: Rows, *, is_alone: bool
    ) -> list[_Outcome]:
        """Put the cases to Postgres by one statement; those behind one that took too long are out of time, too.

        Raises:
            StatementFailed: Postgres refused it.
            DatabaseUnavailable: Postgres could not be asked, or a commit is not through in time.
        """
        numbers: dict[tuple[Change, ...], int] = {}
        for case in cases:
            numbers.setdefault(case.changes, len(numbers) + 1)
        # The function reads a list when its number changes.
        order = sorted(range(len(cases)), key=lambda place: numbers[cases[place].changes])
        ordered = [cases[place] for place in order]
        lists = [[rows[change] for change in changes] for changes in numbers]
        arguments = [
            sorted({change.xid for changes in numbers for change in changes} - {0}),
            [case.claims for case in ordered],
            [numbers[case.changes] for case in ordered],
            *(
                [text_array([values[place] for values in listed]) for listed in lists]
                for place in range(len(lists[0][0]))
            ),
        ]
        found: list[_Outcome] = [[] for _ in cases]
        for place, seen, failure in await self._call(arguments, is_alone=is_alone):
            found[order[place - 1]] = seen or failure or []
            if failure in OUT:
                # Whoever comes first had all of the time.
                found[order[place - 1]] = TIMED_OUT if place == 1 else failure
                for behind in order[place:]:
                    found[behind] = OUT_OF_TIME
        return found

    async def _call(
        self, arguments: Sequence[object], *, is_alone: bool
    ) -> Sequence[tuple[int, list[int] | None, str | None]]:
        deadline = trio.current_time() + COMMIT_WITHIN_S
        while True:
            try:
                answer = await self._sessions.call(
                    self._query, arguments, is_slow=self._is_slow, is_alone=is_alone
                )
            except StatementFailed as failed:
                if not is_alone:
                    self._is_slow = failed.sqlstate == TIMED_OUT
                if failed.sqlstate != UNFINISHED:
                    raise
            else:
                is_over = any(failure in OUT for _, _, failure in answer.rows)
                if not is_alone:
                    self._is_slow = is_over or answer.took_s > SLOW_S
                return answer.rows
            if trio.current_time() > deadline:
                raise DatabaseUnavailable(_UNFINISHED)
            await trio.sleep(LOOK_AGAIN_S)


def _merged(requests: Iterable[Request]) -> tuple[list[_Case], Rows]:
    """Return one case for each set of claims, and the values of all rows."""
    rows: Rows = {}
    wanted: dict[str, dict[Change, None]] = {}
    merged: Mapping[Change, tuple[str | None, ...]] | None = None
    for request in requests:
        if request.rows is not merged:
            merged = request.rows
            rows.update(merged)
        wanted.setdefault(request.claims, {}).update(dict.fromkeys(request.rows))
    return [_Case(claims, tuple(changes)) for claims, changes in wanted.items()], rows


def _parts(cases: Sequence[_Case]) -> Iterator[Sequence[_Case]]:
    """Yield the cases in parts that one statement has time for."""
    start = pairs = 0
    for place, case in enumerate(cases):
        if pairs and pairs + len(case.changes) > MAX_PAIRS:
            yield cases[start:place]
            start, pairs = place, 0
        pairs += len(case.changes)
    yield cases[start:]
