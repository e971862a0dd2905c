"""The children of one run of a supervisor: a table of cells, and how an incarnation is begun and ended.

Knows nothing of when a child lives again: whoever owns the table is told of every end and decides.

**Invariants**: I7, I13 (only this file cancels a child), I14.
There is no kill: a child that shields itself or never awaits is reported as overdue and waited for.
"""

from __future__ import annotations

import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from actors.core.cell import Cell
from actors.core.incarnation import await_stack, live
from actors.core.reports import OverdueReport
from actors.core.signals import Reason, Stopping

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from actors.core.reports import Report
    from actors.core.spec import ChildSpec

M = TypeVar("M")

#: Seconds a cancelled child may take to clean up before it is reported as overdue.
OVERDUE_AFTER = 1.0


class Children:
    """Cells that are not gone for good, oldest first; without a nursery nobody can be started.

    `on_end` is told, in the child's task, of each incarnation that ended and whether it crashed.
    """

    def __init__(
        self,
        nursery: trio.Nursery | None,
        observe: Callable[[Report], None],
        on_end: Callable[[Cell[Any], bool], None],
    ) -> None:
        self._nursery = nursery
        self._observe = observe
        self._on_end = on_end
        # Children live in the context of the supervisor's start, not of whoever happens to start them.
        self._context = contextvars.copy_context()
        # A name may be taken again by a new child while the old one, which retired, still runs.
        self._cells: dict[Cell[Any], None] = {}
        self._by_name: dict[Hashable, Cell[Any]] = {}
        self._is_closed = nursery is None
        # Made once: bound anew for each child they would take room in each.
        self._on_overflow = self.ask_to_stop
        self._live = partial(live, observe=observe, on_end=self._note_end)

    def __contains__(self, cell: Cell[Any]) -> bool:
        return cell in self._cells

    @property
    def is_closed(self) -> bool:
        """Whether nobody is started any more."""
        return self._is_closed

    def close(self) -> None:
        """Start nobody any more; who runs has to be stopped."""
        self._is_closed = True

    def cells(self) -> tuple[Cell[Any], ...]:
        """Return all that are not gone for good."""
        return tuple(self._cells)

    def find(self, name: Hashable) -> Cell[Any] | None:
        """Return the living child of that name."""
        cell = self._by_name.get(name)
        return cell if cell is not None and not cell.mailbox.is_closed else None

    def enter(self, spec: ChildSpec[M]) -> Cell[M]:
        """Make the record of a child that does not run yet; once closed, of one that is gone already."""
        if self.find(spec.name) is not None:
            raise ValueError(f"{spec.name!r} lives already")
        cell = Cell(spec, on_overflow=self._on_overflow)
        self._cells[cell] = None
        self._by_name[spec.name] = cell
        if self._is_closed:
            self.bury(cell, Reason.STOPPED)
        return cell

    def may_begin(self, cell: Cell[Any]) -> bool:
        """Whether another incarnation of the child may begin."""
        return not self._is_closed and cell in self._cells

    def spawn(self, cell: Cell[Any]) -> None:
        """Begin an incarnation; never waits."""
        cell.begin()
        self.start_soon(self._live, cell)

    def spawn_later(self, cell: Cell[Any]) -> None:
        """Begin an incarnation when it is due, unless the child is gone by then."""
        # Burying cancels the wait, so that nothing stays behind.
        cell.scope = trio.CancelScope()
        self.start_soon(self._wait_and_spawn, cell)

    def start_soon(
        self, function: Callable[[Cell[Any]], Awaitable[None]], cell: Cell[Any]
    ) -> None:
        """Do something about a child in a task beside it."""
        assert self._nursery is not None  # noqa: S101  # children start inside a run only
        name = cell.spec.name
        shown = name if isinstance(name, str) else repr(name)
        self._context.run(partial(self._nursery.start_soon, function, cell, name=shown))

    def ask_to_stop(self, cell: Cell[Any]) -> None:
        """Tell the running incarnation to stop and give it a deadline (I14); a child that does not run is buried."""
        if not cell.is_running:
            self.bury(cell, Reason.STOPPED)
        elif not cell.is_stopping:
            cell.is_stopping = True
            cell.scope.deadline = trio.current_time() + cell.spec.stop_within
            cell.mailbox.put_signal(Stopping(cell.scope.deadline))

    async def stop(self, cell: Cell[Any]) -> None:
        """End a child for good and wait until it is gone."""
        cell.is_halted = False
        self.ask_to_stop(cell)
        await self.wait_ended(cell)
        self.bury(cell, Reason.STOPPED)

    async def halt(self, cell: Cell[Any]) -> None:
        """End the running incarnation of a child that will live again."""
        if not cell.is_running:
            return
        # One that was asked to stop for good stays so.
        if not cell.is_stopping:
            cell.is_halted = True
            self.ask_to_stop(cell)
        await self.wait_ended(cell)

    async def fail(self, cell: Cell[Any], error: Exception) -> None:
        """Make the running incarnation crash with `error` and wait for that."""
        self.fail_nowait(cell, error)
        await self.wait_ended(cell)

    def fail_nowait(self, cell: Cell[Any], error: Exception) -> None:
        """Make the running incarnation crash with `error` at its next checkpoint; one that stops just goes on."""
        if cell.is_running and not cell.is_stopping and cell.failure is None:
            cell.failure = error
            cell.scope.deadline = trio.current_time()
            cell.scope.cancel()

    async def wait_ended(self, cell: Cell[Any]) -> None:
        """Wait for the end of an incarnation that was told to, and report it once if it is late."""
        if not cell.is_running:
            return
        exited = cell.exited
        with trio.move_on_at(cell.scope.deadline + OVERDUE_AFTER):
            await exited.wait()
        if not exited.is_set() and not cell.is_overdue:
            cell.is_overdue = True
            self._observe(OverdueReport(cell.spec.name, await_stack(cell)))
        await exited.wait()

    def bury(self, cell: Cell[Any], reason: Reason) -> None:
        """Let a child that does not run be gone for good; once only."""
        if cell not in self._cells:
            return
        del self._cells[cell]
        if self._by_name.get(cell.spec.name) is cell:
            del self._by_name[cell.spec.name]
        cell.scope.cancel()
        cell.bury(reason)

    def _note_end(self, cell: Cell[Any], crashed: bool) -> None:
        if not cell.is_halted:
            self._on_end(cell, crashed)

    async def _wait_and_spawn(self, cell: Cell[Any]) -> None:
        with cell.scope:
            await trio.sleep_until(cell.due_at)
        if self.may_begin(cell):
            self.spawn(cell)
