"""When a child that ended lives again: by its spec, by how often it crashed, and after how long a wait.

Asked by the supervisor for its dynamic children and by `static_children.py` for the others.

**Invariant** I15: windows and delays use the trio clock, and luck comes from the generator that was handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actors.core.reports import RestartReport
from actors.core.spec import Restart

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from actors.core.cell import Cell
    from actors.core.reports import Report
    from actors.core.spec import Intensity


def shall_live_on(restart: Restart, *, crashed: bool) -> bool:
    """Say whether a child that ended by itself is started again."""
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return crashed
        case Restart.TEMPORARY:
            return False


class Restarts:
    """How one supervisor counts, delays and reports restarts."""

    def __init__(
        self, intensity: Intensity, random: Random, observe: Callable[[Report], None]
    ) -> None:
        self._intensity = intensity
        self._random = random
        self._observe = observe

    def is_too_often(self, crashes: list[float]) -> bool:
        """Count a crash now; say whether there are more within the period than tolerated."""
        now = trio.current_time()
        crashes.append(now)
        while crashes[0] <= now - self._intensity.period:
            del crashes[0]
        return len(crashes) > self._intensity.restarts

    def schedule(self, cell: Cell[Any]) -> float:
        """Note when the next incarnation is due, now that one ended; report it and return the seconds until then."""
        now = trio.current_time()
        is_in_a_row = now - cell.began_at <= self._intensity.period
        cell.crashes_in_a_row = cell.crashes_in_a_row + 1 if is_in_a_row else 1
        delay = cell.spec.backoff.delay(cell.crashes_in_a_row, self._random.random())
        cell.due_at = now + delay
        self._observe(RestartReport(cell.spec.name, cell.incarnation + 1, delay))
        return delay
