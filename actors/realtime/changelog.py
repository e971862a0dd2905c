"""The change log: the recent changes of a tenant with their positions, and what each channel still has to look at.

Heir tables of the listener and of the rows actors: a crash of either loses and repeats nothing,
because the listener appends and files in one block,
and a rows actor removes a reference only after its frames were pushed.
The log is bounded by bytes; what it evicts while still pending somewhere is a gap, and is announced there.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.messages import JoinKey, RowsMessage
    from protocol.changes.model import Change, Position

#: What an entry costs beside its values, roughly: the objects around them.
ENTRY_OVERHEAD_BYTES = 400


@define
class ChangeLog:
    """Changes numbered in the order they were appended; `limit_bytes` bounds their estimated size."""

    limit_bytes: int
    last_position: Position | None = None
    size_bytes: int = 0
    evicted: int = 0
    #: Number of the oldest entry.
    first: int = 0
    _entries: deque[tuple[Change, int]] = field(factory=deque)

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, change: Change) -> int | None:
        """Append a change and return its number, or None if a change of its position or later was appended before."""
        if self.last_position is not None and change.position <= self.last_position:
            return None
        self.last_position = change.position
        size = estimate_bytes(change)
        self._entries.append((change, size))
        self.size_bytes += size
        while self.size_bytes > self.limit_bytes and len(self._entries) > 1:
            _, freed = self._entries.popleft()
            self.size_bytes -= freed
            self.first += 1
            self.evicted += 1
        return self.first + len(self._entries) - 1

    def get(self, number: int) -> Change | None:
        """Return the change of that number, or None if it was evicted."""
        index = number - self.first
        return self._entries[index][0] if index >= 0 else None


@define(eq=False)
class PendingRows:
    """References into the change log filed for one channel, oldest first; an heir table of its rows actor."""

    rows: Ref[RowsMessage] | None = None
    references: deque[int] = field(factory=deque)
    #: What an incarnation has begun to handle and not finished; not empty at a start means that it crashed there.
    begun: tuple[int, ...] = ()
    #: Up to here references are handled one by one, for a batch with one of them crashed.
    careful_until: int = -1
    #: A reference that crashed its handler alone.
    suspect: int | None = None
    #: Whether references were dropped because the log evicted their changes.
    has_gap: bool = False
    #: What each join was last told of the change source: whether it is live.
    announced: dict[JoinKey, bool] = field(factory=dict)

    def __len__(self) -> int:
        return len(self.references)

    def file(self, number: int, oldest: int) -> None:
        """Add a reference, dropping those to changes older than `oldest`."""
        while self.references and self.references[0] < oldest:
            self.references.popleft()
            self.has_gap = True
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


def estimate_bytes(change: Change) -> int:
    """Return about how much memory a change takes."""
    values = sum(
        len(value)
        for row in (change.new, change.old)
        if row is not None
        for value in row
        if isinstance(value, str)
    )
    return ENTRY_OVERHEAD_BYTES + values
