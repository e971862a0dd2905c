"""Pending rows: references into the change log filed for one channel, and what its rows actor has to remember of them.

An heir table of the rows actor: filed by the listener, removed only after the frames were pushed,
so a crash of either loses and repeats nothing.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from attrs import define, field

from actors.realtime.interests import Interests

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.messages import JoinKey, RowsMessage
    from protocol.changes.model import Lsn

EVICTED = "Changes were lost: this server could not keep them long enough"


@define
class Standing:
    """What a subscription was told last, and how often it had been resolved by then.

    `message` is the text, None at the very first.
    `resolved` is the epoch of the source, and how often the client had exchanged its token.
    `told` counts the connections of the source, and the tokens as well.
    """

    message: str | None = None
    resolved: tuple[int, int] | None = None
    told: tuple[int, int] | None = None


@define(eq=False)
class PendingRows:
    """References by their numbers, oldest first; what the channel's subscriptions want, and what they were told."""

    rows: Ref[RowsMessage] | None = None
    references: deque[int] = field(factory=deque)
    #: What an incarnation has begun to handle and not finished; not empty at a start means that it crashed there.
    begun: tuple[int, ...] = ()
    #: Up to here references are handled one by one, for a batch with one of them crashed.
    careful_until: int = -1
    #: A reference that crashed its handler alone.
    suspect: int | None = None
    #: Why changes were lost that nobody has been told of yet, for clients to read.
    loss: str | None = None
    interests: Interests = field(factory=Interests)
    #: Joins that have to be resolved, or to be told something.
    unsettled: dict[JoinKey, None] = field(factory=dict)
    #: The state of the change source for which everybody was settled: whether it was live, and its epoch.
    settled_for: tuple[bool, int] | None = None
    standings: dict[JoinKey, Standing] = field(factory=dict)
    #: From which position on a join gets changes, where that could not be read when it joined.
    starts: dict[JoinKey, Lsn] = field(factory=dict)

    def __len__(self) -> int:
        return len(self.references)

    def file(self, number: int, oldest: int) -> None:
        """Add a reference, dropping those to changes older than `oldest`, which were evicted."""
        while self.references and self.references[0] < oldest:
            self.references.popleft()
            self.loss = EVICTED
        self.references.append(number)

    def begin(self, limit: int) -> tuple[int, ...]:
        """Return the oldest references, and remember that they are being handled."""
        is_careful = self.references[0] <= self.careful_until
        self.begun = tuple(islice(self.references, 1 if is_careful else limit))
        return self.begun

    def begin_only(self, count: int) -> None:
        """Leave what was begun behind the first `count` for the next time."""
        self.begun = self.begun[:count]

    def finish(self) -> None:
        """Remove what was begun: its frames were pushed."""
        while self.begun and self.references and self.references[0] <= self.begun[-1]:
            self.references.popleft()
        self.begun = ()

    def take_stock(self) -> bool:
        """Look at what a crashed incarnation left; return whether a change was skipped.

        After a crash in the middle of a batch its changes are handled one by one.
        One that crashes its handler alone, and then again, is skipped.
        """
        begun = self.begun
        if not begun:
            return False
        self.careful_until = max(self.careful_until, begun[-1])
        is_alone = len(begun) == 1
        if is_alone and begun[0] == self.suspect:
            self.finish()
            return True
        self.suspect = begun[0] if is_alone else None
        self.begun = ()
        return False

    def standing(self, join: JoinKey) -> Standing:
        """Return what is remembered of a join."""
        return self.standings.setdefault(join, Standing())

    def forget(self, join: JoinKey) -> None:
        """Drop what is remembered of a join that is gone, but for its interests."""
        self.unsettled.pop(join, None)
        self.standings.pop(join, None)
        self.starts.pop(join, None)
