"""Which names a condition may have for columns, and which of them only in double quotes.

Asked by `condition_grammar`, whose columns become those of filters.

**Source**: PostgreSQL 18 documentation, appendix C (reserved words), read 2026-11-21.
"""

from __future__ import annotations

from typing import Final

from protocol.changes.filters import Condition, Operator, parse_filter
from protocol.errors import InvalidFilter

#: Postgres cuts longer names off.
MAX_NAME_BYTES: Final = 63

_RESERVED_WORDS: Final = """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role
    current_schema current_time current_timestamp current_user default deferrable desc distinct do else end
    except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into
    is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on
    only or order outer overlaps placing primary references returning right select session_user similar some
    symmetric system_user table tablesample then to trailing true union unique user using variadic verbose when
    where window with
"""
#: What is no name of a column for Postgres unless it is in double quotes.
RESERVED: Final = frozenset(_RESERVED_WORDS.split())


def is_sayable(name: str) -> bool:
    """Whether a filter can name the column: what goes on behind the name is read as it is meant."""
    if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        return False
    # The comma tells whether the name would open a quotation, the repetition whether it would begin anything else.
    condition = Condition(name, Operator.EQ, ",", is_negated=False)
    try:
        return parse_filter(f'{name}=eq.",",{name}=eq.","') == (condition, condition)
    except InvalidFilter:
        return False
