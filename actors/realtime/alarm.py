"""An alarm: interrupts who waits for something else at the earliest of the times that were named.

A connection waits for its mailbox anyway; a task of its own for the times would take another 1.5 KB.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Alarm:
    """Times are on trio's clock; it rings once for all times that have come."""

    __slots__ = ("_deadline", "_waiting")

    def __init__(self) -> None:
        self._deadline = math.inf
        self._waiting: trio.CancelScope | None = None

    def ring_within(self, seconds: float) -> None:
        """Ring after so many seconds, unless it rings before that anyway; never waits."""
        self._deadline = min(self._deadline, trio.current_time() + seconds)
        if self._waiting is not None:
            self._waiting.deadline = self._deadline

    async def before(self, wait: Callable[[], Awaitable[T]]) -> T | None:
        """Return what `wait` returns, or None if the alarm rings before: `wait` is cancelled, all times are over."""
        with trio.CancelScope(deadline=self._deadline) as self._waiting:
            return await wait()
        self._waiting = None
        self._deadline = math.inf
        return None
