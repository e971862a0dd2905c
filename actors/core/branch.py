"""The branch: a supervisor that is a child of another supervisor.

The supervisor outlives its branch's incarnations, as a ref outlives its actor's: whoever was given it may keep it.
While the branch is down, `start_child` returns refs that are gone at once, and `find` finds nobody.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from actors.core.signals import Stopping

if TYPE_CHECKING:
    from actors.core.inbox import Inbox
    from actors.core.spec import ChildSpec
    from actors.core.supervisor import Supervisor


class Branch:
    """Runs a supervisor with these static children; says ready when all of them are.

    A `RestartLimitReached` is a crash of the branch, for the supervisor above to deal with.
    On `Stopping` the children are stopped, which takes as long as they do:
    give the branch's spec `ready_within` and `stop_within` that have room for theirs.
    """

    def __init__(self, supervisor: Supervisor, specs: tuple[ChildSpec[Any], ...] = ()) -> None:
        self._supervisor = supervisor
        self._specs = specs

    async def run(self, inbox: Inbox[Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._grow, nursery, inbox)
            async for item in inbox:
                if isinstance(item, Stopping):
                    break
            nursery.cancel_scope.cancel()

    async def _grow(self, nursery: trio.Nursery, inbox: Inbox[Any]) -> None:
        await nursery.start(partial(self._supervisor.run, *self._specs))
        inbox.ready()
