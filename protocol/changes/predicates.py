"""From conditions to a verdict on a row: a filter made ready for one table.

Made by `actors.db.filters`, which knows the catalog; the rows actor asks `judge` for each row.
How a value is compared is in `comparing`; what this process cannot tell is asked of Postgres.

**Invariants**
- A verdict is what Postgres would answer, or ASK: nothing is guessed.
- A value that the log does not carry never matches, and neither does a condition that is NULL.
- A column is recognised by its number: one that took over its name is another column.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from protocol.changes.filters import Condition
    from protocol.changes.model import Table, Value


class Verdict(Enum):
    """Whether a row matches; ASK means that only Postgres can tell."""

    NO = "no"
    YES = "yes"
    ASK = "ask"


#: Judges one value; a value that is absent never matches.
Test = Callable[["Value"], Verdict]

_NO, _YES, _ASK = Verdict.NO, Verdict.YES, Verdict.ASK


@frozen
class Equality:
    """A row can match only if its value in the column is one of `texts`, as pgoutput writes it.

    That holds for rows in which the column has the type `type_oid`.
    """

    column: str
    column_number: int
    type_oid: int
    texts: frozenset[str]


@frozen(eq=False)
class Clause:
    """One condition made ready for one column.

    `question` is how Postgres is asked the same, for whoever made the clause to read.
    `equality` is set where the condition can be looked up.
    """

    condition: Condition
    column_number: int
    type_oid: int
    test: Test = field(repr=False)
    question: Hashable = field(repr=False)
    equality: Equality | None = None


@frozen
class Place:
    """Where the column of a clause stands in a row, None if it is not there, and the type it has there."""

    index: int | None
    type_oid: int


@frozen(eq=False)
class Predicate:
    """All conditions of a filter, ready for the rows of one table.

    As made, it is for rows with all columns of the table in their order; `on` makes it ready for those of a stream.
    """

    relation_oid: int
    clauses: tuple[Clause, ...]
    places: tuple[Place, ...]
    """One per clause."""
    _tests: tuple[tuple[int, Test], ...] | None = field(init=False, repr=False)

    @_tests.default
    def _placed_tests(self) -> tuple[tuple[int, Test], ...] | None:
        tests = []
        for clause, place in zip(self.clauses, self.places, strict=True):
            if place.index is None:
                return None
            fits = place.type_oid == clause.type_oid
            tests.append((place.index, clause.test if fits else _only_null(clause.test)))
        return tuple(tests)

    def on(self, table: Table) -> Predicate:
        """Return the same predicate for the rows of `table`, which is the same relation at another time."""
        indexes = {number: index for index, number in enumerate(table.column_numbers)}
        columns = table.relation.columns
        places = []
        for clause in self.clauses:
            index = indexes.get(clause.column_number)
            type_oid = clause.type_oid if index is None else columns[index].type_oid
            places.append(Place(index, type_oid))
        return evolve(self, places=tuple(places))

    def judge(self, values: Sequence[Value]) -> Verdict:
        """Return whether a row matches; `values` has one per column, in their order."""
        if self._tests is None:
            return _NO
        result = _YES
        for index, test in self._tests:
            verdict = test(values[index])
            if verdict is _NO:
                return _NO
            if verdict is _ASK:
                result = _ASK
        return result

    @property
    def equalities(self) -> Equality | None:
        """The condition that is best looked up, None if there is none."""
        found = (clause.equality for clause in self.clauses if clause.equality is not None)
        return min(found, key=lambda equality: len(equality.texts), default=None)

    @property
    def column_numbers(self) -> frozenset[int]:
        """The columns that must be readable for whoever is to be told that a row matches."""
        return frozenset(clause.column_number for clause in self.clauses)


def _only_null(test: Test) -> Test:
    """Return a test for values of another type than the clause was made for: NULL is the same in all of them."""
    return lambda value: _ASK if isinstance(value, str) else test(value)
