"""Alarms: each connection has one, which rings at the earliest of the times that were named to it.

Not an actor: a table with synchronous methods, owned by the tenant, in which connections set their alarms.
The alarm clock (`alarm_clock.py`) sleeps until the next one is due; one task for all connections,
because a deadline of trio's or a task for each took more than a kilobyte.

**Invariants**
- An alarm that is set rings once, as a message to its owner, and is not set after that.
- Setting one takes time logarithmic in the number of alarms; what is kept of those that moved or stopped is bounded.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

import trio

from actors.realtime.messages import AlarmRang

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.messages import ConnectionMessage

#: Entries that have no effect any more are cleared away when they are more than half of the others, and than these.
MANY: Final = 64
RANG: Final = AlarmRang()


class Alarms:
    """The alarms of a tenant, by time; the table outlives the incarnations of the clock."""

    __slots__ = ("_entries", "_set", "_sleep")

    def __init__(self) -> None:
        #: A heap; an entry counts while its alarm rings at its time.
        self._entries: list[tuple[float, Alarm]] = []
        #: How many alarms are set.
        self._set = 0
        #: Of the clock, while it sleeps.
        self._sleep: trio.CancelScope | None = None

    def __len__(self) -> int:
        return self._set

    @property
    def entries(self) -> int:
        """How many entries there are, those included that have no effect any more."""
        return len(self._entries)

    @property
    def next_at(self) -> float:
        """When the next alarm rings (seconds, trio clock); infinite if none is set."""
        self._pass_over()
        return self._entries[0][0] if self._entries else math.inf

    def sleep(self) -> trio.CancelScope:
        """Return the scope for the clock to wait in: cancelled when the next alarm is due, whichever that will be."""
        self._sleep = trio.CancelScope(deadline=self.next_at)
        return self._sleep

    def ring_one(self) -> bool:
        """Let one alarm ring that is due; False if none is."""
        if self.next_at > trio.current_time():
            return False
        self._entries[0][1].ring()
        heapq.heappop(self._entries)
        return True

    def enter(self, alarm: Alarm, at: float) -> None:
        """Note that an alarm is to ring at `at`; for alarms only."""
        heapq.heappush(self._entries, (at, alarm))
        if len(self._entries) > 1.5 * self._set + MANY:
            self._entries = [(at, alarm) for at, alarm in self._entries if alarm.rings_at == at]
            heapq.heapify(self._entries)
        if self._sleep is not None and at < self._sleep.deadline:
            self._sleep.deadline = at

    def count(self, more: int) -> None:
        """Note that so many more alarms are set; for alarms only."""
        self._set += more

    def _pass_over(self) -> None:
        """Take out what is first and has no effect any more."""
        while self._entries and self._entries[0][1].rings_at != self._entries[0][0]:
            heapq.heappop(self._entries)


class Alarm:
    """Of one connection, its `owner`; times are on trio's clock, and it rings once for all that have come."""

    __slots__ = ("_alarms", "_owner", "rings_at")

    def __init__(self, alarms: Alarms, owner: Ref[ConnectionMessage]) -> None:
        self._alarms = alarms
        self._owner: Ref[ConnectionMessage] | None = owner
        #: Infinite while it is not set.
        self.rings_at = math.inf

    def __lt__(self, other: Alarm) -> bool:
        # Of those that ring at the same time anyone may be first.
        return False

    def ring_within(self, seconds: float) -> None:
        """Ring after so many seconds, unless it rings before that anyway; never waits."""
        at = trio.current_time() + seconds
        if at >= self.rings_at or self._owner is None:
            return
        if self.rings_at == math.inf:
            self._alarms.count(1)
        self.rings_at = at
        self._alarms.enter(self, at)

    def ring(self) -> None:
        """Tell the owner, and be set no more; for the clock only."""
        # Told first: after a crash in between it is told again, which is better than never.
        if self._owner is not None:
            # One whose mailbox is full is stopped for that.
            self._owner.tell(RANG)
        self._unset()

    def stop(self) -> None:
        """Ring no more: the owner has ended, and is let go of."""
        self._owner = None
        self._unset()

    def _unset(self) -> None:
        if self.rings_at < math.inf:
            self.rings_at = math.inf
            self._alarms.count(-1)
