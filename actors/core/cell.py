"""The cell: a supervisor's record of one child, from its start until it is gone for good.

It holds what outlives an incarnation: name, mailbox, watchers, counters, and the questions that were taken.
Written by the supervisor and by the child's own inbox; everybody else sees it only through a `Ref`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from actors.core.cell_set import CellSet
from actors.core.errors import ActorCrashed, ActorStopped
from actors.core.mailbox import Mailbox
from actors.core.ref import Ref, Reply
from actors.core.signals import Reason, Restarted, Stopping, Terminated
from actors.core.spec import Overflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.spec import ChildSpec

M = TypeVar("M")


class Cell(Generic[M]):
    """One child under one name."""

    __slots__ = (
        "_crashes",
        "_exited",
        "_on_overflow",
        "_ref",
        "_settled",
        "_taken",
        "began_at",
        "crashes_in_a_row",
        "due_at",
        "end",
        "failure",
        "in_hand",
        "incarnation",
        "is_halted",
        "is_overdue",
        "is_running",
        "is_stopping",
        "is_up",
        "mailbox",
        "scope",
        "spec",
        "task",
        "watchers",
        "watching",
    )

    def __init__(self, spec: ChildSpec[M], on_overflow: Callable[[Cell[Any]], None]) -> None:
        self.spec = spec
        #: Kept weakly, for it knows this cell: in a ring both would stay until the collector of rings comes by.
        self._ref: weakref.ref[Ref[M]] | None = None
        self.mailbox: Mailbox[M] = Mailbox(
            spec.capacity, spec.weigh, spec.weight_limit, spec.weight_pool
        )
        self.watchers = CellSet()
        self.watching = CellSet()
        self.end: Reason | None = None
        self.incarnation = 0
        #: What the running incarnation took last and has not finished with.
        self.in_hand: M | None = None
        self._taken: tuple[Reply[Any], ...] = ()
        self._on_overflow = on_overflow

        # The incarnation; replaced by `begin`. Only the supervisor cancels a child (I13).
        self.scope = trio.CancelScope(shield=True)
        self.task: trio.lowlevel.Task | None = None
        self.began_at = 0.0
        self.is_running = False
        #: It said `ready()` and has not ended.
        self.is_up = False
        # Made for who waits; an event takes a third of a kilobyte, and connections are many.
        self._settled: trio.Event | None = None
        self._exited: trio.Event | None = None
        #: An error charged to the incarnation from outside.
        self.failure: Exception | None = None
        #: It was asked to stop.
        self.is_stopping = False
        #: It was asked to stop, but the child will live again.
        self.is_halted = False
        #: It did not stop in time and was reported.
        self.is_overdue = False

        # What restarts go by (`restarts.py`).
        self._crashes: list[float] | None = None
        self.crashes_in_a_row = 0
        #: When the next incarnation may begin, in seconds on the trio clock.
        self.due_at = 0.0

    @property
    def ref(self) -> Ref[M]:
        """Its handle, the same for as long as anybody has it."""
        ref = None if self._ref is None else self._ref()
        if ref is None:
            ref = Ref(self)
            self._ref = weakref.ref(ref)
        return ref

    @property
    def crashes(self) -> list[float]:
        """When it crashed, as far as that still counts; kept up by `restarts.py`."""
        if self._crashes is None:
            self._crashes = []
        return self._crashes

    @property
    def settled(self) -> trio.Event:
        """Set as soon as the incarnation is ready or has ended, whichever comes first."""
        if self._settled is None:
            self._settled = trio.Event()
            if self.is_up or not self.is_running:
                self._settled.set()
        return self._settled

    @property
    def exited(self) -> trio.Event:
        """Set when the incarnation has ended."""
        if self._exited is None:
            self._exited = trio.Event()
            if not self.is_running:
                self._exited.set()
        return self._exited

    def deliver_nowait(self, message: M) -> bool:
        """Queue a message, or count it as refused and do what the spec says of an overflow."""
        if self.mailbox.put_nowait(message):
            return True
        self.mailbox.count_rejection()
        if self.spec.overflow is Overflow.STOP and not self.mailbox.is_closed:
            self._on_overflow(self)
        return False

    def deal_at_once(self, message: M, reply: Reply[Any] | None = None) -> bool:
        """Have the actor deal with a message in this turn if it offers that; False if nothing was done.

        What it fails with is its crash, as if it had taken the message itself, and nothing to the caller;
        a question that it did not answer fails with that, or whenever the incarnation ends.
        """
        mailbox = self.mailbox
        at_once = mailbox.at_once
        if at_once is None:
            return False
        # What is told meanwhile is queued.
        mailbox.at_once = None
        self.in_hand = message
        try:
            is_done = at_once(message)
        except Exception as error:  # noqa: BLE001  # charged to the actor
            mailbox.fail_consumer(error)
            is_done = True
        else:
            self.in_hand = None
            if mailbox.consumer is not None:
                mailbox.at_once = at_once
        if is_done and reply is not None and not reply.is_settled:
            self.hold_question(reply)
        return is_done

    async def deliver(self, message: M, reply: Reply[Any] | None = None) -> None:
        """Queue a message, waiting for room; raises ActorStopped."""
        if not await self.mailbox.put(message, reply):
            raise ActorStopped(f"{self.spec.name!r} is gone")

    def hold_question(self, reply: Reply[Any]) -> None:
        """Note a question that the incarnation took; it fails if the incarnation ends before it is answered."""
        open_ones = [taken for taken in self._taken if not taken.is_settled]
        self._taken = (*open_ones, reply)

    def begin(self) -> None:
        """Prepare for a new incarnation."""
        self.incarnation += 1
        if self.incarnation > 1:
            self.scope = trio.CancelScope(shield=True)
        self._settled = self._exited = None
        self.failure = None
        self.is_running = True
        self.is_up = False
        self.is_stopping = False
        self.is_halted = False
        self.is_overdue = False
        self.began_at = trio.current_time()
        # A request to stop was meant for the incarnation before.
        self.mailbox.forget_signals(Stopping)
        if self.incarnation > 1:
            for watcher in self.watchers:
                watcher.mailbox.put_signal(Restarted(self.ref, self.incarnation))

    def say_ready(self) -> None:
        """Note that the incarnation does its work from here on."""
        self.is_up = self.is_running
        if self._settled is not None:
            self._settled.set()

    def finish(self, *, crashed: bool) -> None:
        """Note that the incarnation ended; what it had been asked fails."""
        self.is_running = False
        self.is_up = False
        self.task = None
        self.in_hand = None
        # A kept exception holds frames, and frames hold messages.
        self.failure = None
        error = ActorCrashed if crashed else ActorStopped
        for reply in self._taken:
            reply.fail(error(f"{self.spec.name!r} ended while it held the question"))
        self._taken = ()
        for event in (self._settled, self._exited):
            if event is not None:
                event.set()

    def bury(self, reason: Reason) -> None:
        """End for good: watchers learn it, what is queued is refused, nobody is watched any more."""
        if self.end is not None:
            return
        self.end = reason
        self.close_mailbox()
        for watcher in self.watchers:
            watcher.watching.discard(self)
            watcher.mailbox.put_signal(Terminated(self.ref, reason))
        self.watchers.clear()
        for watched in self.watching:
            watched.watchers.discard(self)
        self.watching.clear()

    def close_mailbox(self) -> None:
        """Refuse messages from now on; questions still queued fail."""
        if self.mailbox.is_closed:
            return
        for _, _, reply in self.mailbox.close():
            self.mailbox.count_rejection()
            if reply is not None:
                reply.fail(ActorStopped(f"{self.spec.name!r} is gone"))

    def watch(self, other: Cell[Any]) -> None:
        """Ask for the signals of `other`; if it is gone, the signal comes at once (I19)."""
        if self.end is not None:
            return
        if other.end is not None:
            self.mailbox.put_signal(Terminated(other.ref, other.end))
            return
        other.watchers.add(self)
        self.watching.add(other)

    def unwatch(self, other: Cell[Any]) -> None:
        """Ask for no more signals of `other`; one that is queued already still comes."""
        other.watchers.discard(self)
        self.watching.discard(other)
