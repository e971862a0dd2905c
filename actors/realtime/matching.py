"""From changes to frames: which subscription gets which change, and what it is sent.

On behalf of the rows actor; what has to be asked for a filter is in `judging.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from actors.realtime.change_ports import Question
from protocol.changes.model import Kind
from protocol.changes.render import shown_columns
from protocol.events import BareRowChange, RowChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from actors.realtime.change_ports import Sight
    from actors.realtime.interests import Interest
    from actors.realtime.ports import Identity
    from actors.realtime.roster import Subscription
    from protocol.changes.model import Change
    from protocol.changes.predicates import Predicate
    from protocol.changes.render import ChangeRenderer
    from protocol.dialect import EncodeKey

    #: Who gets the same bytes for a change: what they joined, their bindings (none of a legacy join, whose changes
    #: come bare), and what is shown of it.
    _Group = tuple[Change, EncodeKey, tuple[int, ...], tuple[str, ...] | None, Sight]

#: Steps of a loop over many candidates between two checkpoints: about a millisecond.
STEPS_PER_CHECKPOINT = 512


@define(eq=False)
class Candidate:
    """An interest that may want a change.

    `predicate` is its filter, ready for the rows of the table; None if it has no filter.
    `is_wanted` is what that says; None means that it is not known.
    """

    change: Change
    subscription: Subscription
    interest: Interest
    predicate: Predicate | None = None
    is_wanted: bool | None = None

    @property
    def is_error(self) -> bool:
        """Whether the change is an error for the whole role, whatever the filter says.

        **Source**: spec 6.5: a table without primary key, or one whose key the role may not read; not for a DELETE.
        """
        table = self.change.table
        return self.change.kind is not Kind.DELETE and (
            not table.primary_key or table.relation.oid in self.interest.unreadable
        )

    def may_be_told(self, sight: Sight) -> bool:
        """Whether a row may be delivered that is shown like this: the filter tells the values of its columns."""
        if not self.is_wanted or self.predicate is None:
            return self.is_wanted is True
        table = self.change.table
        columns = zip(table.relation.columns, table.column_numbers, strict=True)
        readable = {number for column, number in columns if column.name in sight.columns}
        return self.predicate.column_numbers <= readable


@define(eq=False)
class Shares:
    """What each subscription may get of a batch of changes, in their order."""

    _candidates: dict[Subscription, dict[Change, list[Candidate]]] = field(factory=dict)

    def add(self, candidate: Candidate) -> None:
        """Note that a subscription wants a change, or is to hear of an error."""
        share = self._candidates.setdefault(candidate.subscription, {})
        share.setdefault(candidate.change, []).append(candidate)

    def __iter__(self) -> Iterator[tuple[Subscription, Mapping[Change, list[Candidate]]]]:
        return iter(self._candidates.items())

    def replace(self, old: Subscription, new: Subscription) -> None:
        """Let another subscription take over what one was to get."""
        self._candidates[new] = self._candidates.pop(old)

    def drop(self, subscription: Subscription) -> None:
        """Forget what a subscription was to get."""
        del self._candidates[subscription]

    def questions(self, asked: dict[Identity, set[Change]]) -> list[Question]:
        """Return what must be asked before these changes may be shown, one question for each identity.

        What was `asked` is left out, and what is asked now is added to it.
        """
        wanted: dict[Identity, set[Change]] = {}
        for subscription, share in self._candidates.items():
            wanted.setdefault(subscription.identity, set()).update(share)
        questions = []
        shared: dict[tuple[Change, ...], tuple[Change, ...]] = {}
        for identity, changes in wanted.items():
            before = asked.setdefault(identity, set())
            new = tuple(sorted(changes - before, key=_place))
            before |= changes
            if new:
                questions.append(Question(identity, shared.setdefault(new, new)))
        return questions


@define(eq=False)
class Parcel:
    """What goes to one subscription: frames in the order of the changes, and how many entries were matched."""

    subscription: Subscription
    frames: list[bytes] = field(factory=list)
    matches: int = 0


class Frames:
    """Frames of changes, each encoded once for all who get the same."""

    def __init__(self, renderer: ChangeRenderer) -> None:
        self._renderer = renderer
        self._encoded: dict[_Group, bytes] = {}

    async def of(
        self, shares: Shares, sights: Mapping[Identity, Mapping[Change, Sight]]
    ) -> list[Parcel]:
        """Return what goes to each subscription; a checkpoint now and then."""
        parcels = []
        steps = 0
        for subscription, share in shares:
            seen = sights.get(subscription.identity, {})
            parcel = Parcel(subscription)
            for change, candidates in share.items():
                sight = seen.get(change)
                if sight is not None:
                    self._fill(parcel, change, candidates, sight)
                steps += 1
                if steps % STEPS_PER_CHECKPOINT == 0:
                    await trio.lowlevel.checkpoint()
            if parcel.frames:
                parcels.append(parcel)
        return parcels

    def _fill(
        self, parcel: Parcel, change: Change, candidates: Iterable[Candidate], sight: Sight
    ) -> None:
        """Add one frame for each distinct `select`; an error is one frame for all (spec 6.3, 6.5)."""
        by_select: dict[tuple[str, ...] | None, list[int]] = {}
        for candidate in candidates:
            binding = candidate.interest.binding
            if sight.fault is not None:
                by_select.setdefault(None, []).append(binding.id)
            elif candidate.may_be_told(sight):
                by_select.setdefault(binding.select, []).append(binding.id)
        for select, ids in by_select.items():
            parcel.frames.append(self._frame(parcel.subscription, change, ids, select, sight))
            parcel.matches += len(ids)

    def _frame(
        self,
        subscription: Subscription,
        change: Change,
        ids: Iterable[int],
        select: tuple[str, ...] | None,
        sight: Sight,
    ) -> bytes:
        named = () if subscription.changes[0].is_legacy else tuple(ids)
        group = (change, subscription.encode_key, named, select, sight)
        frame = self._encoded.get(group)
        if frame is None:
            data = self._data(change, sight, select)
            event = RowChange(named, data) if named else BareRowChange(change.kind.value, data)
            frame = self._encoded[group] = subscription.encode(event)
        return frame

    def _data(self, change: Change, sight: Sight, select: tuple[str, ...] | None) -> bytes:
        if sight.fault is not None:
            return self._renderer.render_fault(change, sight.fault)
        columns = shown_columns(change.table, sight.columns, select)
        return self._renderer.render(change, columns, key_only=sight.key_only)


def _place(change: Change) -> tuple[int, int]:
    return change.position.commit_lsn, change.position.index
