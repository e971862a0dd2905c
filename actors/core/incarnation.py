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
    from collections.abc import Iterator
    from types import FrameType

    from actors.core.cell import Cell

#: Innermost frames that a report keeps; endless recursion has a thousand.
STACK_LIMIT = 50


async def live(cell: Cell[Any]) -> Exception | None:
    """Run a fresh actor until it ends, and return what it failed with, None if it did not.

    An error during cancellation is returned as well, and the cancellation still takes effect.
    """
    failure: Exception | None = None
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
    return cell.failure or failure


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
