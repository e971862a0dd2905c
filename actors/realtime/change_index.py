"""The change index: from a row change to those whose subscriptions may want it.

Used twice: by the router to find channels (`router.py`), by a rows actor to find subscriptions (`interests.py`).
A subscription whose filter names the values it wants is found by the row's value, any other is looked at one by one.
The cost of a change grows with those that may want it, not with those that exist.

**Invariants**
- Whoever wants a change is found; who is found may still not want it, for only one condition of a filter is looked at.
- A value counts for columns of the type it was rendered for: after a change of the table everybody is found
  until the filters were made ready anew.
- Where a change is an error for everybody (a table without primary key), filters do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, field, frozen

from protocol.changes.model import Kind
from protocol.changes.patterns import ANY, NamePattern

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from protocol.changes.model import Change, Relation, Table
    from protocol.changes.predicates import Equality

T = TypeVar("T", bound="Hashable")
K = TypeVar("K", bound="Hashable")

#: How often somebody was entered under one key.
Counts = dict[T, int]

#: Views are made again when needed; tables that come and go must not pile up.
MAX_VIEWS = 10_000


@frozen(eq=False)
class Route:
    """Which changes may be wanted; entered and taken out as the same object.

    `kind` is INSERT, UPDATE, DELETE or `*`.
    `equalities` has, by their OIDs, the tables for which the filter wants certain values of a column.
    """

    kind: str
    schema: NamePattern
    table: NamePattern
    is_filtered: bool = False
    equalities: Mapping[int, Equality] = field(factory=dict["int", "Equality"])

    def covers(self, relation: Relation) -> bool:
        """Whether the route is for that table."""
        return self.schema.matches(relation.schema) and self.table.matches(relation.name)

    def values_in(self, relation_oid: int) -> Equality | None:
        """Return which values are wanted of that table, None if it has to be looked at row by row."""
        equality = self.equalities.get(relation_oid)
        return equality if equality is not None and equality.texts else None


@define(eq=False)
class _Group(Generic[T]):
    """All that is entered with the same patterns; `views` are those of the tables that match."""

    schema: NamePattern
    table: NamePattern
    unfiltered: dict[str, Counts[T]] = field(factory=dict)
    filtered: Counts[tuple[Route, T]] = field(factory=dict)
    views: dict[_View[T], None] = field(factory=dict)

    def covers(self, relation: Relation) -> bool:
        return self.schema.matches(relation.schema) and self.table.matches(relation.name)


@define(eq=False)
class _View(Generic[T]):
    """What there is for one table: the groups whose patterns match, and their filtered routes sorted by value."""

    relation: Relation
    groups: dict[_Group[T], None] = field(factory=dict)
    scanned: dict[str, Counts[T]] = field(factory=dict)
    #: By kind, column number and type, then by the value's text.
    hashed: dict[tuple[str, int, int], dict[str, Counts[T]]] = field(factory=dict)
    #: Where the hashed columns stand in the rows of the table that was seen last.
    _layout: tuple[Table, list[tuple[str, int | None, dict[str, Counts[T]]]]] | None = None

    def is_of(self, relation: Relation) -> bool:
        """Whether the table still has the name for which the groups were chosen."""
        of = self.relation
        return relation is of or (of.name == relation.name and of.schema == relation.schema)

    def add(self, route: Route, target: T) -> None:
        equality = route.values_in(self.relation.oid)
        if equality is None:
            _count(self.scanned.setdefault(route.kind, {}), target)
            return
        key = (route.kind, equality.column_number, equality.type_oid)
        if key not in self.hashed:
            self.hashed[key] = {}
            self._layout = None
        by_text = self.hashed[key]
        for text in equality.texts:
            _count(by_text.setdefault(text, {}), target)

    def remove(self, route: Route, target: T) -> None:
        equality = route.values_in(self.relation.oid)
        if equality is None:
            _discount(self.scanned, route.kind, target)
            return
        key = (route.kind, equality.column_number, equality.type_oid)
        by_text = self.hashed[key]
        for text in equality.texts:
            _discount(by_text, text, target)
        if not by_text:
            del self.hashed[key]
            self._layout = None

    def match(self, change: Change) -> Counts[T]:
        kind = change.kind.value
        found: Counts[T] = {}
        for group in self.groups:
            for wanted in (ANY, kind):
                found.update(group.unfiltered.get(wanted, {}))
        for wanted in (ANY, kind):
            found.update(self.scanned.get(wanted, {}))
        is_open = not change.table.primary_key and change.kind is not Kind.DELETE
        row = (change.old if change.new is None else change.new) or ()
        for wanted, place, by_text in self._places(change.table):
            if wanted not in (ANY, kind):
                continue
            if is_open or place is None:
                for targets in by_text.values():
                    found.update(targets)
                continue
            value = row[place]
            if isinstance(value, str):
                found.update(by_text.get(value, {}))
        return found

    def _places(self, table: Table) -> list[tuple[str, int | None, dict[str, Counts[T]]]]:
        """Return where to look: kind, place of the column in the row (None if it is another one by now), and values."""
        if self._layout is None or self._layout[0] is not table:
            columns = zip(table.relation.columns, table.column_numbers, strict=True)
            found = {
                (number, column.type_oid): place
                for place, (column, number) in enumerate(columns)
            }
            places = [
                (kind, found.get((number, type_oid)), by_text)
                for (kind, number, type_oid), by_text in self.hashed.items()
            ]
            self._layout = (table, places)
        return self._layout[1]


@define(eq=False)
class ChangeIndex(Generic[T]):
    """Targets by the changes they may want; see the module's text."""

    _groups: dict[tuple[NamePattern, NamePattern], _Group[T]] = field(factory=dict, init=False)
    _views: dict[int, _View[T]] = field(factory=dict, init=False)

    def add(self, route: Route, target: T) -> None:
        """Note that `target` may want what `route` says; as often as it is added, it must be removed."""
        group = self._group(route)
        if not route.is_filtered:
            _count(group.unfiltered.setdefault(route.kind, {}), target)
            return
        _count(group.filtered, (route, target))
        for view in group.views:
            view.add(route, target)

    def remove(self, route: Route, target: T) -> None:
        """Take back one `add` of the same route and target."""
        group = self._groups[route.schema, route.table]
        if route.is_filtered:
            _subtract(group.filtered, (route, target))
            for view in group.views:
                view.remove(route, target)
        else:
            _discount(group.unfiltered, route.kind, target)
        if not group.filtered and not group.unfiltered:
            del self._groups[route.schema, route.table]
            for view in group.views:
                del view.groups[group]

    def match(self, change: Change) -> tuple[T, ...]:
        """Return who may want the change, each once."""
        relation = change.table.relation
        view = self._views.get(relation.oid)
        if view is None or not view.is_of(relation):
            view = self._look(relation)
        return tuple(view.match(change))

    def _group(self, route: Route) -> _Group[T]:
        key = (route.schema, route.table)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(*key)
            for view in self._views.values():
                if group.covers(view.relation):
                    group.views[view] = None
                    view.groups[group] = None
        return group

    def _look(self, relation: Relation) -> _View[T]:
        """Make the view of a table, in place of one under its earlier name."""
        if len(self._views) >= MAX_VIEWS:
            self._views.clear()
            for group in self._groups.values():
                group.views.clear()
        earlier = self._views.get(relation.oid)
        if earlier is not None:
            for group in earlier.groups:
                del group.views[earlier]
        view = self._views[relation.oid] = _View(relation)
        for group in self._groups.values():
            if group.covers(relation):
                group.views[view] = None
                view.groups[group] = None
                for (route, target), count in group.filtered.items():
                    for _ in range(count):
                        view.add(route, target)
        return view


def _count(counts: Counts[T], target: T) -> None:
    counts[target] = counts.get(target, 0) + 1


def _subtract(counts: Counts[T], target: T) -> None:
    counts[target] -= 1
    if not counts[target]:
        del counts[target]


def _discount(buckets: dict[K, Counts[T]], key: K, target: T) -> None:
    """Count one less under a key, and drop the key with the last."""
    _subtract(buckets[key], target)
    if not buckets[key]:
        del buckets[key]
