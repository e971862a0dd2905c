"""An alarm: one task sleeps until the earliest of the times that others name while it sleeps."""

from __future__ import annotations

import math

import trio


class Alarm:
    """Times are on trio's clock; who sleeps is woken once for all times that have come."""

    def __init__(self) -> None:
        self._deadline = math.inf
        self._sleep: trio.CancelScope | None = None

    def ring_within(self, seconds: float) -> None:
        """Wake the sleeper after so many seconds, unless it wakes before that anyway; never waits."""
        self._deadline = min(self._deadline, trio.current_time() + seconds)
        if self._sleep is not None:
            self._sleep.deadline = self._deadline

    async def wait(self) -> None:
        """Sleep until the earliest time that was named, which is then forgotten with all others."""
        with trio.CancelScope(deadline=self._deadline) as self._sleep:
            await trio.sleep_forever()
        self._sleep = None
        self._deadline = math.inf
