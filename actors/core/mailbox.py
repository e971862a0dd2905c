"""Mailboxes: bounded, two lanes, and longer-lived than any incarnation.

A mailbox belongs to the supervisor's record of a child (`cell.py`), never to the actor,
which borrows an inbox (`inbox.py`).
A message leaves it when it is handed over and not before, so neither a crash nor a cancellation loses one.
It is two deques and not a memory channel: a channel has no second lane, no weights,
and hands a message to a parked consumer before a signal that comes later can overtake it.

**Invariants**: I1 (bounded by count and, if the spec weighs messages, by weight), I3 (in order of asking for room),
I4 (signals overtake and always fit). Nobody waits for room in an empty mailbox, so whoever waits is woken by a take.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import trio
from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.ref import Reply
    from actors.core.signals import Signal

M = TypeVar("M")


@frozen
class MailboxStatistics:
    """`queued` messages of `capacity`, weighing `weight`; `rejected` counts what never got in or was never taken."""

    queued: int
    capacity: int
    weight: int
    rejected: int
    signals: int


@define
class WeightPool:
    """A cap on the weight of all mailboxes that share it (the process-wide cap of their spec).

    An empty mailbox takes one message beyond it.
    """

    limit: int
    used: int = 0


#: A message as it lies in a mailbox: itself (None for `POISON` only), its weight, and the reply that it carries.
#: A bare tuple, for one is made for every message.
Queued: TypeAlias = "tuple[M | None, int, Reply[Any] | None]"

#: Makes the actor that takes it crash; lies in the queue like any message.
POISON: Queued[Any] = (None, 0, None)


@define(eq=False)
class Sender(Generic[M]):
    """A task that waits for room; `is_served` once its message is in the queue."""

    queued: Queued[M]
    is_served: bool = False


class Mailbox(Generic[M]):
    """The queue and the signal lane of one cell; used from one trio loop, taken from by one task at a time."""

    __slots__ = (
        "_capacity",
        "_failure",
        "_messages",
        "_pool",
        "_rejected",
        "_senders",
        "_weigh",
        "_weight",
        "_weight_limit",
        "at_once",
        "consumer",
        "is_closed",
        "signals",
    )

    def __init__(
        self,
        capacity: int,
        weigh: Callable[[M], int] | None = None,
        weight_limit: int = 0,
        pool: WeightPool | None = None,
    ) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._weight_limit = weight_limit
        self._pool = pool
        # Both lanes are made when something comes: an empty deque takes most of a kilobyte, and connections are many.
        self._messages: deque[Queued[M]] | None = None
        self.signals: deque[Signal] | None = None
        #: Who waits for room, in order; made when somebody does.
        self._senders: dict[trio.lowlevel.Task, Sender[M]] | None = None
        #: Who waits for something to be queued, and was not woken.
        self.consumer: trio.lowlevel.Task | None = None
        #: What the consumer offers to do with a message while it waits and nothing is queued; see `Inbox.batch`.
        self.at_once: Callable[[M], bool] | None = None
        self._failure: Exception | None = None
        self._weight = 0
        self._rejected = 0
        self.is_closed = False

    def statistics(self) -> MailboxStatistics:
        """Return the figures of this moment."""
        return MailboxStatistics(
            len(self._messages or ()),
            self._capacity,
            self._weight,
            self._rejected,
            len(self.signals or ()),
        )

    @property
    def is_empty(self) -> bool:
        """Whether neither a message nor a signal is queued."""
        return not self._messages and not self.signals

    def put_nowait(self, message: M, reply: Reply[Any] | None = None) -> bool:
        """Queue a message if there is room that nobody waits for; never waits."""
        weight = 0 if self._weigh is None else self._weigh(message)
        return self._offer((message, weight, reply))

    async def put(self, message: M, reply: Reply[Any] | None = None) -> bool:
        """Queue a message, waiting for room behind those who wait already; False if the mailbox closed.

        Atomic under cancellation: if this raises `Cancelled`, the message was not queued.
        """
        await trio.lowlevel.checkpoint()
        weight = 0 if self._weigh is None else self._weigh(message)
        queued: Queued[M] = (message, weight, reply)
        if self._offer(queued):
            return True
        if self.is_closed:
            return False
        task = trio.lowlevel.current_task()
        senders = self._senders = self._senders or {}
        sender = senders[task] = Sender(queued)

        def leave(_: object) -> trio.lowlevel.Abort:
            del senders[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)
        return sender.is_served

    def put_poison(self) -> bool:
        """Queue a message that crashes whoever takes it; False if there is no room."""
        return self._offer(POISON)

    def count_rejection(self) -> None:
        """Note that a message was refused."""
        self._rejected += 1

    def put_signal(self, signal: Signal) -> None:
        """Queue a signal: it overtakes messages and fits even if they fill the mailbox (I4)."""
        if self.is_closed:
            return
        if self.signals is None:
            self.signals = deque()
        self.signals.append(signal)
        self._wake_consumer()

    def forget_signals(self, kind: type[Signal]) -> None:
        """Take the signals of one kind out of the lane."""
        if self.signals:
            self.signals = deque(s for s in self.signals if not isinstance(s, kind))

    def take_signal_nowait(self) -> Signal | None:
        """Take the oldest signal, or None if none is queued."""
        return self.signals.popleft() if self.signals else None

    def take_nowait(self) -> Queued[M] | None:
        """Take the oldest message, or None if none is queued; who waits for the room moves up."""
        if not self._messages:
            return None
        queued = self._messages.popleft()
        if self._weigh is not None:
            self._add_weight(-queued[1])
        if self._senders:
            self._serve_senders()
        return queued

    def fail_consumer(self, error: Exception) -> None:
        """Let the wait of the consumer raise `error`, which its `at_once` has."""
        self._failure = error
        self._wake_consumer()

    async def wait_filled(self, at_once: Callable[[M], bool] | None = None) -> None:
        """Wait until something is queued or the mailbox closes; a checkpoint in any case.

        `at_once` is on offer meanwhile; what it fails with is raised here.
        """
        if not self.is_empty or self.is_closed:
            await trio.lowlevel.checkpoint()
            return
        if self.consumer is not None:
            raise RuntimeError("another task waits at this inbox already")
        self.consumer = trio.lowlevel.current_task()
        self.at_once = at_once
        try:
            # A method: a closure would take two hundred bytes more for as long as nothing comes.
            await trio.lowlevel.wait_task_rescheduled(self._leave)
        finally:
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure

    def close(self) -> list[Queued[M]]:
        """Refuse everything from now on, whoever waits included, and return what was still queued."""
        self.is_closed = True
        left = list(self._messages or ())
        self._messages = self.signals = None
        self._add_weight(-self._weight)
        senders, self._senders = self._senders, None
        for task in senders or ():
            trio.lowlevel.reschedule(task)
        self._wake_consumer()
        return left

    def _offer(self, queued: Queued[M]) -> bool:
        # Whoever asks now does not overtake those who wait (I3; and a steady `tell` would starve them).
        if self.is_closed or self._senders or not self._has_room(queued[1]):
            return False
        self._append(queued)
        return True

    def _has_room(self, weight: int) -> bool:
        count = len(self._messages) if self._messages else 0
        if count >= self._capacity:
            return False
        # An empty mailbox takes any message: who waits for room is woken by a take, and here none is to come.
        if self._weigh is None or not count:
            return True
        if self._weight + weight > self._weight_limit:
            return False
        return self._pool is None or self._pool.used + weight <= self._pool.limit

    def _append(self, queued: Queued[M]) -> None:
        if self._messages is None:
            self._messages = deque()
        self._messages.append(queued)
        if self._weigh is not None:
            self._add_weight(queued[1])
        if self.consumer is not None:
            self._wake_consumer()

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        """Let the consumer wait no more: it is being cancelled."""
        self.consumer = self.at_once = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake_consumer(self) -> None:
        if self.consumer is not None:
            trio.lowlevel.reschedule(self.consumer)
            self.consumer = self.at_once = None

    def _add_weight(self, weight: int) -> None:
        self._weight += weight
        if self._pool is not None:
            self._pool.used += weight

    def _serve_senders(self) -> None:
        """Queue what fits of those who wait, in their order."""
        while self._senders:
            task, sender = next(iter(self._senders.items()))
            if not self._has_room(sender.queued[1]):
                return
            del self._senders[task]
            sender.is_served = True
            self._append(sender.queued)
            trio.lowlevel.reschedule(task)
