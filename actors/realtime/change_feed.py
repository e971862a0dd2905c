"""The change feed: what the listener and all rows actors of a tenant share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from actors.realtime.router import Router

if TYPE_CHECKING:
    from actors.realtime.changelog import ChangeLog
    from actors.realtime.ports import Visibility

NO_DATABASE = "This server runs without a database: row changes are not available"


@define
class SourceState:
    """Whether row changes flow; written by the listener alone, who wakes the rows actors when it changes.

    `advice` is one sentence that says why they do not and what to change.
    """

    is_live: bool = False
    advice: str = NO_DATABASE
    connects: int = 0


@frozen(eq=False)
class ChangeFeed:
    """Tables that outlive their actors, and whom to ask who may see what."""

    log: ChangeLog
    visibility: Visibility
    router: Router = field(factory=Router)
    source: SourceState = field(factory=SourceState)
