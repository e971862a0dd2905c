"""Mailboxes: bounded, two lanes, and longer-lived than any incarnation.

A mailbox is a pair of memory-channel ends and a side lane for signals.
It belongs to the supervisor's record of a child (`cell.py`), never to the actor, which borrows an inbox (`inbox.py`):
closing the last receiving end would throw away what is queued.

**Invariants**: I1 (bounded by count and, if the spec weighs messages, by weight), I4 (signals overtake and always fit).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import trio
from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.ref import Reply
    from actors.core.signals import Signal

M = TypeVar("M")


@frozen
class MailboxStatistics:
    """`queued` messages of `capacity`, weighing `weight`; `rejected` counts what never got in."""

    queued: int
    capacity: int
    weight: int
    rejected: int
    signals: int


@define
class WeightPool:
    """A cap on the weight of all mailboxes that share it (the process-wide cap of their spec)."""

    limit: int
    used: int = 0


class Queued(NamedTuple, Generic[M]):
    """A message as it lies in a mailbox; `message` is None for the two marks of this module."""

    message: M | None
    weight: int = 0
    reply: Reply[Any] | None = None


#: Wakes a consumer that waits for messages although only a signal came.
WAKE: Queued[Any] = Queued(None)
#: Makes the actor that takes it crash; lies in the queue like any message.
POISON: Queued[Any] = Queued(None)


class Mailbox(Generic[M]):
    """The queue and the signal lane of one cell; used from one trio loop."""

    def __init__(
        self,
        capacity: int,
        weigh: Callable[[M], int] | None = None,
        weight_limit: int = 0,
        pool: WeightPool | None = None,
    ) -> None:
        # One place more than the capacity, so that a WAKE always fits beside a full load of messages.
        self._sender, self._receiver = trio.open_memory_channel[Queued[M]](capacity + 1)
        self._capacity = capacity
        self._weigh = weigh
        self._weight_limit = weight_limit
        self._pool = pool
        self._signals: deque[Signal] = deque()
        self._room = trio.lowlevel.ParkingLot()
        self._wake_is_queued = False
        self._queued = 0
        self._weight = 0
        self._rejected = 0
        self.is_closed = False

    def statistics(self) -> MailboxStatistics:
        """Return the figures of this moment."""
        return MailboxStatistics(
            self._queued, self._capacity, self._weight, self._rejected, len(self._signals)
        )

    @property
    def is_empty(self) -> bool:
        """Whether neither a message nor a signal is queued."""
        return not self._queued and not self._signals

    def put_nowait(self, message: M, reply: Reply[Any] | None = None) -> bool:
        """Queue a message if there is room; never waits, never raises."""
        weight = self._weigh(message) if self._weigh is not None else 0
        if self.is_closed or not self._has_room(weight):
            return False
        self._put(Queued(message, weight, reply))
        return True

    async def put(self, message: M, reply: Reply[Any] | None = None) -> bool:
        """Queue a message, waiting for room; False if the mailbox closed."""
        await trio.lowlevel.checkpoint()
        while not self.put_nowait(message, reply):
            if self.is_closed:
                return False
            await self._room.park()
        return True

    def put_poison(self) -> bool:
        """Queue a message that crashes whoever takes it; False if there is no room."""
        if self.is_closed or not self._has_room(0):
            return False
        self._put(POISON)
        return True

    def count_rejection(self) -> None:
        """Note that a message was refused."""
        self._rejected += 1

    def put_signal(self, signal: Signal) -> None:
        """Queue a signal: it overtakes messages and fits even if they fill the mailbox (I4)."""
        if self.is_closed:
            return
        self._signals.append(signal)
        if not self._wake_is_queued:
            self._wake_is_queued = True
            self._sender.send_nowait(WAKE)

    def take_signal(self) -> Signal | None:
        """Take the oldest signal, if there is one."""
        return self._signals.popleft() if self._signals else None

    def forget_signals(self, kind: type[Signal]) -> None:
        """Take the signals of one kind out of the lane."""
        self._signals = deque(
            signal for signal in self._signals if not isinstance(signal, kind)
        )

    def take_nowait(self) -> Queued[M] | None:
        """Take the oldest message, or None if none is queued."""
        try:
            queued = self._settle(self._receiver.receive_nowait())
            return (
                queued if queued is not None else self._settle(self._receiver.receive_nowait())
            )
        except trio.WouldBlock:
            return None

    async def take(self) -> Queued[M] | None:
        """Wait for a message; None if something else woke the consumer (look at the signals)."""
        return self._settle(await self._receiver.receive())

    def close(self) -> list[Queued[M]]:
        """Refuse everything from now on and return what was still queued."""
        self.is_closed = True
        left = []
        while (queued := self.take_nowait()) is not None:
            left.append(queued)
        self._signals.clear()
        self._room.unpark_all()
        self._sender.close()
        self._receiver.close()
        return left

    def _has_room(self, weight: int) -> bool:
        if self._queued >= self._capacity:
            return False
        # An empty mailbox takes any message: a sender that waits for room is woken by a take, and here none is to come.
        if self._weigh is None or not self._queued:
            return True
        if self._weight + weight > self._weight_limit:
            return False
        return self._pool is None or self._pool.used + weight <= self._pool.limit

    def _put(self, queued: Queued[M]) -> None:
        self._sender.send_nowait(queued)
        self._queued += 1
        self._weight += queued.weight
        if self._pool is not None:
            self._pool.used += queued.weight

    def _settle(self, queued: Queued[M]) -> Queued[M] | None:
        if queued is WAKE:
            self._wake_is_queued = False
            return None
        self._queued -= 1
        self._weight -= queued.weight
        if self._pool is not None:
            self._pool.used -= queued.weight
        if self._room:
            self._room.unpark()
        return queued
