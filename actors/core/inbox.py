"""The inbox: what an actor sees of its mailbox during one incarnation.

**Invariants**: I5 (up to 64 items between two checkpoints, and the checkpoint comes before a take, never after),
I6 (`retire` is atomic), I8 (a crash consumes the message in hand and nothing else).
A class with `__anext__` and no async generator: an abandoned generator is reported at collection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import trio

from actors.core.errors import Poisoned
from actors.core.mailbox import POISON
from actors.core.ref import cell_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.cell import Cell
    from actors.core.mailbox import MailboxStatistics
    from actors.core.ref import Ref
    from actors.core.signals import Signal

M = TypeVar("M")

# Trade-off: more would drain a little faster, fewer would be fairer; taking 64 items lasts about 30 µs.
ITEMS_PER_CHECKPOINT = 64


class Inbox(Generic[M]):
    """Messages and signals for one incarnation, in order; iterating it waits when nothing is queued.

    The iteration ends once the mailbox is closed, which only `retire` does during an incarnation.
    """

    __slots__ = ("_cell", "_mailbox", "_since_checkpoint", "incarnation")

    def __init__(self, cell: Cell[M]) -> None:
        self._cell = cell
        self._mailbox = cell.mailbox
        self._since_checkpoint = 0
        self.incarnation = cell.incarnation

    @property
    def ref(self) -> Ref[M]:
        """The actor's own ref."""
        return self._cell.ref

    def ready(self) -> None:
        """Tell the supervisor that the next static child may start (I12)."""
        self._cell.say_ready()

    def watch(self, other: Ref[Any]) -> None:
        """Ask for `Restarted` and `Terminated` of another actor; watch before writing an entry about it.

        The watch outlives the incarnation, as the table of entries does.
        """
        self._cell.watch(cell_of(other))

    def unwatch(self, other: Ref[Any]) -> None:
        """Ask for no more signals of another actor; one that is queued already still comes."""
        self._cell.unwatch(cell_of(other))

    def watchers(self) -> frozenset[Ref[Any]]:
        """Return who watches this actor."""
        return frozenset(cell.ref for cell in self._cell.watchers)

    def retire(self) -> bool:
        """Close the mailbox if nothing is queued, and return whether it did; then return from `run` (I6)."""
        if not self._mailbox.is_empty:
            return False
        self._cell.close_mailbox()
        return True

    def statistics(self) -> MailboxStatistics:
        """Return the mailbox's figures of this moment."""
        return self._mailbox.statistics()

    def batch(self, limit: int, at_once: Callable[[M], bool] | None = None) -> Batch[M]:
        """Return an iterator over what is queued, 1 to `limit` items and never more than 64; it waits for the first.

        Items leave the mailbox one by one as they are asked for:
        a crash in the loop's body loses the item in hand and leaves the rest queued.

        While it waits, `at_once` is called with what is told by `Ref.tell_at_once`, in the turn of who tells it:
        nothing is queued then, so it overtakes nothing.
        It deals with the message and returns True, or does nothing and returns False to have it queued; it never waits.
        An error that it raises comes out of the iteration, and what is told meanwhile is queued.

        Raises:
            RuntimeError: the actor retired and goes on; a loop of empty batches would never wait.
        """
        if limit < 1:
            raise ValueError(f"a batch of {limit} would never take anything")
        if self._mailbox.is_closed:
            raise RuntimeError("an actor that retired is to return")
        return Batch(self, limit, at_once)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M | Signal:
        return await self.take()

    async def take(self, at_once: Callable[[M], bool] | None = None) -> M | Signal:
        """Wait for the next signal or message and take it; `at_once` as for `batch`.

        Raises:
            StopAsyncIteration: the mailbox is closed.
        """
        self.done()
        if self._since_checkpoint >= ITEMS_PER_CHECKPOINT:
            self._since_checkpoint = 0
            await trio.lowlevel.checkpoint()
        item = self.take_nowait()
        if item is None:
            self._since_checkpoint = 0
            await self._mailbox.wait_filled(at_once)
            item = self.take_nowait()
            if item is None:
                raise StopAsyncIteration
        return item

    def done(self) -> None:
        """Note that what was taken last is dealt with: a crash from here on loses nothing."""
        self._cell.in_hand = None

    def take_nowait(self) -> M | Signal | None:
        """Take the next signal or message; None if nothing is queued or it is time for a checkpoint."""
        cell = self._cell
        cell.in_hand = None
        if self._since_checkpoint >= ITEMS_PER_CHECKPOINT:
            return None
        self._since_checkpoint += 1
        signal = self._mailbox.take_signal_nowait()
        if signal is not None:
            return signal
        queued = self._mailbox.take_nowait()
        if queued is None:
            return None
        if queued is POISON:
            raise Poisoned("poison was taken")
        message, _, reply = queued
        cell.in_hand = message
        if reply is not None:
            cell.hold_question(reply)
        return message


class Batch(Generic[M]):
    """A bounded run of items out of an inbox; see `Inbox.batch`."""

    __slots__ = ("_at_once", "_has_begun", "_inbox", "_left")

    def __init__(
        self, inbox: Inbox[M], limit: int, at_once: Callable[[M], bool] | None
    ) -> None:
        self._inbox = inbox
        self._at_once = at_once
        self._left = limit
        self._has_begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M | Signal:
        if not self._left:
            self._inbox.done()
            raise StopAsyncIteration
        self._left -= 1
        if not self._has_begun:
            self._has_begun = True
            return await self._inbox.take(self._at_once)
        item = self._inbox.take_nowait()
        if item is None:
            raise StopAsyncIteration
        return item
