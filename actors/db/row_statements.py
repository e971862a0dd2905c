"""The statements that judge rows: many cases are put to Postgres at once, and each has its outcome.

Used by `row_judge`, one for each query (`row_query`); the statements run in `row_sessions`.

**Invariants**
- A value that keeps Postgres from reading a statement spoils the case that it is part of, and no other.
- Rows are judged only when the transactions that wrote them are through for other sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from actors.db.row_query import OUT_OF_TIME, UNFINISHED, text_array
from actors.db.row_sessions import StatementFailed
from actors.db.sqlstates import QUERY_CANCELED
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.db.row_query import RowQuery
    from actors.db.row_sessions import RowSessions
    from protocol.changes.model import Change

#: What takes longer is slow, in seconds.
SLOW_S = 0.25
#: How long to wait for a commit to be through, and how often to look, in seconds.
COMMIT_WITHIN_S = 2.0
LOOK_AGAIN_S = 0.002

#: The table is locked, or Postgres has no room: this is not about the claims.
TRANSIENT = ("55P03", "53")
#: A value that psycopg cannot send (it has no SQLSTATE then), or Postgres cannot take: it spoils the whole statement.
UNSENT = ""
UNREADABLE = "22"
#: The time of the statement was over.
OUT = (QUERY_CANCELED, OUT_OF_TIME)

_UNFINISHED = "A commit is not through yet: Postgres waits for a standby."
_TRANSIENT = "Postgres could not judge rows: a table is locked, or a resource is used up."


#: The values that the query wants of each row.
Rows = dict["Change", tuple[str | None, ...]]


@frozen
class Case:
    """What is judged at once: the changes asked about with one set of claims."""

    claims: str
    changes: tuple[Change, ...]


#: The places of the changes that may be seen, counted from 1, or the SQLSTATE of what went wrong.
Outcome = list[int] | str


@define(eq=False)
class RowStatements:
    """Puts cases to Postgres by one query; `run` is used by one task at a time, and by any for a case alone."""

    _query: RowQuery
    _sessions: RowSessions
    _is_slow: bool = field(default=False, init=False)

    async def run(
        self, cases: Sequence[Case], rows: Rows, *, is_alone: bool = False
    ) -> list[Outcome]:
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
                found = [(await self.run([case], rows))[0] for case in cases]
        if all(isinstance(outcome, str) and outcome.startswith(TRANSIENT) for outcome in found):
            raise DatabaseUnavailable(_TRANSIENT)
        return found

    async def _ask(self, cases: Sequence[Case], rows: Rows, *, is_alone: bool) -> list[Outcome]:
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
        found: list[Outcome] = [[] for _ in cases]
        for place, seen, failure in await self._call(arguments, is_alone=is_alone):
            found[order[place - 1]] = seen or failure or []
            if failure in OUT:
                # Whoever comes first had all of the time.
                found[order[place - 1]] = QUERY_CANCELED if place == 1 else failure
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
                    self._is_slow = failed.sqlstate == QUERY_CANCELED
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
