"""Judging: which of the interests that may want a change do want it.

Called by the rows actor for a batch of changes.
Filters were made ready when their clients subscribed; here they are made ready anew where a table has changed since,
and Postgres is asked where this process cannot tell.

**Invariants**
- Rows are judged by a predicate that was made for a table as it is in these rows, or not at all.
- What goes wrong with one filter is told to its own subscription, whose rows are withheld; others do not notice.

**Source**: spec 6.2 and 6.6; upstream's pipeline stalls at a filter that raises, ours must not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from actors.realtime.change_ports import FilterRequest, Undecided
from actors.realtime.matching import STEPS_PER_CHECKPOINT
from actors.realtime.predicate_pool import fits
from actors.realtime.subscribing import prepare
from protocol.changes.predicates import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.interests import Crowd
    from actors.realtime.matching import Candidate
    from actors.realtime.pending_rows import PendingRows
    from protocol.changes.model import Change, Value
    from protocol.changes.predicates import Predicate


@define(eq=False)
class Complaints:
    """What went wrong with filters, in the order it did: whom to tell, and what; None that all is well again."""

    found: list[tuple[Crowd, str | None]] = field(factory=list)

    def add(self, candidate: Candidate, fault: str | None) -> None:
        """Note the fault of a candidate's filter, in the words of Postgres."""
        text = None if fault is None else candidate.interest.entry.failed(fault)
        self.found.append((candidate.crowd, text))


class Judge:
    """Judges the candidates of one channel; see the module's text."""

    def __init__(self, pending: PendingRows, feed: ChangeFeed) -> None:
        self._pending = pending
        self._feed = feed

    async def decide(self, candidates: Sequence[Candidate]) -> Complaints:
        """Set `is_wanted` of every candidate; return what went wrong.

        Raises:
            Unavailable: the database could not be asked.
        """
        complaints = Complaints()
        filtered: list[Candidate] = []
        outdated: list[Candidate] = []
        for step, candidate in enumerate(candidates, 1):
            candidate.is_wanted = not candidate.interest.entry.conditions
            if not candidate.is_wanted:
                filtered.append(candidate)
                if not self._find(candidate):
                    outdated.append(candidate)
            if step % STEPS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
        if outdated:
            await self._make_ready(outdated, complaints)
        await self._ask(await self._judge(filtered), complaints)
        return complaints

    async def _make_ready(
        self, candidates: Sequence[Candidate], complaints: Complaints
    ) -> None:
        """Let Postgres make predicates anew that do not fit the rows."""
        answers = await prepare(map(_request, candidates), self._feed)
        for candidate in candidates:
            self._adopt(candidate, answers[_request(candidate)], complaints)
            self._find(candidate)

    def _find(self, candidate: Candidate) -> bool:
        """Set the predicate if there is one; return whether it was made for the table of these rows."""
        table, interest = candidate.change.table, candidate.interest
        oid = table.relation.oid
        is_newest = interest.made_for.get(oid) is table
        predicate = interest.predicates.get(oid)
        if predicate is None or isinstance(predicate, str):
            return is_newest
        candidate.predicate = self._feed.predicates.ready(predicate, table)
        return is_newest or fits(candidate.predicate)

    def _adopt(
        self, candidate: Candidate, answer: Predicate | str, complaints: Complaints
    ) -> None:
        """Let an interest have the predicate, or the fault, that was made for a table."""
        table, interest = candidate.change.table, candidate.interest
        oid = table.relation.oid
        if interest.made_for.get(oid) is table:
            return
        earlier = interest.predicates.get(oid)
        interest.predicates[oid] = answer
        interest.made_for[oid] = table
        candidate.predicate = None
        if isinstance(answer, str):
            complaints.add(candidate, answer)
        elif isinstance(earlier, str):
            complaints.add(candidate, None)
        # Meanwhile its crowd may have left, or been resolved anew.
        if self._pending.interests.has(interest):
            moved = self._pending.interests.reroute(interest)
            self._feed.router.move(moved, self._pending)

    async def _judge(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Judge each row once by each predicate; return those whom Postgres has to be asked for."""
        verdicts: dict[tuple[Predicate, Change], Verdict] = {}
        undecided = []
        for step, candidate in enumerate(candidates, 1):
            predicate, change = candidate.predicate, candidate.change
            if step % STEPS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
            if predicate is None:
                continue
            verdict = verdicts.get((predicate, change))
            if verdict is None:
                verdict = verdicts[predicate, change] = predicate.judge(_row(change))
            candidate.is_wanted = verdict is Verdict.YES
            if verdict is Verdict.ASK:
                undecided.append(candidate)
        return undecided

    async def _ask(self, candidates: Sequence[Candidate], complaints: Complaints) -> None:
        """Ask Postgres, in one batch and each question once."""
        questions: dict[tuple[Predicate, Change], None] = {}
        for candidate in candidates:
            if candidate.predicate is not None:
                questions[candidate.predicate, candidate.change] = None
        if not questions:
            return
        asked = [(predicate, _row(change)) for predicate, change in questions]
        answers = dict(zip(questions, await self._feed.filters.judge(asked), strict=True))
        for candidate in candidates:
            if candidate.predicate is not None:
                answer = answers[candidate.predicate, candidate.change]
                candidate.is_wanted = answer is True
                if isinstance(answer, Undecided):
                    complaints.add(candidate, answer.fault)


def _request(candidate: Candidate) -> FilterRequest:
    oid = candidate.change.table.relation.oid
    conditions = candidate.interest.entry.conditions
    return FilterRequest(oid, candidate.crowd.key.role, conditions)


def _row(change: Change) -> tuple[Value, ...]:
    """Return the row that filters look at: the new one, of a DELETE the old one.

    **Source**: spec 6.2: UPDATE filters look at the new row only.
    """
    row = change.old if change.new is None else change.new
    return row or ()
