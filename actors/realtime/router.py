"""The router: from a change to the channels whose subscriptions can match it.

An index derived from the rosters and changed in the same block as they are, so nothing can race.
Its cost grows with the channels that match, not with those that exist.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from actors.realtime.pending_rows import PendingRows
    from protocol.changes.model import Relation
    from protocol.commands import ChangeBinding

ANY = "*"
DEFAULT_SCHEMA = "public"


def place(binding: ChangeBinding) -> tuple[str, str]:
    """Return the (schema, table) a binding is for, `*` standing for any.

    **Source**: spec 6.1: a schema alone means all its tables, a table alone is one of schema public.
    """
    schema = binding.schema or (DEFAULT_SCHEMA if binding.table else ANY)
    return schema, binding.table or ANY


def covers(binding: ChangeBinding, relation: Relation, kind: str) -> bool:
    """Whether a binding asks for this kind of change on this table."""
    schema, table = place(binding)
    return (
        binding.kind in (ANY, kind)
        and schema in (ANY, relation.schema)
        and table in (ANY, relation.name)
    )


@define
class Router:
    """(schema, table) → pending rows of channels, with a count of the bindings behind each."""

    _index: dict[tuple[str, str], Counter[PendingRows]] = field(factory=dict)
    _bindings: Counter[PendingRows] = field(factory=Counter)

    def add(self, binding: ChangeBinding, pending: PendingRows) -> None:
        """Note that a subscription of that channel has the binding."""
        self._bindings[pending] += 1
        self._index.setdefault(place(binding), Counter())[pending] += 1

    def remove(self, binding: ChangeBinding, pending: PendingRows) -> None:
        """Note that a subscription with the binding is gone."""
        if pending not in self._bindings:
            return
        _subtract(self._bindings, pending)
        counts = self._index[place(binding)]
        _subtract(counts, pending)
        if not counts:
            del self._index[place(binding)]

    def drop(self, pending: PendingRows) -> None:
        """Forget a channel altogether."""
        self._bindings.pop(pending, None)
        for at, counts in tuple(self._index.items()):
            counts.pop(pending, None)
            if not counts:
                del self._index[at]

    def match(self, relation: Relation) -> tuple[PendingRows, ...]:
        """Return the channels that can care about a change of that table, each once."""
        schema, table = relation.schema, relation.name
        found: dict[PendingRows, None] = {}
        for at in ((schema, table), (schema, ANY), (ANY, table), (ANY, ANY)):
            found.update(dict.fromkeys(self._index.get(at, ())))
        return tuple(found)

    def channels(self) -> tuple[PendingRows, ...]:
        """Return every channel with a binding."""
        return tuple(self._bindings)


def _subtract(counts: Counter[PendingRows], pending: PendingRows) -> None:
    counts[pending] -= 1
    if not counts[pending]:
        del counts[pending]
