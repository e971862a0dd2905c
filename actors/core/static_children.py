"""Static children: started in list order, each when the one before is ready, and restarted so that the order holds.

Used by the supervisor; `children.py` begins and ends incarnations, `restarts.py` says when.

With `REST_FOR_ONE`, work goes in passes: halt what is younger than the eldest child that is down, newest first,
then bring up in order what is down. A child that falls meanwhile ends the pass, and the next one starts from there:
nobody is brought up on top of something that is down.

**Invariants**: I12, I16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actors.core.errors import NotReady, RestartLimitReached
from actors.core.spec import Restart, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.cell import Cell
    from actors.core.children import Children
    from actors.core.restarts import Restarts
    from actors.core.spec import ChildSpec


class StaticChildren:
    """The children given to one run of a supervisor; their crashes are counted together."""

    def __init__(self, children: Children, restarts: Restarts, strategy: Strategy) -> None:
        self._children = children
        self._restarts = restarts
        self._strategy = strategy
        self._cells: list[Cell[Any]] = []
        self._crashes: list[float] = []
        self._limit: RestartLimitReached | None = None
        self._pass = trio.CancelScope()
        self._coming_up: set[Cell[Any]] = set()

    def __contains__(self, cell: Cell[Any]) -> bool:
        return cell in self._cells

    async def keep_up(
        self, specs: tuple[ChildSpec[Any], ...], on_started: Callable[[], None]
    ) -> None:
        """Bring up all children, say so once, and keep them up until cancelled.

        Raises:
            RestartLimitReached: they crashed too often.
            ValueError: two have the same name.
        """
        for spec in specs:
            self._cells.append(self._children.enter(spec))
        has_started = False
        while self._limit is None:
            with trio.CancelScope() as self._pass:
                await self._halt_rest()
                for cell in self._cells:
                    await self._bring_up(cell)
                if not has_started:
                    has_started = True
                    on_started()
                await trio.sleep_forever()
        raise self._limit

    def fell(self, cell: Cell[Any]) -> None:
        """See to the restart of a child that ended and shall live on; never waits."""
        if self._restarts.is_too_often(self._crashes):
            self._limit = RestartLimitReached(f"{cell.spec.name!r} crashed too often")
            self._pass.cancel()
            return
        self._restarts.schedule(cell)
        if self._strategy is Strategy.REST_FOR_ONE:
            self._pass.cancel()
        elif cell not in self._coming_up:
            self._children.start_soon(self._bring_up, cell)

    async def stop(self) -> None:
        """End all for good, newest first."""
        for cell in reversed(self._cells):
            await self._children.stop(cell)

    async def _halt_rest(self) -> None:
        """End what runs and is younger than the eldest child that is down."""
        living = [cell for cell in self._cells if cell.end is None]
        while living and living[0].is_running:
            living.pop(0)
        for cell in reversed(living[1:]):
            if cell.spec.restart is Restart.TEMPORARY and cell.is_running:
                await self._children.stop(cell)
            else:
                await self._children.halt(cell)

    async def _bring_up(self, cell: Cell[Any]) -> None:
        """Start a child that is down and wait until it is ready, as often as it takes."""
        self._coming_up.add(cell)
        try:
            while self._children.may_begin(cell) and not cell.is_up:
                await trio.sleep_until(cell.due_at)
                if self._children.may_begin(cell):
                    self._children.spawn(cell)
                    await self._wait_ready(cell)
        finally:
            self._coming_up.discard(cell)

    async def _wait_ready(self, cell: Cell[Any]) -> None:
        within = cell.spec.ready_within
        with trio.move_on_after(within):
            await cell.settled.wait()
        if cell.is_running and not cell.is_up:
            await self._children.fail(cell, NotReady(f"not ready within {within} s"))
