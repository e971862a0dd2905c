"""When each connection leaves once the node stops: one after the other, so that the next node is not stampeded.

Clients come back as soon as they are sent away, and each of them joins all its topics anew.
Shared by the connections of a node: each counts itself while it is open, and asks once, when it is told to stop.
A few leave at once as far as anybody can tell; many leave evenly over the first half of the time they have,
and the second half is for the last of them to answer.

**Source**: architecture 2.9.
"""

from __future__ import annotations

from typing import Final

import trio
from attrs import define, field

#: Seconds between two of a few: nobody waits at a terminal for that, and 100 a second stampede nobody.
INTERVAL_S: Final = 0.01
#: The part of the time left that may pass before the last one leaves.
SPREAD: Final = 0.5


@define
class Departures:
    """See the module's text; `open_connections` is how many may ask."""

    open_connections: int = 0
    _next_at: float = field(default=0.0, init=False)

    def next_at(self, deadline: float) -> float:
        """Return when the next connection is to say goodbye; both times are on trio's clock."""
        now = trio.current_time()
        at = max(self._next_at, now)
        interval = (deadline - now) * SPREAD / max(self.open_connections, 1)
        self._next_at = at + min(INTERVAL_S, interval)
        return at
