"""Pending rows: the backlog of one channel's rows actor, and what it has to remember of its subscriptions.

An heir table of the rows actor; see `backlog.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from actors.realtime.backlog import Backlog
from actors.realtime.interests import Interests

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.messages import JoinKey, RowsMessage
    from protocol.changes.model import Lsn


@define
class Standing:
    """What a subscription was told last, and how often it had been resolved by then.

    `message` is the text, None at the very first.
    `resolved` is the epoch of the source, and how often the client had exchanged its token.
    `told` counts the connections of the source, and the tokens as well.
    `is_greeted`: it had the answer to its join, if that was to wait for its row changes.
    """

    message: str | None = None
    resolved: tuple[int, int] | None = None
    told: tuple[int, int] | None = None
    is_greeted: bool = False


@define(eq=False)
class PendingRows(Backlog):
    """References by their numbers, oldest first; what the channel's subscriptions want, and what they were told."""

    rows: Ref[RowsMessage] | None = None
    interests: Interests = field(factory=Interests)
    #: Joins that have to be resolved, or to be told something.
    unsettled: dict[JoinKey, None] = field(factory=dict)
    #: The state of the change source for which everybody was settled: whether it was live, and its epoch.
    settled_for: tuple[bool, int] | None = None
    standings: dict[JoinKey, Standing] = field(factory=dict)
    #: From which position on a join gets changes, where that could not be read when it joined.
    starts: dict[JoinKey, Lsn] = field(factory=dict)

    def standing(self, join: JoinKey) -> Standing:
        """Return what is remembered of a join."""
        return self.standings.setdefault(join, Standing())

    def forget(self, join: JoinKey) -> None:
        """Drop what is remembered of a join that is gone, but for its interests."""
        self.unsettled.pop(join, None)
        self.standings.pop(join, None)
        self.starts.pop(join, None)
