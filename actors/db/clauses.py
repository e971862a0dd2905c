"""Makes conditions ready: Postgres reads their values in the type of the column, and says what it cannot compare.

Called by `filters`; what the finished clauses do in this process is in `protocol.changes.comparing`.

**Invariants**
- A condition is refused in the words of upstream's trigger where that has any, else in those of Postgres.
- Conditions with the same comparison are read in one statement, and one that is refused does not spoil others.

**Source**: spec 6.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from actors.db.comparisons import (
    JSON,
    JSONB,
    PATTERNS,
    REGULAR_EXPRESSIONS,
    SYMBOLS,
    TEXT,
    Comparison,
    comparison,
    inner_comparison,
)
from actors.db.filter_columns import TypeKey, find_types
from actors.db.isolation import NOT_SENDABLE, Fault, is_sendable, isolated, raised
from protocol.changes.comparing import ColumnFacts, make_equality, make_test
from protocol.changes.filters import Condition, Operator
from protocol.changes.like import ends_in_escape
from protocol.changes.predicates import Clause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actors.db.filter_columns import ValueType
    from actors.db.isolation import ReadOnlySession

#: The most elements of a list, as upstream has it.
MAX_ELEMENTS: Final = 100

_INNER_KINDS: Final = frozenset(map(TypeKey, (TEXT, JSON, JSONB)))
_TRUTH_VALUES: Final = frozenset({"null", "true", "false", "unknown"})
_BOOL: Final = "pg_catalog.bool"
_BYTEA: Final = "pg_catalog.bytea"
_UNDEFINED_FUNCTION: Final = "42883"
_INVALID_REGULAR_EXPRESSION: Final = "2201B"


@frozen
class ClauseRequest:
    """A condition to be made ready for the column that has this number, as long as it is of this type."""

    condition: Condition
    column_number: int
    kind: TypeKey


@frozen
class AskedAs:
    """How Postgres is asked whether a value meets a condition: `text` is for the right side."""

    comparison: Comparison
    text: str


@frozen
class _Reading:
    """A value as Postgres writes it; `elements` are those of a list, NULL as None."""

    text: str
    elements: tuple[str | None, ...] | None
    count: int

    @property
    def values(self) -> tuple[str | None, ...]:
        return (self.text,) if self.elements is None else self.elements


async def make_clauses(
    session: ReadOnlySession, requests: Iterable[ClauseRequest]
) -> dict[ClauseRequest, Clause | Fault]:
    """Return what each request asked for, or why not."""
    requests = set(requests)
    kinds = {request.kind for request in requests}
    if any(request.condition.path is not None for request in requests):
        kinds |= _INNER_KINDS
    types = await find_types(session, kinds)
    results: dict[ClauseRequest, Clause | Fault] = {}
    groups: dict[Comparison, list[tuple[ClauseRequest, ValueType]]] = {}
    for request in requests:
        kind = _compared_kind(request, types)
        if isinstance(kind, Fault):
            results[request] = kind
        elif fault := _early_fault(request.condition, kind):
            results[request] = fault
        else:
            compared = _comparison(types[request.kind], kind, request.condition)
            groups.setdefault(compared, []).append((request, kind))
    for compared, group in groups.items():
        literals = [_literal(request.condition) for request, _ in group]
        readings = await _read(session, compared, literals)
        for (request, kind), literal in zip(group, literals, strict=True):
            results[request] = _finished(request, kind, compared, readings[literal])
    return results


def _compared_kind(
    request: ClauseRequest, types: Mapping[TypeKey, ValueType]
) -> ValueType | Fault:
    """Return the type whose values the condition compares: that of the column, or of what is inside of its JSON."""
    condition = request.condition
    kind = types.get(request.kind)
    if kind is None:
        return raised(f"failed to lookup type for column {condition.column}")
    if condition.path is None:
        return kind
    if kind.base_oid not in (JSON, JSONB):
        return raised(f"a path requires a json or jsonb column, got {kind.label}")
    if not all(map(is_sendable, condition.path.steps)):
        return NOT_SENDABLE
    return types[TypeKey(TEXT if condition.path.is_text else kind.base_oid)]


def _comparison(column: ValueType, kind: ValueType, condition: Condition) -> Comparison:
    if condition.path is None:
        return comparison(kind, condition)
    return inner_comparison(column, kind, condition)


def _literal(condition: Condition) -> str:
    """Return the text that Postgres reads as the value on the right."""
    return f"{{{condition.value}}}" if condition.operator is Operator.IN else condition.value


def _early_fault(condition: Condition, kind: ValueType) -> Fault | None:
    """Return what can be said against a condition without asking Postgres."""
    if not is_sendable(condition.value):
        return NOT_SENDABLE
    if kind.hides_domain and not (
        condition.operator is Operator.IS and condition.value == "null"
    ):
        # To read the value would be to run the domain's checks, which belong to its owner, with our rights.
        return raised(
            f"operator {condition.operator.value} is not offered for a type with a domain in it, {kind.label}"
        )
    if condition.operator is Operator.IN and not kind.list_name:
        return Fault("42704", f"could not find array type for data type {kind.label}")
    if condition.operator is Operator.IS:
        if condition.value not in _TRUTH_VALUES:
            return raised("invalid value for is filter: must be null, true, false, or unknown")
        if condition.value != "null" and kind.name != _BOOL:
            return raised(
                f"is {condition.value} filter requires a boolean column, got {kind.label}"
            )
    return None


async def _read(
    session: ReadOnlySession, compared: Comparison, texts: Iterable[str]
) -> Mapping[str, _Reading | Fault]:
    """Return each text as a value on the right of the comparison."""

    async def ask(part: Sequence[str]) -> list[_Reading]:
        rows = await session.rows(compared.reading, (list(part),))
        return [
            _Reading(text, None if elements is None else tuple(elements), count)
            for text, elements, count, _trial in rows
        ]

    unique = list(dict.fromkeys(texts))
    readings = await isolated(session, unique, ask, lambda text: text, compared.attempts)
    return dict(zip(unique, readings, strict=True))


def _finished(
    request: ClauseRequest, kind: ValueType, compared: Comparison, reading: _Reading | Fault
) -> Clause | Fault:
    condition = request.condition
    if isinstance(reading, Fault):
        return _in_upstream_words(reading, condition, kind)
    if reading.count > MAX_ELEMENTS:
        return raised(f"too many values for `in` filter. Maximum {MAX_ELEMENTS}")
    if condition.operator in PATTERNS - REGULAR_EXPRESSIONS and _ends_in_escape(
        reading.text, compared
    ):
        return Fault("22025", "LIKE pattern must not end with escape character")
    facts = ColumnFacts(
        condition.column,
        request.column_number,
        request.kind.type_oid,
        kind.base_oid,
        kind.base_kind,
        kind.has_exact_texts,
        kind.has_code_point_order,
    )
    return Clause(
        condition,
        request.column_number,
        request.kind.type_oid,
        make_test(condition, facts, reading.values),
        AskedAs(compared, reading.text),
        make_equality(condition, facts, reading.values),
    )


def _ends_in_escape(pattern: str, compared: Comparison) -> bool:
    if compared.right == _BYTEA:
        pattern = bytes.fromhex(pattern.removeprefix("\\x")).decode("latin-1")
    return ends_in_escape(pattern)


def _in_upstream_words(fault: Fault, condition: Condition, kind: ValueType) -> Fault:
    operator = condition.operator
    if operator in PATTERNS and fault.sqlstate == _UNDEFINED_FUNCTION:
        return raised(
            f"operator {operator.value} requires a text-compatible column type, got {kind.label}"
        )
    if operator in REGULAR_EXPRESSIONS and fault.sqlstate == _INVALID_REGULAR_EXPRESSION:
        return raised(
            f"invalid regular expression for {operator.value} filter: {fault.message}"
        )
    if fault.sqlstate == _UNDEFINED_FUNCTION:
        symbol = SYMBOLS[operator]
        # The operator as a user would write it.
        return Fault(
            fault.sqlstate, fault.message.replace(f" pg_catalog.{symbol} ", f" {symbol} ")
        )
    return fault
