"""The change log: the recent changes of a tenant with their positions.

An heir table of the listener, who appends; the rows actors read it by the numbers of their pending references.
Bounded by bytes and by age: what it evicts while it is still pending somewhere is a gap, and is announced there.

**Invariants**
- Numbers only grow; an entry keeps its number, so a reference says by itself whether its change was evicted.
- Positions only grow, until a new stream starts over: what the source repeats is not appended again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from attrs import define, field, frozen

if TYPE_CHECKING:
    from protocol.changes.model import Change, Lsn, Position

#: What an entry costs beside its values, roughly: the objects around them.
ENTRY_OVERHEAD_BYTES = 400


@frozen
class LogStatistics:
    """The window that is held now, and how many changes were evicted since the start; no positions if it is empty."""

    changes: int
    size_bytes: int
    oldest: Position | None
    newest: Position | None
    evicted: int


class Entry(NamedTuple):
    """A change in the log; `appended_at` is a time of the trio clock."""

    change: Change
    size_bytes: int
    appended_at: float


@define
class ChangeLog:
    """Changes numbered in the order they were appended.

    `limit_bytes` bounds their estimated size, `window_s` their age in seconds.
    """

    limit_bytes: int
    window_s: float
    last_position: Position | None = field(default=None, init=False)
    #: Number of the oldest entry, or of the next one if there is none.
    first: int = field(default=0, init=False)
    _size_bytes: int = field(default=0, init=False)
    _evicted: int = field(default=0, init=False)
    _entries: deque[Entry] = field(factory=deque, init=False)

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, change: Change, now: float) -> int | None:
        """Append a change and return its number, or None if it was appended before."""
        if self.last_position is not None and change.position <= self.last_position:
            return None
        self.last_position = change.position
        size_bytes = estimate_bytes(change)
        self._entries.append(Entry(change, size_bytes, now))
        self._size_bytes += size_bytes
        # The newest is kept whatever its size, for somebody is about to be told of it.
        while self._size_bytes > self.limit_bytes and len(self._entries) > 1:
            self._evict()
        return self.first + len(self._entries) - 1

    def get(self, number: int) -> Entry | None:
        """Return the entry of that number, or None if it was evicted."""
        index = number - self.first
        return self._entries[index] if index >= 0 else None

    @property
    def oldest_lsn(self) -> Lsn | None:
        """The commit of the oldest change that is held; None if none is."""
        return self._entries[0].change.position.commit_lsn if self._entries else None

    def evict_older_than(self, appended_at: float) -> None:
        """Evict what was appended before that time of the trio clock."""
        while self._entries and self._entries[0].appended_at < appended_at:
            self._evict()

    def evict_before(self, lsn: Lsn) -> None:
        """Evict the changes of commits before `lsn`."""
        while self._entries and self._entries[0].change.position.commit_lsn < lsn:
            self._evict()

    def start_over(self) -> None:
        """Evict everything and forget positions: what comes next is another stream."""
        while self._entries:
            self._evict()
        self.last_position = None

    def statistics(self) -> LogStatistics:
        """Return the figures of this moment."""
        return LogStatistics(
            changes=len(self._entries),
            size_bytes=self._size_bytes,
            oldest=self._entries[0].change.position if self._entries else None,
            newest=self._entries[-1].change.position if self._entries else None,
            evicted=self._evicted,
        )

    def _evict(self) -> None:
        entry = self._entries.popleft()
        self._size_bytes -= entry.size_bytes
        self.first += 1
        self._evicted += 1


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
