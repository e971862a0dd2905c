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

if TYPE_CHECKING:
    from actors.core.cell import Cell
    from actors.core.mailbox import MailboxStatistics, Queued
    from actors.core.ref import Ref
    from actors.core.signals import Signal

M = TypeVar("M")

# Trade-off: more would drain faster (0.24 µs an item), fewer would be fairer; 64 items are about 20 µs of draining.
ITEMS_PER_CHECKPOINT = 64


class Inbox(Generic[M]):
    """Messages and signals for one incarnation, in order; iterating it waits when nothing is queued."""

    def __init__(self, cell: Cell[M]) -> None:
        self._cell = cell
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
        """Ask for `Restarted` and `Terminated` of another actor; watch before writing an entry about it."""
        self._cell.watch(other._cell)  # noqa: SLF001  # a ref's cell is public inside this folder

    def unwatch(self, other: Ref[Any]) -> None:
        """Ask for no more signals of another actor."""
        self._cell.unwatch(other._cell)  # noqa: SLF001

    def watchers(self) -> frozenset[Ref[Any]]:
        """Return who watches this actor."""
        return frozenset(cell.ref for cell in self._cell.watchers)

    def retire(self) -> bool:
        """Close the mailbox if nothing is queued, and return whether it did; then return from `run` (I6)."""
        if not self._cell.mailbox.is_empty:
            return False
        self._cell.close_mailbox()
        return True

    def statistics(self) -> MailboxStatistics:
        """Return the mailbox's figures of this moment."""
        return self._cell.mailbox.statistics()

    def batch(self, limit: int) -> Batch[M]:
        """Return an iterator over what is queued, at most `limit` items and never more than 64; it waits for the first.

        Items leave the mailbox one by one as they are asked for:
        a crash in the loop's body loses the item in hand and leaves the rest queued.
        """
        return Batch(self, min(limit, ITEMS_PER_CHECKPOINT))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M | Signal:
        if self._since_checkpoint >= ITEMS_PER_CHECKPOINT:
            self.done()
            self._since_checkpoint = 0
            await trio.lowlevel.checkpoint()
        item = self.take_nowait()
        while item is None:
            self._since_checkpoint = 0
            queued = await self._cell.mailbox.take()
            item = self.take_nowait() if queued is None else self._accept(queued)
        return item

    def done(self) -> None:
        """Note that what was taken last is dealt with: a crash from here on loses nothing."""
        self._cell.in_hand = None

    def take_nowait(self) -> M | Signal | None:
        """Take the next signal or message, or None if nothing is queued."""
        self.done()
        mailbox = self._cell.mailbox
        signal = mailbox.take_signal()
        if signal is not None:
            self._since_checkpoint += 1
            return signal
        queued = mailbox.take_nowait()
        return None if queued is None else self._accept(queued)

    def _accept(self, queued: Queued[M]) -> M:
        self._since_checkpoint += 1
        if queued is POISON:
            raise Poisoned("poison was taken")
        message, _, reply = queued
        assert message is not None  # noqa: S101  # only the marks have none
        self._cell.hold(message, reply)
        return message


class Batch(Generic[M]):
    """A bounded run of items out of an inbox; see `Inbox.batch`."""

    __slots__ = ("_inbox", "_left", "_waits")

    def __init__(self, inbox: Inbox[M], limit: int) -> None:
        self._inbox = inbox
        self._left = limit
        self._waits = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M | Signal:
        if self._waits:
            self._waits = False
            self._left -= 1
            return await self._inbox.__anext__()
        item = self._inbox.take_nowait() if self._left else None
        if item is None:
            self._inbox.done()
            raise StopAsyncIteration
        self._left -= 1
        return item
