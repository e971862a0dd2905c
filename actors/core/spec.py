"""What a supervisor needs to know of a child before it lives: specifications are data."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sized

    from actors.core.inbox import Inbox
    from actors.core.mailbox import WeightPool

M = TypeVar("M")


class Actor(Protocol[M]):
    """An object with one coroutine; its private state lives in it and dies with it."""

    async def run(self, inbox: Inbox[M]) -> None:
        """Live: take messages and signals from the inbox until done."""
        ...


class Restart(Enum):
    """When a child that ended is started again."""

    PERMANENT = "always"
    TRANSIENT = "after a crash"
    TEMPORARY = "never"


class Strategy(Enum):
    """Whom the crash of a static child concerns."""

    ONE_FOR_ONE = "the child alone"
    REST_FOR_ONE = "the child and those that started after it"


class Overflow(Enum):
    """What happens to a message that finds the mailbox full (I1: the receiver's choice)."""

    REJECT = "it is refused"
    STOP = "it is refused and the receiver is stopped"


@frozen
class Intensity:
    """How many restarts within `period` seconds are tolerated; one more and it is given up."""

    restarts: float = 3
    period: float = 5.0


@frozen
class Backoff:
    """Seconds before a restart: `first` for the first in a row, then `base` times `factor` each, up to `ceiling`.

    A row ends when an incarnation lived longer than the supervisor's intensity period.
    From the second on, a random half is taken off, so that many children do not return at once.
    """

    first: float = 0.0
    base: float = 0.05
    factor: float = 2.0
    ceiling: float = 30.0

    def delay(self, crashes_in_a_row: int, fraction: float) -> float:
        """Return the seconds to wait; `fraction` is random in [0, 1)."""
        if crashes_in_a_row <= 1:
            return self.first
        # The exponent is bounded, or a float overflows after a thousand crashes.
        delay: float = self.base * self.factor ** min(crashes_in_a_row - 2, 64)
        return min(delay, self.ceiling) * (1 - fraction / 2)


@frozen
class ChildSpec(Generic[M]):
    """How to make, bound, restart and stop one child.

    `factory` builds a fresh object for every incarnation (I7).
    `heir` is the table that outlives incarnations, if there is one; the factory closes over the same object.
    `rank` orders who may wait for whom: `send` and `ask` go to a lower rank only (I17, kept by a test).
    `weigh` gives a message's weight in bytes; `weight_limit` bounds their sum, `weight_pool` that of many mailboxes.
    `ready_within` (seconds) matters for static children, `stop_within` (seconds) for all.
    """

    name: Hashable
    factory: Callable[[], Actor[M]]
    rank: int
    restart: Restart = Restart.TRANSIENT
    capacity: int = 1024
    overflow: Overflow = Overflow.REJECT
    weigh: Callable[[M], int] | None = None
    weight_limit: int = 16 * 1024 * 1024
    weight_pool: WeightPool | None = None
    heir: Sized | None = None
    backoff: Backoff = Backoff()
    ready_within: float = 5.0
    stop_within: float = 5.0
