"""The router: from a change to the channels with subscriptions that may want it.

An index of the subscriptions that Postgres accepted, changed in the same block as the rosters are, so nothing can race.
Its cost grows with the channels that match, not with those that exist (`change_index.py`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

from actors.realtime.change_index import ChangeIndex

if TYPE_CHECKING:
    from actors.realtime.interests import Moved
    from actors.realtime.pending_rows import PendingRows
    from protocol.changes.model import Change


@define
class Router:
    """Channels by the changes they may want; a channel is known by its pending rows."""

    _index: ChangeIndex[PendingRows] = field(factory=ChangeIndex["PendingRows"])
    _subscriptions: Counter[PendingRows] = field(factory=Counter["PendingRows"])

    def attend(self, pending: PendingRows) -> None:
        """Note that the channel has one more subscription to row changes, whatever they may be."""
        self._subscriptions[pending] += 1

    def leave(self, pending: PendingRows) -> None:
        """Note that the channel has one less."""
        if pending in self._subscriptions:
            self._subscriptions[pending] -= 1
            if not self._subscriptions[pending]:
                del self._subscriptions[pending]

    def move(self, moved: Moved, pending: PendingRows) -> None:
        """Let changes of some routes come to the channel, and those of others not any more."""
        for route in moved.added:
            self._index.add(route, pending)
        for route in moved.removed:
            self._index.remove(route, pending)

    def drop(self, pending: PendingRows) -> None:
        """Forget a channel altogether."""
        self._subscriptions.pop(pending, None)
        for route in pending.interests.clear():
            self._index.remove(route, pending)

    def match(self, change: Change) -> tuple[PendingRows, ...]:
        """Return the channels that may want the change, each once."""
        return self._index.match(change)

    def channels(self) -> tuple[PendingRows, ...]:
        """Return every channel with a subscription to row changes."""
        return tuple(self._subscriptions)
