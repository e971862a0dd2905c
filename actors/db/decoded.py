"""Which transactions the log has had changes of lately, and in which tables.

Used by `with_triggers`, which is told of the same changes by triggers and hands out each once.

**Invariants**
- Noting costs nothing but the memory of a few chunks: they are read only when somebody asks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.changes.model import Change

#: How many chunks are remembered; what is told of a commit comes soon after it.
MAX_CHUNKS: Final = 32


@define(eq=False)
class Decoded:
    """The last chunks of the log."""

    _chunks: deque[Sequence[Change]] = field(
        factory=lambda: deque["Sequence[Change]"](maxlen=MAX_CHUNKS), init=False
    )
    #: Transactions and tables of these chunks; None while nobody has asked since the last one.
    _pairs: frozenset[tuple[int, int]] | None = field(default=None, init=False)

    def note(self, changes: Sequence[Change]) -> None:
        """Remember changes that the log has had."""
        self._chunks.append(changes)
        self._pairs = None

    def has(self, told: Change) -> bool:
        """Whether the log has had changes of the same transaction and table; never if that is not known."""
        if self._pairs is None:
            self._pairs = frozenset(
                (change.xid, change.table.relation.oid)
                for changes in self._chunks
                for change in changes
            )
        return told.xid != 0 and (told.xid, told.table.relation.oid) in self._pairs
