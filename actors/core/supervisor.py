"""Supervisors: a nursery with a loop that alone starts, stops and restarts its children.

Static children are given to `run`: they start in list order, each after the one before said `ready()`,
and stop newest first; beyond the intensity of their crashes together the supervisor raises `RestartLimitReached`.
Dynamic children come and go by `start_child`: they stop all at once; each has a count of its own and is given up alone.

This file is the surface and the decision what becomes of a child that ended. Beside it: `children.py` (the table,
and how incarnations begin and end), `static_children.py` (their order), `restarts.py` (when).

**Invariants**: I11, I14, I16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import trio
from attrs import frozen

from actors.core.children import Children
from actors.core.errors import RestartLimitReached
from actors.core.ref import cell_of
from actors.core.reports import GiveUpReport
from actors.core.restarts import Restarts, shall_live_on
from actors.core.signals import Reason
from actors.core.spec import Intensity, Strategy
from actors.core.static_children import StaticChildren

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from random import Random

    from actors.core.cell import Cell
    from actors.core.mailbox import MailboxStatistics
    from actors.core.ref import Ref
    from actors.core.reports import Report
    from actors.core.spec import ChildSpec

M = TypeVar("M")


@frozen
class ChildInfo:
    """One child as it is now; `heir_size` is None for a child without an heir table."""

    name: Hashable
    incarnation: int
    is_running: bool
    mailbox: MailboxStatistics
    heir_size: int | None


class Supervisor:
    """Runs children in a nursery of its own; see the module's text.

    It may run again after it ended, and starts from nothing then.
    A child that is started while it does not run is gone at once.
    `observe` is told of crashes, restarts and worse, synchronously; it must not raise.
    """

    def __init__(
        self,
        *,
        random: Random,
        observe: Callable[[Report], None],
        intensity: Intensity | None = None,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
    ) -> None:
        self._observe = observe
        self._restarts = Restarts(intensity or Intensity(), random, observe)
        self._strategy = strategy
        self._is_running = False
        self._begin(None)

    def _begin(self, nursery: trio.Nursery | None) -> None:
        self._children = Children(nursery, self._observe, self._on_end)
        self._static = StaticChildren(self._children, self._restarts, self._strategy)

    def find(self, name: Hashable) -> Ref[Any] | None:
        """Return the living child of that name."""
        cell = self._children.find(name)
        return None if cell is None else cell.ref

    @property
    def size(self) -> int:
        """How many children are not gone for good."""
        return len(self._children.cells())

    def children(self, limit: int | None = None) -> tuple[ChildInfo, ...]:
        """Return what is known of every child that is not gone for good, or of so many; oldest first."""
        return tuple(
            ChildInfo(
                cell.spec.name,
                cell.incarnation,
                cell.is_running,
                cell.mailbox.statistics(),
                None if cell.spec.heir is None else len(cell.spec.heir),
            )
            for cell in self._children.cells()[:limit]
        )

    def start_child(self, spec: ChildSpec[M]) -> Ref[M]:
        """Start a dynamic child and return its ref; never waits.

        Messages may be sent at once.
        A child that is started while the supervisor stops or does not run is gone at once,
        and says so to who watches or asks.

        Raises:
            ValueError: a living child has that name.
        """
        cell = self._children.enter(spec)
        if self._children.may_begin(cell):
            self._children.spawn(cell)
        return cell.ref

    async def stop_child(self, ref: Ref[Any]) -> None:
        """Stop a child in two phases and wait until it is gone; not to be called by the child itself.

        If the caller is cancelled, the child stops all the same.
        """
        cell = cell_of(ref)
        if cell in self._children:
            await self._children.stop(cell)

    def fail(self, ref: Ref[Any], error: Exception) -> None:
        """Make the running incarnation crash with `error` at its next checkpoint; never waits.

        For work that is done on a child's behalf elsewhere: its bugs are charged to the child.
        Between two incarnations, and once the child was asked to stop, this does nothing.
        Of two errors the first counts.
        """
        cell = cell_of(ref)
        if cell in self._children:
            self._children.fail_nowait(cell, error)

    def poison(self, ref: Ref[Any]) -> bool:
        """Queue a message that crashes the child when it is taken; for restart tests and drills."""
        cell = cell_of(ref)
        return cell in self._children and cell.mailbox.put_poison()

    async def run(
        self,
        *specs: ChildSpec[Any],
        task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Start the static children, report started, and supervise until cancelled.

        On the way out every child is stopped, whatever the reason.

        Raises:
            RestartLimitReached: the static children crashed too often.
        """
        if self._is_running:
            raise RuntimeError("a supervisor runs once at a time")
        self._is_running = True
        try:
            await self._run(specs, task_status)
        finally:
            self._is_running = False

    async def _run(
        self, specs: tuple[ChildSpec[Any], ...], task_status: trio.TaskStatus[Supervisor]
    ) -> None:
        limit: RestartLimitReached | None = None
        async with trio.open_nursery() as nursery:
            self._begin(nursery)
            try:
                await self._static.keep_up(specs, lambda: task_status.started(self))
            except RestartLimitReached as reached:
                limit = reached
            finally:
                self._children.close()
                with trio.CancelScope(shield=True):
                    await self._stop_all()
                nursery.cancel_scope.cancel()
        # Raised out here, or the nursery would wrap it in a group.
        if limit is not None:
            raise limit

    def _on_end(self, cell: Cell[Any], crashed: bool) -> None:
        """Bury the child whose incarnation just ended, or see to its next one."""
        if cell.is_stopping or self._children.is_closed:
            self._children.bury(cell, Reason.STOPPED)
        elif cell.mailbox.is_closed or not shall_live_on(cell.spec.restart, crashed=crashed):
            self._children.bury(cell, Reason.GAVE_UP if crashed else Reason.RETURNED)
        elif cell in self._static:
            self._static.fell(cell)
        elif self._restarts.is_too_often(cell.crashes):
            self._observe(GiveUpReport(cell.spec.name, len(cell.crashes)))
            self._children.bury(cell, Reason.GAVE_UP)
        elif self._restarts.schedule(cell) > 0:
            self._children.spawn_later(cell)
        else:
            self._children.spawn(cell)

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for cell in self._children.cells():
                if cell not in self._static:
                    nursery.start_soon(self._children.stop, cell)
        await self._static.stop()
