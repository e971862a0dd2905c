"""From changes to frames: which subscription gets which change, and what it is sent.

On behalf of the rows actor; what has to be asked for a filter is in `judging.py`.
Work is done once per crowd where it can be, then once per identity, and only pushing once per subscription.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from actors.realtime.change_ports import Question
from protocol.changes.model import Kind, Lsn
from protocol.changes.render import shown_columns
from protocol.events import BareRowChange, RowChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actors.realtime.change_ports import Sight
    from actors.realtime.interests import Crowd, Interest
    from actors.realtime.ports import Identity
    from actors.realtime.roster import Roster, Subscription
    from protocol.changes.model import Change
    from protocol.changes.predicates import Predicate
    from protocol.changes.render import ChangeRenderer
    from protocol.dialect import EncodeKey

    #: Who gets the same bytes for a change: what they joined, their bindings (none of a legacy join, whose changes
    #: come bare), and what is shown of it.
    _Group = tuple[Change, EncodeKey, tuple[int, ...], tuple[str, ...] | None, Sight]
    #: All that an identity was asked about, and what of it is asked now, in order.
    _Asked = tuple[frozenset[Change], tuple[Change, ...]]

#: Steps of a loop over many subscriptions between two checkpoints: about a millisecond.
STEPS_PER_CHECKPOINT = 512


@define(eq=False)
class Candidate:
    """An interest of a crowd that may want a change.

    `predicate` is its filter, ready for the rows of the table; None if it has no filter.
    `is_wanted` is what that says.
    """

    change: Change
    crowd: Crowd
    interest: Interest
    predicate: Predicate | None = None
    is_wanted: bool = False

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
            return self.is_wanted
        table = self.change.table
        columns = zip(table.relation.columns, table.column_numbers, strict=True)
        readable = {number for column, number in columns if column.name in sight.columns}
        return self.predicate.column_numbers <= readable


#: The candidates of a crowd that are to be told of, by change and in the order of the changes.
Wanted = dict["Change", list[Candidate]]


def wanted_by_crowd(candidates: Iterable[Candidate]) -> dict[Crowd, Wanted]:
    """Return what each crowd is to be told of."""
    wanted: dict[Crowd, Wanted] = {}
    for candidate in candidates:
        if candidate.is_wanted or candidate.is_error:
            of_crowd = wanted.setdefault(candidate.crowd, {})
            of_crowd.setdefault(candidate.change, []).append(candidate)
    return wanted


@define(eq=False)
class Share:
    """Members of one crowd who speak for one identity: what they get of a batch is the same for all.

    `start` is the commit from which on they get changes, if some of the batch are before it.
    """

    crowd: Crowd
    identity: Identity
    start: Lsn
    subscriptions: list[Subscription] = field(factory=list)


async def shares_of(wanted: Mapping[Crowd, Wanted], roster: Roster) -> list[Share]:
    """Return the subscriptions of the crowds as they are now; a checkpoint now and then."""
    shares: list[Share] = []
    steps = 0
    for crowd, changes in wanted.items():
        first = next(iter(changes)).position.commit_lsn
        by_identity: dict[tuple[Identity, Lsn], Share] = {}
        for join, start in tuple(crowd.starts.items()):
            subscription = roster.get(join)
            if subscription is not None:
                key = subscription.identity, start if start > first else Lsn(0)
                share = by_identity.get(key)
                if share is None:
                    share = by_identity[key] = Share(crowd, *key)
                share.subscriptions.append(subscription)
            steps += 1
            if steps % STEPS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
        shares += by_identity.values()
    return shares


def questions_for(
    shares: Iterable[Share],
    wanted: Mapping[Crowd, Wanted],
    asked: dict[Identity, frozenset[Change]],
) -> list[Question]:
    """Return what must be asked before these changes may be shown, one question for each identity.

    What was `asked` is left out, and what is asked now is added to it.
    """
    places: dict[Identity, tuple[tuple[Crowd, Lsn], ...]] = {}
    for share in shares:
        place = (share.crowd, share.start)
        places[share.identity] = (*places.get(share.identity, ()), place)
    # Most identities are in the same places, and were asked the same before.
    known: dict[tuple[object, ...], _Asked] = {}
    shared: dict[tuple[Change, ...], tuple[Change, ...]] = {}
    questions = []
    for identity, found in places.items():
        before = asked.get(identity, frozenset())
        key = (found, before)
        if key not in known:
            changes = frozenset(
                change
                for crowd, start in found
                for change in _changes_from(start, wanted[crowd])
            )
            new = tuple(sorted(changes - before, key=_place))
            known[key] = changes | before, shared.setdefault(new, new)
        asked[identity], new = known[key]
        if new:
            questions.append(Question(identity, new))
    return questions


def renewed(shares: Sequence[Share], roster: Roster) -> list[Share]:
    """Move subscriptions who speak for somebody else by now to shares of their own, and return these."""
    found: list[Share] = []
    for share in shares:
        staying = []
        moved: dict[Identity, Share] = {}
        for subscription in share.subscriptions:
            current = roster.get(subscription.key)
            # Most are the very same, which is the cheapest to find out.
            if current is subscription or current is None or current.identity == share.identity:
                staying.append(subscription)
                continue
            to = moved.get(current.identity)
            if to is None:
                to = moved[current.identity] = Share(share.crowd, current.identity, share.start)
            to.subscriptions.append(current)
        share.subscriptions = staying
        found += moved.values()
    return found


@define(eq=False)
class Parcel:
    """What goes to each of some subscriptions: frames in the order of the changes; `matches` counts entries."""

    subscriptions: list[Subscription] = field(factory=list)
    frames: list[bytes] = field(factory=list)
    matches: int = 0


class Frames:
    """Frames of changes, each encoded once for all who get the same."""

    def __init__(self, renderer: ChangeRenderer) -> None:
        self._renderer = renderer
        self._encoded: dict[_Group, bytes] = {}

    async def of(
        self,
        shares: Iterable[Share],
        wanted: Mapping[Crowd, Wanted],
        sights: Mapping[Identity, Mapping[Change, Sight]],
    ) -> list[Parcel]:
        """Return what goes to the subscriptions of each share; a checkpoint now and then."""
        parcels: dict[tuple[Crowd, Lsn, int], Parcel] = {}
        steps = 0
        for share in shares:
            seen = sights.get(share.identity)
            if not seen:
                continue
            # Identities who see the same have one and the same answer.
            key = (share.crowd, share.start, id(seen))
            parcel = parcels.get(key)
            if parcel is None:
                parcel = parcels[key] = Parcel()
                changes = wanted[share.crowd]
                for change in _changes_from(share.start, changes):
                    sight = seen.get(change)
                    if sight is not None:
                        self._fill(parcel, changes[change], sight)
                    steps += 1
                    if steps % STEPS_PER_CHECKPOINT == 0:
                        await trio.lowlevel.checkpoint()
            parcel.subscriptions += share.subscriptions
            steps += 1
            if steps % STEPS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
        return [parcel for parcel in parcels.values() if parcel.frames]

    def _fill(self, parcel: Parcel, candidates: Sequence[Candidate], sight: Sight) -> None:
        """Add one frame for each distinct `select`; an error is one frame for all (spec 6.3, 6.5)."""
        by_select: dict[tuple[str, ...] | None, list[int]] = {}
        for candidate in candidates:
            binding = candidate.interest.binding
            if sight.fault is not None:
                by_select.setdefault(None, []).append(binding.id)
            elif candidate.may_be_told(sight):
                by_select.setdefault(binding.select, []).append(binding.id)
        for select, ids in by_select.items():
            parcel.frames.append(self._frame(candidates[0], tuple(ids), select, sight))
            parcel.matches += len(ids)

    def _frame(
        self,
        candidate: Candidate,
        ids: tuple[int, ...],
        select: tuple[str, ...] | None,
        sight: Sight,
    ) -> bytes:
        change, key = candidate.change, candidate.crowd.key.encode_key
        named = () if candidate.interest.binding.is_legacy else ids
        group = (change, key, named, select, sight)
        encoded = self._encoded.get(group)
        if encoded is None:
            data = self._data(change, sight, select)
            event = RowChange(named, data) if named else BareRowChange(change.kind.value, data)
            encoded = self._encoded[group] = key.encode(event)
        return encoded

    def _data(self, change: Change, sight: Sight, select: tuple[str, ...] | None) -> bytes:
        if sight.fault is not None:
            return self._renderer.render_fault(change, sight.fault)
        columns = shown_columns(change.table, sight.columns, select)
        return self._renderer.render(change, columns, key_only=sight.key_only)


def _changes_from(start: Lsn, wanted: Wanted) -> list[Change]:
    """Return those of the changes that subscriptions get which begin with that commit."""
    return [change for change in wanted if change.position.commit_lsn >= start]


def _place(change: Change) -> tuple[int, int]:
    return change.position.commit_lsn, change.position.index
