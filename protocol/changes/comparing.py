"""How the values of a type are compared in this process, as Postgres would: the tests of conditions.

Called by whoever makes clauses, with the values of a condition as Postgres wrote them in the type of the column.
The same function of Postgres wrote the values of the rows, so for many types equal values are equal texts.
For others the text is read as a number or a moment first.
A type that is not listed here, and an order or a likeness that goes by a collation, are for Postgres to judge.

**Invariants**
- A test says ASK for a text that does not look as its type says, and for all it does not know.
- Whether a value that is NULL matches is always known.

**Source**: PostgreSQL 18 documentation, chapters 8 and 9.1 to 9.7, read 2026-11-21.
"""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from protocol.changes.filters import Operator
from protocol.changes.like import like_matcher
from protocol.changes.predicates import Equality, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protocol.changes.filters import Condition
    from protocol.changes.model import Value
    from protocol.changes.predicates import Test


@frozen
class ColumnFacts:
    """What comparing the values of a column needs to know of it.

    `base_oid` and `base_kind` are those of the type itself, or of the one that a domain goes back to.
    `has_exact_texts`: texts of the column are equal only if they have the same characters.
    `has_code_point_order`: texts are ordered by the numbers of their characters, as in the collation "C".
    """

    name: str
    number: int
    type_oid: int
    base_oid: int
    base_kind: str
    has_exact_texts: bool = False
    has_code_point_order: bool = False


#: Whether a value that is not NULL matches, before any negation; raises ValueError if that cannot be told.
Matcher = Callable[[str], bool]
#: What values are compared by; raises ValueError for what does not look as the type says.
Key = Callable[[str], Any]

COMPOSITE: Final = "c"
_ENUM: Final = "e"
_BOOL: Final = 16
_BYTEA: Final = 17
_NAME: Final = 19
_INT8: Final = 20
_INT2: Final = 21
_INT4: Final = 23
_TEXT: Final = 25
_OID: Final = 26
_FLOAT4: Final = 700
_FLOAT8: Final = 701
_CHAR_N: Final = 1042
_VARCHAR: Final = 1043
_DATE: Final = 1082
_TIME: Final = 1083
_TIMESTAMP: Final = 1114
_TIMESTAMPTZ: Final = 1184
_NUMERIC: Final = 1700
_UUID: Final = 2950

_TEXTS: Final = frozenset({_TEXT, _VARCHAR, _NAME, _CHAR_N})
#: What a router may look up: of these types, each value has one text.
_LOOKED_UP: Final = frozenset({_INT2, _INT4, _INT8, _UUID, _BOOL, _DATE, _TEXT, _VARCHAR})

_ORDERS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.LT: python.lt,
    Operator.LTE: python.le,
    Operator.GT: python.gt,
    Operator.GTE: python.ge,
}


def make_test(condition: Condition, column: ColumnFacts, values: Sequence[str | None]) -> Test:
    """Return what judges the values of `column` by `condition`.

    `values` are those of the condition in the type of the column, as Postgres writes them:
    one, or as many as `in` has.
    """
    yes, no = Verdict.YES, Verdict.NO
    if condition.is_negated:
        yes, no = no, yes
    null = _null_verdict(condition, values)
    has_null = None in values
    matches = None
    if condition.path is None:
        matches = _matcher(condition, column, [value for value in values if value is not None])
    if has_null:
        # In a list with NULL, what is not found might be there.
        no = Verdict.NO
    if _is_one_text(condition, column):
        # The most usual one; what is not a text is not equal to it.
        (text,) = values
        return lambda value: yes if value == text else no

    def test(value: Value) -> Verdict:
        if not isinstance(value, str):
            return null if value is None else Verdict.NO
        if matches is None:
            return Verdict.ASK
        try:
            return yes if matches(value) else no
        except ValueError:
            return Verdict.ASK

    return test


def _is_one_text(condition: Condition, column: ColumnFacts) -> bool:
    """Whether the condition is met by one text, and not met by NULL or a value that is absent."""
    return (
        condition.operator is Operator.EQ
        and not condition.is_negated
        and condition.path is None
        and _equality_key(column) is _as_is
    )


def make_equality(
    condition: Condition, column: ColumnFacts, values: Sequence[str | None]
) -> Equality | None:
    """Return the texts with which alone a value meets the condition, None if it cannot be looked up."""
    if condition.is_negated or condition.operator not in (Operator.EQ, Operator.IN):
        return None
    if condition.path is not None:
        return None
    if column.base_oid not in _LOOKED_UP:
        return None
    if column.base_oid in _TEXTS and not column.has_exact_texts:
        return None
    texts = frozenset(value for value in values if value is not None)
    return Equality(column.name, column.number, column.type_oid, texts)


def _null_verdict(condition: Condition, values: Sequence[str | None]) -> Verdict:
    if condition.operator is Operator.IS:
        matches = condition.value in ("null", "unknown")
    elif condition.operator is Operator.ISDISTINCT:
        matches = True
    elif condition.operator is Operator.IN and not values:
        matches = False
    else:
        # NULL, and so is its negation.
        return Verdict.NO
    return Verdict.YES if matches != condition.is_negated else Verdict.NO


def _matcher(condition: Condition, column: ColumnFacts, values: list[str]) -> Matcher | None:
    match condition.operator:
        case Operator.IS:
            return _is_matcher(condition.value, column)
        case Operator.EQ | Operator.NEQ | Operator.IN | Operator.ISDISTINCT:
            is_equal = _equality_matcher(column, values)
            if condition.operator in (Operator.EQ, Operator.IN) or is_equal is None:
                return is_equal
            return lambda value: not is_equal(value)
        case Operator.LT | Operator.LTE | Operator.GT | Operator.GTE:
            return _order_matcher(_ORDERS[condition.operator], column, values[0])
        case Operator.LIKE:
            is_known = column.base_oid in _TEXTS and column.has_exact_texts
            return like_matcher(values[0]) if is_known else None
        case Operator.ILIKE | Operator.MATCH | Operator.IMATCH:
            return None


def _is_matcher(word: str, column: ColumnFacts) -> Matcher | None:
    if word in ("null", "unknown"):
        # A composite is NULL to SQL if all its fields are.
        return None if column.base_kind == COMPOSITE else lambda _value: False
    return ("t" if word == "true" else "f").__eq__


def _equality_matcher(column: ColumnFacts, values: list[str]) -> Matcher | None:
    key = _equality_key(column)
    if key is None:
        return None
    try:
        keys = frozenset(map(key, values))
    except ValueError:
        return None
    if key is not _as_is:
        return lambda value: key(value) in keys
    return values[0].__eq__ if len(values) == 1 else keys.__contains__


def _order_matcher(
    compare: Callable[[Any, Any], bool], column: ColumnFacts, value: str
) -> Matcher | None:
    key = _order_key(column)
    if key is None:
        return None
    try:
        bound = key(value)
    except ValueError:
        return None
    return lambda value: compare(key(value), bound)


def _equality_key(column: ColumnFacts) -> Key | None:
    if column.base_oid in _TEXTS and not column.has_exact_texts:
        return None
    if column.base_oid in _EQUALITY_KEYS:
        return _EQUALITY_KEYS[column.base_oid]
    return _as_is if column.base_kind == _ENUM else None


def _order_key(column: ColumnFacts) -> Key | None:
    if column.base_oid in _TEXTS and not column.has_code_point_order:
        return None
    return _ORDER_KEYS.get(column.base_oid)


def _as_is(text: str) -> str:
    return text


def _without_padding(text: str) -> str:
    """Of char(n), spaces at the end mean nothing."""
    return text.rstrip(" ")


def _float(text: str) -> tuple[bool, float]:
    """Read a float; NaN equals itself and is above all others."""
    number = float(text)
    return (True, 0.0) if math.isnan(number) else (False, number)


def _numeric(text: str) -> tuple[bool, Decimal]:
    """Read a numeric with all its digits; NaN as in `_float`."""
    if text == "NaN":
        return True, Decimal()
    try:
        return False, Decimal(text)
    except DecimalException:
        raise ValueError(text) from None


def _moment(text: str) -> tuple[float, str]:
    """Read `2026-01-02[ 03:04:05.6]`, `0044-03-15 BC`, `infinity` or `-infinity`: the year and what follows it."""
    if text.endswith("infinity"):
        return (-math.inf if text[0] == "-" else math.inf), ""
    year, dash, rest = text.partition("-")
    if not dash:
        raise ValueError(text)
    if rest.endswith(" BC"):
        return -int(year), rest.removesuffix(" BC")
    return int(year), rest


def _moment_in_utc(text: str) -> tuple[float, str]:
    year, rest = _moment(text)
    if rest and not rest.endswith("+00"):
        raise ValueError(text)
    # The sign of the offset would do for sorting `05+00` before `05.5+00`, but need not.
    return year, rest.removesuffix("+00")


_EQUALITY_KEYS: Final[Mapping[int, Key]] = {
    **dict.fromkeys((_INT2, _INT4, _INT8, _OID, _BOOL, _UUID, _BYTEA, _TIME), _as_is),
    **dict.fromkeys((_TEXT, _VARCHAR, _NAME), _as_is),
    **dict.fromkeys((_DATE, _TIMESTAMP), _as_is),
    **dict.fromkeys((_FLOAT4, _FLOAT8), _float),
    _CHAR_N: _without_padding,
    _NUMERIC: _numeric,
    _TIMESTAMPTZ: _moment_in_utc,
}

#: `t` is after `f`, hexadecimal digits are in the order of their values, and a time starts with its hours.
_ORDER_KEYS: Final[Mapping[int, Key]] = {
    **_EQUALITY_KEYS,
    **dict.fromkeys((_INT2, _INT4, _INT8, _OID), int),
    **dict.fromkeys((_DATE, _TIMESTAMP), _moment),
}
