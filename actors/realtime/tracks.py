"""The tracks of a topic: who is present in it, by join.

An heir table: it outlives the incarnations of the presence actor that reads it, because nobody could fill it again.
An entry is written and removed by the connection that owns it, and by nobody else while that lives;
what a connection left behind is dropped when its end is signalled.

**Invariants**
- A join has at most one track.
- Whatever changed is in `take_changed` until it was taken, even if nobody could be told of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.core.ref import Ref
    from actors.realtime.messages import JoinKey
    from actors.telemetry.metrics import Metrics
    from protocol.presence.meta import Meta


@define(eq=False)
class Track:
    """What one join tracks, and who answers for it; `seen_at` is when its client last said so (trio clock)."""

    meta: Meta
    owner: Ref[Any]
    seen_at: float = 0.0

    @property
    def size_bytes(self) -> int:
        """What it counts towards the bounds of its topic and of its connection."""
        return len(self.meta.payload) + len(self.meta.key)


@define(eq=False)
class Tracks:
    """Tracks by join, and by owner."""

    _metrics: Metrics
    _entries: dict[JoinKey, Track] = field(factory=dict)
    _of_owner: dict[Ref[Any], dict[JoinKey, None]] = field(factory=dict)
    #: Joins whose entry changed, with their owners.
    _changed: dict[JoinKey, Ref[Any]] = field(factory=dict)
    #: Bytes of all tracks together.
    size_bytes: int = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Track]:
        return iter(tuple(self._entries.values()))

    def get(self, join: JoinKey) -> Track | None:
        """Return what a join tracks."""
        return self._entries.get(join)

    def write(self, join: JoinKey, track: Track) -> None:
        """Enter a track, in place of an earlier one of the join."""
        self.remove(join)
        self._entries[join] = track
        self._of_owner.setdefault(track.owner, {})[join] = None
        self._count(join, track, 1)

    def remove(self, join: JoinKey) -> Track | None:
        """Take out what a join tracks and return it, if it tracked anything."""
        track = self._entries.pop(join, None)
        if track is None:
            return None
        del self._of_owner[track.owner][join]
        if not self._of_owner[track.owner]:
            del self._of_owner[track.owner]
        self._count(join, track, -1)
        return track

    def drop(self, owner: Ref[Any]) -> None:
        """Take out what a connection that is gone has left here."""
        for join in tuple(self._of_owner.get(owner, ())):
            self.remove(join)

    def is_owner(self, owner: Ref[Any]) -> bool:
        """Whether a connection tracks anything here."""
        return owner in self._of_owner

    def take_changed(self) -> dict[JoinKey, Ref[Any]]:
        """Return the joins whose entry changed since this was asked last, with their owners."""
        changed, self._changed = self._changed, {}
        return changed

    def mark_all_changed(self) -> None:
        """Let every entry be looked at again."""
        self._changed.update((join, track.owner) for join, track in self._entries.items())

    def _count(self, join: JoinKey, track: Track, sign: int) -> None:
        self._changed[join] = track.owner
        self.size_bytes += sign * track.size_bytes
        self._metrics.presences.inc(sign)
