"""Asks Postgres which rows may be seen with which claims, and finds out whose fault it is when that fails.

Called by `visibility` for one query (`row_query`) at a time; the statements run in `row_sessions`.

**Invariants**
- Claims under which a policy fails or dawdles are refused alone, and so is a row.
- A judgement is made only when the transactions that wrote the rows are through for other sessions.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field, frozen

from actors.db.row_query import RENAMED, UNFINISHED, text_array
from actors.db.row_sessions import StatementFailed
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actors.db.row_query import RowQuery
    from actors.db.row_sessions import RowSessions
    from protocol.changes.model import Change

#: How many judgements one statement makes at most: some tenths of a second's worth under a usual policy.
MAX_PAIRS = 20_000
#: After so many timeouts without anything else a policy is taken to be slow for everybody, and the rest is not tried.
MAX_TIMEOUTS = 5
#: How long claims that took too long are refused without asking, in seconds.
QUARANTINE_S = 30.0
MAX_QUARANTINED = 10_000
#: What takes longer is slow, in seconds.
SLOW_S = 0.5
#: How long to wait for a commit to be through, and how often to look, in seconds.
COMMIT_WITHIN_S = 2.0
LOOK_AGAIN_S = 0.002
#: How often the same failure of the same query is logged, in seconds.
LOG_AGAIN_S = 60.0

ERROR_FAILED = "Error 500: Internal Server Error, row security failed"
ERROR_SLOW = "Error 504: Gateway Timeout, row security took too long"

TIMED_OUT = "57014"
NOT_TRIED = "not tried"
#: The table is locked, or Postgres has no room: this is not about the claims.
TRANSIENT = ("55P03", "53")
#: The table, a column, the schema or the session's function is not there under the name known.
OUTDATED = ("42P01", "42703", "3F000", "42883", RENAMED)
#: A value that psycopg cannot send (it has no SQLSTATE then), or Postgres cannot take: it spoils the whole statement.
UNSENT = ""
UNREADABLE = "22"

_UNFINISHED = "A commit is not through yet: Postgres waits for a standby."
_TRANSIENT = "Postgres could not judge rows: a table is locked, or a resource is used up."


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
    """What came out, by claims; `is_outdated` says that the names in the query mean nothing any more."""

    by_claims: dict[str, Verdict] = field(factory=dict[str, Verdict])
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
    """Judges rows by one query; used by one task at a time."""

    _query: RowQuery
    _sessions: RowSessions
    _is_slow: bool = field(default=False, init=False)
    _quarantine: dict[str, float] = field(factory=dict[str, float], init=False)
    _logged: dict[str, float] = field(factory=dict[str, float], init=False)

    async def judge(self, batch: Sequence[Sequence[Request]]) -> Verdicts:
        """Answer all requests, with one statement if nothing is wrong.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        rows: dict[Change, tuple[str | None, ...]] = {}
        wanted: dict[str, dict[Change, None]] = {}
        merged: Mapping[Change, tuple[str | None, ...]] | None = None
        for request in chain.from_iterable(batch):
            if request.rows is not merged:
                merged = request.rows
                rows.update(merged)
            wanted.setdefault(request.claims, {}).update(dict.fromkeys(request.rows))
        cases = [_Case(claims, tuple(changes)) for claims, changes in wanted.items()]
        verdicts = Verdicts({claims: Verdict() for claims in wanted})
        await self._settle(cases, rows, verdicts)
        return verdicts

    async def _settle(
        self,
        cases: Sequence[_Case],
        rows: Mapping[Change, tuple[str | None, ...]],
        verdicts: Verdicts,
    ) -> None:
        """Judge the cases and note the outcome; the rows of one that failed are judged one by one."""
        alone: list[_Case] = []
        for part in _parts(cases):
            outcomes = await self._outcomes(part, rows)
            if all(
                isinstance(outcome, str) and outcome.startswith(TRANSIENT)
                for outcome in outcomes
            ):
                raise DatabaseUnavailable(_TRANSIENT)
            for case, outcome in zip(part, outcomes, strict=True):
                verdict = verdicts.by_claims[case.claims]
                if not isinstance(outcome, str):
                    verdict.visible.update(case.changes[place - 1] for place in outcome)
                elif outcome in OUTDATED:
                    verdicts.is_outdated = True
                    fault = self._fault(case.claims, outcome)
                    verdict.faults.update(dict.fromkeys(case.changes, fault))
                elif outcome == NOT_TRIED:
                    verdict.faults.update(dict.fromkeys(case.changes, ERROR_SLOW))
                elif len(case.changes) > 1:
                    alone += (_Case(case.claims, (change,)) for change in case.changes)
                else:
                    verdict.faults[case.changes[0]] = self._fault(case.claims, outcome)
        if alone:
            await self._settle(alone, rows, verdicts)

    async def _outcomes(
        self, cases: Sequence[_Case], rows: Mapping[Change, tuple[str | None, ...]]
    ) -> list[_Outcome]:
        """Return what came out for each case; if all of them fail together, each is tried alone."""
        outcomes: list[_Outcome] = [TIMED_OUT] * len(cases)
        places = [place for place, case in enumerate(cases) if not self._is_held(case.claims)]
        if not places:
            return outcomes
        try:
            found = await self._ask([cases[place] for place in places], rows)
        except StatementFailed as failed:
            is_of_one = failed.sqlstate in {TIMED_OUT, UNSENT} or failed.sqlstate.startswith(
                UNREADABLE
            )
            if len(places) == 1 or not is_of_one:
                found = [failed.sqlstate] * len(places)
            else:
                found = await self._ask_alone([cases[place] for place in places], rows)
        for place, outcome in zip(places, found, strict=True):
            outcomes[place] = outcome
        return outcomes

    async def _ask_alone(
        self, cases: Sequence[_Case], rows: Mapping[Change, tuple[str | None, ...]]
    ) -> list[_Outcome]:
        found: list[_Outcome] = []
        for case in cases:
            if len(found) == MAX_TIMEOUTS and found.count(TIMED_OUT) == MAX_TIMEOUTS:
                break
            try:
                found += await self._ask([case], rows)
            except StatementFailed as failed:
                found.append(failed.sqlstate)
        return found + [NOT_TRIED] * (len(cases) - len(found))

    async def _ask(
        self, cases: Sequence[_Case], rows: Mapping[Change, tuple[str | None, ...]]
    ) -> list[_Outcome]:
        """Put the cases to Postgres by one statement.

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
        for place, seen, failure in await self._call(arguments):
            found[order[place - 1]] = seen or failure or []
        return found

    async def _call(
        self, arguments: Sequence[object]
    ) -> Sequence[tuple[int, list[int] | None, str | None]]:
        deadline = trio.current_time() + COMMIT_WITHIN_S
        while True:
            try:
                answer = await self._sessions.call(
                    self._query, arguments, is_slow=self._is_slow
                )
            except StatementFailed as failed:
                self._is_slow = failed.sqlstate == TIMED_OUT
                if failed.sqlstate != UNFINISHED:
                    raise
            else:
                self._is_slow = answer.took_s > SLOW_S
                return answer.rows
            if trio.current_time() > deadline:
                raise DatabaseUnavailable(_UNFINISHED)
            await trio.sleep(LOOK_AGAIN_S)

    def _is_held(self, claims: str) -> bool:
        return self._quarantine.get(claims, 0.0) > trio.current_time()

    def _fault(self, claims: str, sqlstate: str) -> str:
        """Note why a row cannot be judged, and return what the client is told."""
        now = trio.current_time()
        if now >= self._logged.get(sqlstate, 0.0) + LOG_AGAIN_S:
            self._logged[sqlstate] = now
            structlog.get_logger().warning(
                "policy.failed",
                schema=self._query.schema,
                table=self._query.table,
                role=self._query.role,
                sqlstate=sqlstate,
            )
        if sqlstate != TIMED_OUT:
            return ERROR_FAILED
        if not self._is_held(claims):
            if len(self._quarantine) >= MAX_QUARANTINED:
                self._quarantine.clear()
            self._quarantine[claims] = now + QUARANTINE_S
        return ERROR_SLOW


def _parts(cases: Sequence[_Case]) -> Iterator[Sequence[_Case]]:
    """Yield the cases in parts that one statement has time for."""
    start = pairs = 0
    for place, case in enumerate(cases):
        if pairs and pairs + len(case.changes) > MAX_PAIRS:
            yield cases[start:place]
            start, pairs = place, 0
        pairs += len(case.changes)
    yield cases[start:]
