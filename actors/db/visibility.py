"""Who may see which row of a change and which of its columns, by the privileges and policies that Postgres knows.

Called by the rows actors through the port `Visibility`.
What a role may do is known for a moment (`privileges`), and what that means for a change is decided in `sights`.
Rows under row security are put to Postgres (`row_judge`), one statement for everybody who waits for the same query.

**Invariants**
- Fails closed: what cannot be decided is withheld, or told as a fault.
- A table without row security, or a role that it does not bind, costs no statement for each change.
- Queries do not wait for one another: a slow policy delays those who asked under it.

**Source**: spec 6.5, ADR 0045.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from actors.db.claim_excerpts import ClaimExcerpts
from actors.db.coalescer import Coalescer
from actors.db.privileges import Privileges, role_name
from actors.db.row_judge import Request, RowJudge, Verdict, Verdicts
from actors.db.row_sessions import RowSessions
from actors.db.sights import Decider, Sights, Strictness
from actors.realtime.change_ports import Sight
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actors.db.pool import Pool
    from actors.db.privileges import Access
    from actors.db.row_query import RowQuery
    from actors.realtime.change_ports import Question
    from actors.realtime.ports import Identity
    from protocol.changes.model import Change

    #: What an identity asks about: what is decided for its role, and what each query reads of its claims.
    _Case = tuple[Sights, tuple[str, ...]]

#: How many queries are remembered; there is one for each table, role and form of a row.
MAX_LINES = 1000


@frozen
class VisibilityOptions:
    """`timeout_s` bounds a statement that asks policies; `strictness` is what is asked beyond spec 6.5."""

    timeout_s: float = 2.0
    strictness: Strictness = field(factory=Strictness)


@define(eq=False)
class _Line:
    """Those who wait for the same query: who has slow claims waits longer, after the others have their answer."""

    _judge: RowJudge
    _together: Coalescer[Sequence[Request], Verdicts] = field(init=False)

    @_together.default
    def _make_together(self) -> Coalescer[Sequence[Request], Verdicts]:
        return Coalescer(self._judge.judge)

    async def answer(self, requests: Sequence[Request]) -> Verdicts:
        """Return what came out for these requests, and maybe for others.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        verdicts = await self._together.answer(requests)
        slow = [request for request in requests if request.claims in verdicts.slow]
        if not slow:
            return verdicts
        alone = await self._judge.judge_alone(slow)
        return Verdicts(
            verdicts.by_claims | alone.by_claims,
            is_outdated=verdicts.is_outdated or alone.is_outdated,
        )


@define(eq=False)
class DatabaseVisibility:
    """Answers by privileges and row security; see the port for the contract."""

    _privileges: Privileges
    _sessions: RowSessions
    _decider: Decider
    _excerpts: ClaimExcerpts = field(factory=ClaimExcerpts, init=False)
    _lines: dict[RowQuery, _Line] = field(factory=dict["RowQuery", "_Line"], init=False)

    @classmethod
    def open(cls, pool: Pool, options: VisibilityOptions | None = None) -> DatabaseVisibility:
        """Return the visibility of the pool's database; policies are asked on connections of its own."""
        options = options or VisibilityOptions()
        sessions = RowSessions.open(pool.conninfo, options.timeout_s)
        return cls(Privileges(pool), sessions, Decider(options.strictness))

    def close(self) -> None:
        """Close the connections of its own."""
        self._sessions.close()

    async def check(self, questions: Sequence[Question]) -> Sequence[Mapping[Change, Sight]]:
        answers, is_outdated = await self._check(questions)
        if is_outdated:
            for question in questions:
                role = role_name(question.identity.role)
                for oid in _relations(question.changes):
                    self._privileges.forget(oid, role)
            answers, _ = await self._check(questions)
        return answers

    async def _check(
        self, questions: Sequence[Question]
    ) -> tuple[Sequence[Mapping[Change, Sight]], bool]:
        """Return the answers, and whether they rest on names that mean nothing any more."""
        decided = await self._decide(questions)
        cases = [
            (sights, self._claims(question.identity, sights))
            for question, sights in zip(questions, decided, strict=True)
        ]
        # Who shares both is asked about once, and shares the answer.
        distinct = dict.fromkeys(cases)
        asked: dict[RowQuery, list[Request]] = {}
        for sights, claims in distinct:
            for (query, rows), excerpt in zip(sights.judged.items(), claims, strict=True):
                asked.setdefault(query, []).append(Request(excerpt, rows.values))
        verdicts = await self._judge(asked)
        answers = _answers(distinct, verdicts)
        is_outdated = any(verdict.is_outdated for verdict in verdicts.values())
        return [answers[case] for case in cases], is_outdated

    def _claims(self, identity: Identity, sights: Sights) -> tuple[str, ...]:
        """Return what each of the queries is asked about: the claims on which it depends."""
        return tuple(
            self._excerpts.of(identity.claims, query.claims_read) for query in sights.judged
        )

    async def _decide(self, questions: Sequence[Question]) -> Sequence[Sights]:
        """Return for each question what the privileges of its role mean for its changes."""
        names = {role: role_name(role) for role in {one.identity.role for one in questions}}
        subjects = [(names[question.identity.role], question.changes) for question in questions]
        # Who shares a tuple is looked at once.
        distinct = {(role, id(changes)): (role, changes) for role, changes in subjects}
        keys = {
            (oid, role) for role, changes in distinct.values() for oid in _relations(changes)
        }
        accesses: dict[str, dict[int, Access]] = {role: {} for role, _ in subjects}
        for (oid, role), access in (await self._privileges.find(keys)).items():
            accesses[role][oid] = access
        decided = {
            place: self._decider.decide(changes, accesses[role])
            for place, (role, changes) in distinct.items()
        }
        return [decided[role, id(changes)] for role, changes in subjects]

    async def _judge(
        self, asked: Mapping[RowQuery, Sequence[Request]]
    ) -> Mapping[RowQuery, Verdicts]:
        """Put each query to Postgres, all at the same time.

        Raises:
            DatabaseUnavailable: one of them could not be put.
        """
        if len(asked) == 1:
            ((query, requests),) = asked.items()
            return {query: await self._line(query).answer(requests)}
        verdicts: dict[RowQuery, Verdicts] = {}
        refusals: list[DatabaseUnavailable] = []

        async def ask(query: RowQuery, requests: Sequence[Request]) -> None:
            try:
                verdicts[query] = await self._line(query).answer(requests)
            except DatabaseUnavailable as away:
                refusals.append(away)

        async with trio.open_nursery() as nursery:
            for query, requests in asked.items():
                nursery.start_soon(ask, query, requests)
        if refusals:
            raise refusals[0]
        return verdicts

    def _line(self, query: RowQuery) -> _Line:
        line = self._lines.get(query)
        if line is None:
            if len(self._lines) >= MAX_LINES:
                self._lines.clear()
            line = self._lines[query] = _Line(RowJudge.open(query, self._sessions))
        return line


def _relations(changes: Sequence[Change]) -> set[int]:
    return {table.relation.oid for table in {change.table for change in changes}}


def _answers(
    cases: Iterable[_Case], verdicts: Mapping[RowQuery, Verdicts]
) -> Mapping[_Case, Mapping[Change, Sight]]:
    """Return the answer for each case; those of whom the same was found share one."""
    answers: dict[_Case, Mapping[Change, Sight]] = {}
    known: dict[tuple[object, ...], Mapping[Change, Sight]] = {}
    for case in cases:
        sights, claims = case
        found = [
            verdicts[query].by_claims[excerpt]
            for query, excerpt in zip(sights.judged, claims, strict=True)
        ]
        faults = (tuple(verdict.faults.items()) for verdict in found)
        key = (sights, *(frozenset(verdict.visible) for verdict in found), *faults)
        answer = known.get(key)
        if answer is None:
            answer = known[key] = _answer(sights, found)
        answers[case] = answer
    return answers


def _answer(sights: Sights, found: Sequence[Verdict]) -> Mapping[Change, Sight]:
    if not sights.judged:
        return sights.shown
    answer = dict(sights.shown)
    for rows, verdict in zip(sights.judged.values(), found, strict=True):
        # Others may have asked about other rows in the same breath.
        for change in verdict.visible:
            if change in rows.sights:
                answer[change] = rows.sights[change]
        for change, fault in verdict.faults.items():
            if change in rows.sights:
                answer[change] = Sight(frozenset(), fault=fault)
    return answer
