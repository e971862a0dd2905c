"""Pending rows: references into the change log filed for one channel, and what its rows actor has to remember of them.

An heir table of the rows actor: filed by the listener, removed only after the frames were pushed,
so a crash of either loses and repeats nothing.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.messages import JoinKey, RowsMessage
    from protocol.changes.model import Lsn

EVICTED = "Changes were lost: this server could not keep them long enough"


@define(eq=False)
class PendingRows:
    """References by their numbers, oldest first."""

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
    #: What each join was last told of the change source, whether it is live, and at which refresh of its token.
    announced: dict[JoinKey, tuple[int, bool]] = field(factory=dict)
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

    def forget_others_than(self, present: set[JoinKey]) -> None:
        """Drop what is remembered of joins that are not there any more."""
        for memory in (self.announced, self.starts):
            for key in memory.keys() - present:
                del memory[key]
