"""Lets one question be in flight at a time, and asks for everybody at once who came meanwhile.

Called by `privileges`, `visibility` and `probes`; what is asked and how is the caller's.
There is no timer: a question goes out at once when none is in flight.

**Invariants**
- Whoever asks gets the answer to a question that was asked after he came.
- Who is cancelled, or fails by a bug, leaves the others their answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import trio
from attrs import define, field

from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@define(eq=False)
class _Batch(Generic[Request, Answer]):
    """Requests that are answered together; `is_broken` when a bug kept them from it."""

    requests: list[Request] = field(factory=list)
    answers: list[Answer] = field(factory=list)
    refusal: DatabaseUnavailable | None = None
    is_broken: bool = False

    @property
    def is_over(self) -> bool:
        return bool(self.answers) or self.refusal is not None


@define(eq=False)
class Coalescer(Generic[Request, Answer]):
    """`answer_all` takes all requests of a batch and returns what answers every one of them."""

    _answer_all: Callable[[Sequence[Request]], Awaitable[Answer]]
    _turn: trio.Lock = field(factory=trio.Lock, init=False)
    _gathering: _Batch[Request, Answer] | None = field(default=None, init=False)

    async def answer(self, request: Request) -> Answer:
        """Return the answer for `request` and those that went with it.

        Raises:
            DatabaseUnavailable: as `answer_all` raised it, for the whole batch.
        """
        batch = self._gathering
        if batch is None:
            batch = self._gathering = _Batch[Request, Answer]()
        batch.requests.append(request)
        async with self._turn:
            if self._gathering is batch:
                self._gathering = None
            if batch.is_broken:
                # One of the requests is behind a bug; whose it is shows when everybody asks for himself.
                return await self._answer_all([request])
            if not batch.is_over:
                await self._run(batch)
        if batch.refusal is not None:
            # Of the same kind, but each asker's own: an exception carries the way it came.
            raise type(batch.refusal)(batch.refusal.advice)
        return batch.answers[0]

    async def _run(self, batch: _Batch[Request, Answer]) -> None:
        try:
            batch.answers.append(await self._answer_all(batch.requests))
        except DatabaseUnavailable as away:
            batch.refusal = away
        except Exception:
            batch.is_broken = True
            raise
