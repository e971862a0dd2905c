"""The backlog: references into the change log filed for one reader, who works through them in order.

An heir table of the reader: filed by the listener, removed only after what they led to was done,
so a crash of either loses and repeats nothing.
What crashes its handler twice is skipped, for whatever comes behind it must not wait for ever.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from attrs import define, field

EVICTED = "Changes were lost: this server could not keep them long enough"


@define(eq=False)
class Backlog:
    """References by their numbers, oldest first."""

    references: deque[int] = field(factory=deque)
    #: What an incarnation has begun to handle and not finished; not empty at a start means that it crashed there.
    begun: tuple[int, ...] = ()
    #: Up to here references are handled one by one, for a batch with one of them crashed.
    careful_until: int = -1
    #: A reference that crashed its handler alone.
    suspect: int | None = None
    #: Why changes were lost that nobody has been told of yet, for people to read.
    loss: str | None = None

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
        """Remove what was begun: it was done."""
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
