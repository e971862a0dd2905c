"""What everybody on a topic has been told of who is present, and what they are still to be told.

Filled by the presence actor, which notes what is tracked now; emptied by the channel, which tells its roster.
What is noted and taken back before the channel comes to it cancels out, so that nobody hears of it.

**Invariants**
- A meta is in at most one diff's joins; it is in a later diff's leaves if and only if it was in those joins.
- The state is what one gets who folds all diffs confirmed so far.
- Work for a diff grows with what changed, not with what is present.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import frozen

from protocol.events import PresenceDiff
from protocol.presence.meta import member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from protocol.presence.meta import Meta

O = TypeVar("O")  # noqa: E741  # an owner: whoever may track one meta


@frozen(eq=False)
class Shown:
    """A meta, and the JSON by which everybody knows it."""

    meta: Meta
    entry: bytes


@frozen(eq=False)
class Diff(Generic[O]):
    """A step from what everybody knows towards what is tracked; an owner on both sides replaces its meta."""

    joins: Mapping[O, Shown]
    leaves: Mapping[O, Shown]
    known: frozenset[str]
    remaining: frozenset[str]
    after: Callable[[], bytes]

    def event(self) -> PresenceDiff:
        """Return what everybody is told."""
        joins, leaves = _grouped(self.joins.values()), _grouped(self.leaves.values())
        return PresenceDiff(joins, leaves, self.known, self.remaining, self.after)


class Published(Generic[O]):
    """See the module's text; each owner has at most one meta."""

    def __init__(self) -> None:
        self._shown: dict[O, Shown] = {}
        #: Owners whose meta is not what everybody knows: what it is now, None for nothing.
        self._pending: dict[O, Meta | None] = {}
        self._owners: dict[str, dict[O, None]] = {}
        #: The members of the state by key, but for those of stale keys.
        self._members: dict[str, bytes] = {}
        self._stale: set[str] = set()
        self._state: bytes | None = None

    def __len__(self) -> int:
        return len(self._shown)

    @property
    def is_pending(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._pending)

    def owners(self) -> tuple[O, ...]:
        """Return whose metas everybody knows."""
        return tuple(self._shown)

    def note(self, owner: O, meta: Meta | None) -> None:
        """Note what an owner tracks now, None for nothing."""
        shown = self._shown.get(owner)
        if (None if shown is None else shown.meta) is meta:
            self._pending.pop(owner, None)
        else:
            self._pending[owner] = meta

    def next_diff(self, limit_bytes: int) -> Diff[O] | None:
        """Return what to tell everybody next, None if they know everything.

        The diff ends with the owner that brings it to `limit_bytes`; the rest is for further ones.
        """
        joins: dict[O, Shown] = {}
        leaves: dict[O, Shown] = {}
        size = 0
        for owner, meta in self._pending.items():
            shown = self._shown.get(owner)
            if shown is not None:
                leaves[owner] = shown
                size += len(shown.entry)
            if meta is not None:
                entry = meta.entry(None if shown is None else shown.meta.ref)
                joins[owner] = Shown(meta, entry)
                size += len(entry)
            if size >= limit_bytes:
                break
        return self._diff(joins, leaves) if size else None

    def confirm(self, diff: Diff[O]) -> None:
        """Note that everybody was told of a diff, the last one that `next_diff` returned."""
        for owner, shown in diff.leaves.items():
            self._remove(owner, shown.meta.key)
        for owner, shown in diff.joins.items():
            self._add(owner, shown)
        for owner in {**diff.leaves, **diff.joins}:
            del self._pending[owner]
        self._state = None

    def state(self) -> bytes:
        """Return everything that everybody knows, as a JSON object; kept until a diff is confirmed."""
        if self._state is None:
            for key in self._stale:
                entries = (self._shown[owner].entry for owner in self._owners[key])
                self._members[key] = member(key, entries)
            self._stale.clear()
            self._state = b"{%b}" % b",".join(self._members.values())
        return self._state

    def _diff(self, joins: dict[O, Shown], leaves: dict[O, Shown]) -> Diff[O]:
        """Return the diff of these, with what it means to the keys in it."""
        joining = {shown.meta.key for shown in joins.values()}
        leaving = Counter(shown.meta.key for shown in leaves.values())
        known = {key for key in joining | leaving.keys() if key in self._owners}
        staying = {key for key in known if len(self._owners[key]) > leaving[key]}
        return Diff(
            joins,
            leaves,
            frozenset(known),
            frozenset(joining | staying),
            lambda: _grouped(self._after(joins, leaves).values()),
        )

    def _after(self, joins: dict[O, Shown], leaves: dict[O, Shown]) -> dict[O, Shown]:
        """Return what everybody will know, in time that grows with all of it."""
        staying = {o: shown for o, shown in self._shown.items() if o not in leaves}
        return {**staying, **joins}

    def _add(self, owner: O, shown: Shown) -> None:
        self._shown[owner] = shown
        self._owners.setdefault(shown.meta.key, {})[owner] = None
        self._stale.add(shown.meta.key)

    def _remove(self, owner: O, key: str) -> None:
        del self._shown[owner]
        owners = self._owners[key]
        del owners[owner]
        if owners:
            self._stale.add(key)
        else:
            del self._owners[key]
            self._members.pop(key, None)
            self._stale.discard(key)


def _grouped(metas: Iterable[Shown]) -> bytes:
    entries: dict[str, list[bytes]] = {}
    for shown in metas:
        entries.setdefault(shown.meta.key, []).append(shown.entry)
    return b"{%b}" % b",".join(member(key, found) for key, found in entries.items())
