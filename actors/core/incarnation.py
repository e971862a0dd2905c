"""One life of an actor, from its factory to what became of it.

Called by the supervisor, in a task of the supervisor's nursery.

**Invariants**: I11 (only `KeyboardInterrupt`, `SystemExit` and trio's own internal errors leave as exceptions),
I13 (outer cancellation does not reach the actor: its scope is shielded and belongs to the supervisor).
"""

from __future__ import annotations

import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

import trio

from actors.core.inbox import Inbox
from actors.core.reports import CrashReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from actors.core.cell import Cell
    from actors.core.reports import Report

#: Innermost frames that a report keeps; endless recursion has a thousand.
STACK_LIMIT = 50


async def live(
    cell: Cell[Any],
    observe: Callable[[Report], None],
    on_end: Callable[[Cell[Any], bool], None],
) -> None:
    """Run a fresh actor until it ends; report what it failed with, and tell `on_end` whether it did.

    An error during cancellation is a failure as well, and the cancellation still takes effect.
    All in one coroutine, for each takes a quarter of a kilobyte as long as an actor lives.
    """
    failure: Exception | None = None
    try:
        with cell.scope:
            cell.task = trio.lowlevel.current_task()
            try:
                await cell.spec.factory().run(Inbox(cell))
            except Exception as error:  # noqa: BLE001  # this is where exceptions become data
                failure = error
            except BaseExceptionGroup as group:
                # Split by type, never by a predicate: a predicate is tried on the group first.
                cancelled, rest = group.split(trio.Cancelled)
                if cancelled is None or (rest is not None and not isinstance(rest, Exception)):
                    raise
                failure = rest
                raise cancelled from None
        failure = cell.failure or failure
        if failure is not None:
            observe(crash_report(cell, failure))
    finally:
        cell.finish(crashed=failure is not None)
    on_end(cell, failure is not None)


def crash_report(cell: Cell[Any], failure: Exception) -> CrashReport:
    """Describe a crash without anything that a client may have sent."""
    leaf: BaseException = failure
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    held = cell.in_hand
    return CrashReport(
        name=cell.spec.name,
        incarnation=cell.incarnation,
        message=None if held is None else type(held).__name__,
        error=type(leaf).__name__,
        stack=_places(traceback.walk_tb(leaf.__traceback__)),
    )


def await_stack(cell: Cell[Any]) -> tuple[str, ...]:
    """Return where the running incarnation sits, outermost first."""
    return () if cell.task is None else _places(cell.task.iter_await_frames())


def _places(frames: Iterator[tuple[FrameType, int]]) -> tuple[str, ...]:
    # Not `extract_tb`, which reads source files: a crash does not wait for a disk.
    return tuple(
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
        for frame, line in deque(frames, maxlen=STACK_LIMIT)
    )
