"""The predicates in use: one object for equal filters, and each made ready once for the rows of a table.

Shared by all rows actors of a tenant (`change_feed.py`), so that a filter many clients have is judged once per change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from attrs import define, field

from protocol.changes.filters import canonical

if TYPE_CHECKING:
    from protocol.changes.model import Table
    from protocol.changes.predicates import Predicate

    #: The table, the conditions' canonical text, and the columns they were made for: number and type.
    Key = tuple[int, str, tuple[tuple[int, int], ...]]

#: How many are kept ready for one table; beyond that they are made again.
MAX_READY = 100_000


@define
class PredicatePool:
    """See the module's text."""

    _shared: WeakValueDictionary[Key, Predicate] = field(
        factory=WeakValueDictionary, init=False
    )
    _ready: WeakKeyDictionary[Table, dict[Predicate, Predicate]] = field(
        factory=WeakKeyDictionary, init=False
    )

    def share(self, predicate: Predicate) -> Predicate:
        """Return the predicate that stands for all of the same meaning."""
        clauses = predicate.clauses
        conditions = canonical(clause.condition for clause in clauses)
        columns = tuple(sorted({(clause.column_number, clause.type_oid) for clause in clauses}))
        return self._shared.setdefault((predicate.relation_oid, conditions, columns), predicate)

    def ready(self, predicate: Predicate, table: Table) -> Predicate:
        """Return the predicate for the rows of `table`."""
        ready = self._ready.setdefault(table, {})
        found = ready.get(predicate)
        if found is None:
            if len(ready) >= MAX_READY:
                ready.clear()
            found = ready[predicate] = predicate.on(table)
        return found


def fits(ready: Predicate) -> bool:
    """Whether all columns are there, and have the types that the predicate was made for."""
    return all(
        place.index is not None and place.type_oid == clause.type_oid
        for clause, place in zip(ready.clauses, ready.places, strict=True)
    )
