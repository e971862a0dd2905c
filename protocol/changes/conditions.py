"""SQL-like conditions of clients as filters: `done = false AND (age > 17 OR name IS NULL)`.

Called by dialects whose clients filter rows by conditions; `condition_grammar` reads the text.
No SQL is made of it: a condition becomes the filters that any client could have sent.

A filter has no OR, so that a condition becomes several: its disjunctive normal form.
NOT is moved to the comparisons, and from there on only what is true counts.
That is what SQL does: in three-valued logic AND is true if all are, OR is true if any is, and NOT x is true if x is
false, so that a comparison with NULL, which is neither, matches no row however it is negated.

A literal is read as a value of the column's type, as SQL reads one in quotes.
So `1.5` is no value of an integer column (the filter is refused), and `0.1` is the `real` next to it
(where SQL would compare with the `double precision` next to it, which no `real` is).
For a column of a composite type IS NOT NULL is the negation of IS NULL.

**Invariants**
- Whatever the text, there is a result or a `ConditionError`, in time linear in its length.
- The filters read back as exactly the intended conditions.

**Source**: PostgreSQL 18 documentation, 9.1 (logical operators); the grammar of filters is that of `filters`.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from protocol.changes.condition_grammar import parse_expression, quoted
from protocol.changes.condition_parts import Comparison, Either, Every, Negation
from protocol.changes.filters import MAX_CONDITIONS, Operator
from protocol.errors import ConditionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocol.changes.condition_parts import Expression
    from protocol.changes.filters import Condition

#: In characters.
MAX_TEXT: Final = 8_000
#: How many filters a condition may become: each is a subscription of its own.
MAX_FILTERS: Final = 32

#: The conditions of each filter, in their order; a mapping without values, as it holds each once.
_Conjunction = tuple["Condition", ...]


def parse_condition(text: str) -> tuple[str, ...]:
    """Return filters of which a row must match at least one.

    Raises:
        ConditionError: it is none, or it asks for too much; `reason` is a sentence that says where.
    """
    if len(text) > MAX_TEXT:
        raise ConditionError(f"The condition is longer than {MAX_TEXT} characters.")
    if not _is_storable(text):
        raise ConditionError("The condition has a character that no column can hold.")
    conjunctions = _conjunctions(parse_expression(text), is_negated=False)
    return tuple(_filter(conditions) for conditions in conjunctions)


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _conjunctions(expression: Expression, *, is_negated: bool) -> list[_Conjunction]:
    """Return the disjunctive normal form, each conjunction and each condition in it once."""
    match expression:
        case Comparison(condition, opposite):
            return [(opposite if is_negated else condition,)]
        case Negation(part):
            return _conjunctions(part, is_negated=not is_negated)
        case Every(parts) | Either(parts):
            each = [_conjunctions(part, is_negated=is_negated) for part in parts]
            # By De Morgan, what negates one makes the other of it.
            is_every = isinstance(expression, Every) != is_negated
            return _both(each) if is_every else _unique(one for some in each for one in some)


def _both(each: list[list[_Conjunction]]) -> list[_Conjunction]:
    result: list[_Conjunction] = [()]
    for conjunctions in each:
        result = _unique(
            tuple(dict.fromkeys(left + right)) for left, right in product(result, conjunctions)
        )
    if any(len(conjunction) > MAX_CONDITIONS for conjunction in result):
        raise ConditionError(f"The condition needs more than {MAX_CONDITIONS} comparisons.")
    return result


def _unique(conjunctions: Iterable[_Conjunction]) -> list[_Conjunction]:
    found: dict[_Conjunction, None] = {}
    for conjunction in conjunctions:
        found[conjunction] = None
        if len(found) > MAX_FILTERS:
            raise ConditionError(f"The condition has more than {MAX_FILTERS} alternatives.")
    return list(found)


def _filter(conditions: _Conjunction) -> str:
    return ",".join(map(_segment, conditions))


def _segment(condition: Condition) -> str:
    negation = "not." if condition.is_negated else ""
    match condition.operator:
        case Operator.IN:
            value = f"({condition.value})"
        case Operator.IS:
            value = condition.value
        case _:
            value = quoted(condition.value)
    return f"{condition.column}={negation}{condition.operator.value}.{value}"
