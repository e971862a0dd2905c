"""From changes to frames: which subscription wants which change, and what it is sent.

Pure functions on behalf of the rows actor; no task, no waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from actors.realtime.ports import Question
from actors.realtime.router import covers
from protocol.changes.render import shown_columns
from protocol.events import BareRowChange, RowChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actors.realtime.ports import Identity, Outbox, Sight
    from actors.realtime.roster import Subscription
    from protocol.changes.model import Change, Lsn
    from protocol.changes.render import ChangeRenderer
    from protocol.commands import ChangeBinding
    from protocol.dialect import EncodeKey

    #: Which columns a frame shows, and for which bindings it is; for none of a legacy join, whose changes come bare.
    Selection = tuple[tuple[str, ...] | None, tuple[int, ...]]


FILTERS_UNSUPPORTED = (
    "Filters are not supported by this server yet: this entry receives nothing"
)


def fault_of(binding: ChangeBinding) -> str | None:
    """Return why a binding matches nothing, for the client to read; None if nothing is wrong with it."""
    if binding.fault is not None:
        return binding.fault
    return None if binding.filter is None else FILTERS_UNSUPPORTED


def questions_for(
    changes: Iterable[Change], subscriptions: Sequence[Subscription]
) -> list[Question]:
    """Return what must be asked before these changes may be shown, one question for each identity."""
    wanted: dict[Identity, dict[Change, None]] = {}
    for change in changes:
        for subscription in subscriptions:
            if any(_selections(change, subscription)):
                wanted.setdefault(subscription.identity, {})[change] = None
    return [Question(identity, tuple(asked)) for identity, asked in wanted.items()]


def row_sends(
    changes: Iterable[Change],
    subscriptions: Sequence[tuple[Subscription, Lsn]],
    sights: Mapping[Identity, Mapping[Change, Sight]],
    renderer: ChangeRenderer,
) -> tuple[list[tuple[Outbox, bytes]], int]:
    """Return what goes into which outbox: the frames of all changes, in order, once per subscription.

    The number beside it is how many bindings were matched, each once per change.
    Each subscription comes with the position of the first commit it is to get.
    Each frame is encoded once for all who get the same: encode key, bindings and what is shown.
    """
    frames: dict[Subscription, list[bytes]] = {}
    matches = 0
    for change in changes:
        encoded: dict[tuple[EncodeKey, tuple[int, ...], Sight], bytes] = {}
        for subscription, from_lsn in subscriptions:
            if change.position.commit_lsn < from_lsn:
                continue
            sight = sights.get(subscription.identity, {}).get(change)
            if sight is None:
                continue
            for select, ids in _selections(change, subscription):
                shown = evolve(
                    sight, columns=shown_columns(change.table, sight.columns, select)
                )
                group = (subscription.encode_key, ids, shown)
                if group not in encoded:
                    data = _data(change, shown, renderer)
                    bare = BareRowChange(change.kind.value, data)
                    encoded[group] = subscription.encode(RowChange(ids, data) if ids else bare)
                frames.setdefault(subscription, []).append(encoded[group])
                matches += len(ids) or 1
    sends = [(subscription.outbox, b"".join(parts)) for subscription, parts in frames.items()]
    return sends, matches


def _data(change: Change, shown: Sight, renderer: ChangeRenderer) -> bytes:
    if shown.fault is not None:
        return renderer.render_fault(change, shown.fault)
    return renderer.render(change, shown.columns, key_only=shown.key_only)


def _selections(change: Change, subscription: Subscription) -> Iterator[Selection]:
    """Yield the bindings that want the change, one entry for each distinct `select` (spec 6.3)."""
    by_select: dict[tuple[str, ...] | None, list[int]] = {}
    for binding in subscription.changes:
        if fault_of(binding) is None and covers(
            binding, change.table.relation, change.kind.value
        ):
            ids = by_select.setdefault(binding.select, [])
            if not binding.is_legacy:
                ids.append(binding.id)
    return ((select, tuple(ids)) for select, ids in by_select.items())
