"""Which claims the policies of a table read, where their text leaves no doubt.

Used by `privileges`; `claim_excerpts` makes of it what is asked about.
Policies like `team = (current_setting('request.jwt.claims', true)::json ->> 'team')::int` mean the same
for all who share a team: they are asked about once.

**Invariants**
- Whatever is not known to be harmless counts as reading everything: the text must consist of what is listed here.
- The text comes from `pg_get_expr` without a search path, so that bare names are those of Postgres itself.
  What a policy uses of others (functions, operators, types, tables) is not looked at: the caller has.

**Source**: PostgreSQL 18 documentation, 9.28.1 "Configuration Settings Functions", 52.18 `pg_depend`; `ruleutils.c`
for how expressions are printed. Read 2026-11-21. ADR 0095.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: The claim that has settings of its own.
SUBJECT: Final = "sub"

#: Words of the language that may stand beside the names of columns; sub-selects have no FROM.
_LOGIC: Final = frozenset(
    ("AND", "OR", "NOT", "IS", "NULL", "true", "false", "TRUE", "FALSE", "UNKNOWN")
)
_FORMS: Final = frozenset(
    ("ANY", "ALL", "ARRAY", "CASE", "WHEN", "THEN", "ELSE", "END", "SELECT")
)
_TOKEN: Final = re.compile(
    r"""
    \((?:NULLIF\()?current_setting\('request\.jwt\.claims'::text(?:,\ (?:true|false))?\)(?:,\ ''::text\))?
        \)::jsonb?\ ->>?\ '(?P<claim>(?:[^'\\]|'')*)'::text
    | (?P<subject>current_setting\('(?:request\.jwt\.claim\.sub|app\.current_user_id)'::text(?:,\ (?:true|false))?\))
    | '(?:[^'\\]|'')*'
    | ::[a-z][a-z0-9_\ ]*(?:\(\d+(?:,\d+)?\))?(?:\[\])*
    | (?:NULLIF|COALESCE|now|lower|upper)\(
    | IS\ (?:NOT\ )?DISTINCT\ FROM\b
    | AS\ (?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")(?![A-Za-z0-9_$"(])
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*|"(?:[^"]|"")+")(?![A-Za-z0-9_$"(])
    | \d+(?:\.\d+)?
    | [-+*/<>=~!@#%^&|?(),\[\]\s]
    """,
    re.VERBOSE,
)


def claims_read(expressions: Iterable[str], columns: Collection[str]) -> frozenset[str] | None:
    """Return the top-level claims on which these conditions depend; None if it may be any.

    `columns` are those of the table whose types are Postgres' own.
    """
    claims: set[str] = set()
    for expression in expressions:
        place = 0
        while place < len(expression):
            token = _TOKEN.match(expression, place)
            if token is None:
                return None
            place = token.end()
            claim, word = token["claim"], token["word"]
            if word is not None and not _is_harmless(word, columns):
                return None
            if token["subject"] is not None:
                claims.add(SUBJECT)
            elif claim is not None:
                claims.add(claim.replace("''", "'"))
    return frozenset(claims)


def _is_harmless(word: str, columns: Collection[str]) -> bool:
    if word.startswith('"'):
        return word[1:-1].replace('""', '"') in columns
    # Names with capitals are printed in quotes.
    return word in _LOGIC or word in _FORMS or (word.islower() and word in columns)
