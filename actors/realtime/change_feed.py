"""The change feed: what the listener and all rows actors of a tenant share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from actors.realtime.router import Router
from protocol.changes.render import ChangeRenderer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.realtime.changelog import ChangeLog
    from actors.realtime.ports import ChangeSource, Question, Sight, Visibility
    from protocol.changes.model import Change

NO_DATABASE = "This server runs without a database: row changes are not available"


class NobodySees:
    """The visibility of a server without a database: nothing may be seen."""

    async def check(self, questions: Sequence[Question]) -> Sequence[Mapping[Change, Sight]]:
        """Withhold every change."""
        await trio.lowlevel.checkpoint()
        return [{}] * len(questions)


@define
class SourceState:
    """Whether row changes flow; written by the listener alone, who wakes the rows actors when it changes.

    `advice` is one sentence that says why they do not and what to change.
    """

    is_live: bool = False
    advice: str = NO_DATABASE
    connects: int = 0
    #: Whether the database keeps so much for us that no more subscribers are taken.
    is_pressed: bool = False
    _arrival: trio.Event = field(factory=trio.Event, init=False)

    def come(self) -> None:
        """Note that the stream is live."""
        self.is_live = True
        self.connects += 1
        self._arrival.set()

    def go(self, advice: str) -> None:
        """Note that the stream is not live, and why."""
        self.is_live, self.advice = False, advice
        if self._arrival.is_set():
            self._arrival = trio.Event()

    async def wait_live(self) -> None:
        """Wait until the stream is live."""
        await self._arrival.wait()


@frozen(eq=False)
class ChangeFeed:
    """Tables that outlive their actors, whom to ask who may see what, and where changes come from, if from anywhere."""

    log: ChangeLog
    visibility: Visibility
    source: ChangeSource | None = None
    router: Router = field(factory=Router)
    state: SourceState = field(factory=SourceState)
    renderer: ChangeRenderer = field(factory=ChangeRenderer)
