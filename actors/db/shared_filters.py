"""Filters asked about by many at once: clients that come back together, and channels that hear of the same row.

Stands in front of `filters`, as the port `Filters` itself; made by the node.
A few batches are under way at a time, and who comes meanwhile goes with the next of the lane that is least busy.

**Invariants**
- Never more than `LANES` questions of a kind are with the database, so the pool has room for others.
- A question that takes long delays those who went with it or chose the same lane, and nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, field

from actors.db.coalescer import Coalescer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actors.realtime.change_ports import FilterRequest, Filters, Undecided
    from protocol.changes.model import Value
    from protocol.changes.predicates import Predicate

    Judged = tuple[Predicate, tuple[Value, ...]]

#: The pool has four connections.
LANES = 2

Q = TypeVar("Q")
A = TypeVar("A")


@define(eq=False)
class _Lane(Generic[Q, A]):
    """One batch at a time; `waiting` is how many have not got their answer."""

    batches: Coalescer[Sequence[Q], Mapping[Q, A]]
    waiting: int = 0


class _Lanes(Generic[Q, A]):
    """Answers lists of questions, each question once per batch; `answer` takes a list without repetitions."""

    def __init__(self, answer_batch: Callable[[list[Q]], Awaitable[Sequence[A]]]) -> None:
        self._answer_batch = answer_batch
        self._lanes: list[_Lane[Q, A]] = [
            _Lane(Coalescer(self._answer_all)) for _ in range(LANES)
        ]

    async def answer(self, questions: Sequence[Q]) -> list[A]:
        if not questions:
            return []
        lane = min(self._lanes, key=lambda one: one.waiting)
        lane.waiting += 1
        try:
            answers = await lane.batches.answer(questions)
        finally:
            lane.waiting -= 1
        return [answers[question] for question in questions]

    async def _answer_all(self, requests: Sequence[Sequence[Q]]) -> Mapping[Q, A]:
        distinct = list(dict.fromkeys(question for request in requests for question in request))
        return dict(zip(distinct, await self._answer_batch(distinct), strict=True))


@define(eq=False)
class SharedFilters:
    """See the port for the contract."""

    _filters: Filters
    _compiling: _Lanes[FilterRequest, Predicate | str] = field(init=False)
    _judging: _Lanes[Judged, bool | Undecided] = field(init=False)

    @_compiling.default
    def _make_compiling(self) -> _Lanes[FilterRequest, Predicate | str]:
        return _Lanes(self._filters.compile)

    @_judging.default
    def _make_judging(self) -> _Lanes[Judged, bool | Undecided]:
        return _Lanes(self._filters.judge)

    async def compile(self, requests: Sequence[FilterRequest]) -> Sequence[Predicate | str]:
        return await self._compiling.answer(requests)

    async def judge(
        self, questions: Sequence[tuple[Predicate, Sequence[Value]]]
    ) -> Sequence[bool | Undecided]:
        return await self._judging.answer([(one, tuple(values)) for one, values in questions])
