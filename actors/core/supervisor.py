"""Supervisors: a nursery with a loop that alone starts, stops and restarts its children.

Static children are given to `run`: they start in list order, each after the one before said `ready()`,
and stop newest first; beyond the intensity of their crashes together the supervisor raises `RestartLimitReached`.
Dynamic children come and go by `start_child`: they stop all at once; each has a count of its own and is given up alone.

There is no kill: a child that shields itself or never awaits is reported as overdue and waited for.

**Invariants**: I7, I8, I10, I12, I14, I15, I16.
"""

from __future__ import annotations

import contextvars
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from attrs import frozen

from actors.core.cell import Cell
from actors.core.errors import NotReady, RestartLimitReached
from actors.core.incarnation import await_stack, crash_report, live
from actors.core.reports import GiveUpReport, OverdueReport, RestartReport
from actors.core.signals import Reason, Stopping
from actors.core.spec import Intensity, Restart, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from random import Random

    from actors.core.mailbox import MailboxStatistics
    from actors.core.ref import Ref
    from actors.core.reports import Report
    from actors.core.spec import ChildSpec

M = TypeVar("M")

#: Seconds a cancelled child may take to clean up before it is reported as overdue.
OVERDUE_AFTER = 1.0


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
        self._random = random
        self._observe = observe
        self._intensity = intensity or Intensity()
        self._strategy = strategy
        self._children: dict[Hashable, Cell[Any]] = {}
        self._nursery: trio.Nursery | None = None
        self._begin()

    def _begin(self) -> None:
        """Forget the run before: a supervisor may run again, as the child of another does after a crash."""
        self._static: list[Cell[Any]] = []
        self._static_crashes: deque[float] = deque()
        self._to_restart: list[Cell[Any]] = []
        self._limit: RestartLimitReached | None = None
        self._attention = trio.Event()
        self._is_stopping = False
        # Children live in the context of the supervisor's start, not of whoever happens to start them.
        self._context = contextvars.copy_context()

    def find(self, name: Hashable) -> Ref[Any] | None:
        """Return the living child of that name."""
        cell = self._children.get(name)
        return cell.ref if cell is not None and cell.ref.alive else None

    def children(self) -> tuple[ChildInfo, ...]:
        """Return what is known of every child that is not gone for good, oldest first."""
        return tuple(
            ChildInfo(
                cell.spec.name,
                cell.incarnation,
                cell.is_running,
                cell.mailbox.statistics(),
                None if cell.spec.heir is None else len(cell.spec.heir),
            )
            for cell in self._children.values()
        )

    def start_child(self, spec: ChildSpec[M]) -> Ref[M]:
        """Start a dynamic child and return its ref; never waits.

        Messages may be sent at once.
        A child that is started while the supervisor stops is gone at once, and says so to who watches or asks.

        Raises:
            ValueError: a living child has that name.
        """
        cell = self._enter(spec)
        if self._is_stopping or self._nursery is None:
            self._bury(cell, Reason.STOPPED)
        else:
            self._spawn(cell)
        return cell.ref

    async def stop_child(self, ref: Ref[Any]) -> None:
        """Stop a child in two phases and wait until it is gone; not to be called by the child itself."""
        cell = self._cell(ref)
        if cell is not None:
            await self._stop(cell)

    def fail(self, ref: Ref[Any], error: Exception) -> None:
        """Make the running incarnation crash with `error` at its next checkpoint; never waits.

        For work that is done on a child's behalf elsewhere: its bugs are charged to the child.
        """
        cell = self._cell(ref)
        if cell is not None and cell.is_running and not cell.is_stopping:
            cell.failure = error
            cell.scope.cancel()

    def poison(self, ref: Ref[Any]) -> bool:
        """Queue a message that crashes the child when it is taken; for restart tests and drills."""
        cell = self._cell(ref)
        return cell is not None and cell.mailbox.put_poison()

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
        self._begin()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                for spec in specs:
                    cell = self._enter(spec)
                    self._static.append(cell)
                    await self._bring_up(cell)
                task_status.started(self)
                await self._watch_over()
            except RestartLimitReached as limit:
                self._limit = limit
            finally:
                self._is_stopping = True
                with trio.CancelScope(shield=True):
                    await self._stop_all()
                self._nursery = None
                nursery.cancel_scope.cancel()
        if self._limit is not None:
            raise self._limit

    def _cell(self, ref: Ref[Any]) -> Cell[Any] | None:
        cell = self._children.get(ref.name)
        return cell if cell is not None and cell.ref is ref else None

    def _enter(self, spec: ChildSpec[M]) -> Cell[M]:
        if self.find(spec.name) is not None:
            raise ValueError(f"{spec.name!r} lives already")
        cell = Cell(spec, on_overflow=self._ask_to_stop)
        self._children[spec.name] = cell
        return cell

    def _spawn(self, cell: Cell[Any]) -> None:
        assert self._nursery is not None  # noqa: S101  # children start inside run only
        cell.begin()
        start = partial(
            self._nursery.start_soon, self._supervise, cell, name=repr(cell.spec.name)
        )
        self._context.run(start)

    async def _supervise(self, cell: Cell[Any]) -> None:
        failure: Exception | None = None
        try:
            failure = await live(cell)
            if failure is not None:
                self._observe(crash_report(cell, failure))
        finally:
            cell.finish(crashed=failure is not None)
        if not cell.is_starting:
            self._decide(cell, crashed=failure is not None)

    def _decide(self, cell: Cell[Any], *, crashed: bool) -> None:
        """Bury the child whose incarnation just ended, or see to its restart."""
        if cell.is_halted:
            return
        if cell.is_stopping or self._is_stopping:
            self._bury(cell, Reason.STOPPED)
        elif cell.mailbox.is_closed or not self._shall_live_on(cell, crashed=crashed):
            self._bury(cell, Reason.GAVE_UP if crashed else Reason.RETURNED)
        elif cell not in self._static:
            if self._is_too_often(cell.crashes):
                self._observe(GiveUpReport(cell.spec.name, len(cell.crashes)))
                self._bury(cell, Reason.GAVE_UP)
            else:
                self._spawn_later(cell)
        elif self._is_too_often(self._static_crashes):
            self._limit = RestartLimitReached(f"{cell.spec.name!r} crashed too often")
            self._attention.set()
        elif self._strategy is Strategy.REST_FOR_ONE:
            self._to_restart.append(cell)
            self._attention.set()
        else:
            self._spawn_later(cell)

    def _shall_live_on(self, cell: Cell[Any], *, crashed: bool) -> bool:
        match cell.spec.restart:
            case Restart.PERMANENT:
                return True
            case Restart.TRANSIENT:
                return crashed
            case Restart.TEMPORARY:
                return False

    def _is_too_often(self, crashes: deque[float]) -> bool:
        """Count a crash now; say whether there are more within the period than tolerated."""
        now = trio.current_time()
        crashes.append(now)
        while crashes[0] <= now - self._intensity.period:
            crashes.popleft()
        return len(crashes) > self._intensity.restarts

    def _delay(self, cell: Cell[Any]) -> float:
        """Return the seconds to wait before the restart that is due now, and report it."""
        lived = trio.current_time() - cell.began_at
        cell.crashes_in_a_row = (
            1 if lived > self._intensity.period else cell.crashes_in_a_row + 1
        )
        delay = cell.spec.backoff.delay(cell.crashes_in_a_row, self._random.random())
        self._observe(RestartReport(cell.spec.name, cell.incarnation + 1, delay))
        return delay

    def _spawn_later(self, cell: Cell[Any]) -> None:
        delay = self._delay(cell)
        if delay <= 0:
            self._spawn(cell)
        else:
            assert self._nursery is not None  # noqa: S101
            self._nursery.start_soon(self._sleep_and_spawn, cell, delay)

    async def _sleep_and_spawn(self, cell: Cell[Any], delay: float) -> None:
        await trio.sleep(delay)
        if cell.end is None and not self._is_stopping:
            self._spawn(cell)

    async def _watch_over(self) -> None:
        """Restart what a crash of a static child concerns, eldest first, until cancelled or the limit is reached."""
        while True:
            await self._attention.wait()
            self._attention = trio.Event()
            if self._limit is not None:
                raise self._limit
            while self._to_restart:
                await self._restart_with_rest(min(self._to_restart, key=self._static.index))

    async def _restart_with_rest(self, cell: Cell[Any]) -> None:
        rest = self._static[self._static.index(cell) :]
        younger = [other for other in rest[1:] if other.end is None]
        for other in reversed(younger):
            other.is_halted = True
            await self._end_incarnation(other)
        self._to_restart = [other for other in self._to_restart if other not in rest]
        await trio.sleep(self._delay(cell))
        for other in [cell, *younger]:
            await self._bring_up(other)

    async def _bring_up(self, cell: Cell[Any]) -> None:
        """Start a static child and wait until it is ready, restarting it as often as is tolerated."""
        cell.is_starting = True
        while True:
            self._spawn(cell)
            with trio.move_on_after(cell.spec.ready_within):
                await cell.settled.wait()
            if cell.is_ready and cell.is_running:
                break
            if cell.is_running:
                self.fail(cell.ref, NotReady(f"not ready within {cell.spec.ready_within} s"))
                await cell.exited.wait()
            if cell.mailbox.is_closed or not self._shall_live_on(cell, crashed=cell.has_failed):
                self._bury(cell, Reason.GAVE_UP if cell.has_failed else Reason.RETURNED)
                break
            if self._is_too_often(self._static_crashes):
                raise RestartLimitReached(f"{cell.spec.name!r} crashed too often")
            await trio.sleep(self._delay(cell))
        cell.is_starting = False

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for cell in tuple(self._children.values()):
                if cell not in self._static:
                    nursery.start_soon(self._stop, cell)
        for cell in reversed(self._static):
            await self._stop(cell)

    async def _stop(self, cell: Cell[Any]) -> None:
        cell.is_stopping = True
        cell.is_starting = False
        cell.is_halted = False
        await self._end_incarnation(cell)
        self._bury(cell, Reason.STOPPED)

    async def _end_incarnation(self, cell: Cell[Any]) -> None:
        """Ask the running incarnation to stop, give its scope a deadline, and wait until it ended (I14)."""
        if not cell.is_running:
            return
        self._ask_to_stop(cell)
        with trio.move_on_at(cell.scope.deadline + OVERDUE_AFTER):
            await cell.exited.wait()
        if cell.is_running:
            self._observe(OverdueReport(cell.spec.name, await_stack(cell)))
            await cell.exited.wait()

    def _ask_to_stop(self, cell: Cell[Any]) -> None:
        cell.is_stopping = True
        deadline = trio.current_time() + cell.spec.stop_within
        if deadline < cell.scope.deadline:
            cell.scope.deadline = deadline
            cell.mailbox.put_signal(Stopping(deadline))

    def _bury(self, cell: Cell[Any], reason: Reason) -> None:
        cell.bury(reason)
        if self._children.get(cell.spec.name) is cell:
            del self._children[cell.spec.name]
