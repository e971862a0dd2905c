"""Takes the text forms of arrays, composites and hstore apart; what the parts mean is up to the caller.

Called by `values`.

**Source**: PostgreSQL 18 documentation, 8.15.6 (arrays), 8.16.6 (composites) and F.17 (hstore), read 2026-11-21.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: `[1:2][0:1]=` in front of an array whose lower bounds are not 1.
_match_bounds = re.compile(r"(?:\[-?[0-9]+:-?[0-9]+\])+=").match

#: What may stand between double quotes; written so that long texts take few steps.
_INSIDE = r'[^"\\]*(?:\\.[^"\\]*)*'
_INSIDE_DOUBLED = r'[^"\\]*(?:(?:""|\\.)[^"\\]*)*'

#: One field of a composite and what follows it; quotes are doubled or escaped inside quotes.
_match_field = re.compile(rf'(?:"({_INSIDE_DOUBLED})"|([^,"()\\]*))(,|$)', re.DOTALL).match
_undouble = re.compile(r'\\(.)|"(")', re.DOTALL).sub

#: One pair of an hstore and what follows it.
_match_pair = re.compile(rf'"({_INSIDE})"=>(?:"({_INSIDE})"|NULL)(, |$)', re.DOTALL).match


def array_rewriter(
    encode: Callable[[str], bytes], delimiter: str
) -> Callable[[str], bytes | None]:
    """Return what writes `{a,"b c",{…},NULL}` anew with brackets and encoded elements, token by token.

    The result is JSON if the text was an array; None if it holds what no array does.
    """
    separator = re.escape(delimiter)
    tokens = re.compile(
        rf'([{{}}{separator}])|"({_INSIDE})"|((?:[^{{}}{separator}"\\]|\\.)+)|(.)',
        re.DOTALL,
    ).finditer
    punctuation = {"{": b"[", "}": b"]", delimiter: b","}

    def rewrite(text: str) -> bytes | None:
        bounds = _match_bounds(text)
        parts: list[bytes] = []
        for match in tokens(text, bounds.end() if bounds else 0):
            mark, quoted, plain, _stray = match.groups()
            if mark is not None:
                parts.append(punctuation[mark])
            elif quoted is not None:
                parts.append(encode(_unescaped(quoted)))
            elif plain is not None:
                parts.append(b"null" if plain == "NULL" else encode(_unescaped(plain)))
            else:
                return None
        return b"".join(parts)

    return rewrite


def composite_fields(text: str, count: int) -> list[str | None] | None:
    """Return the fields of `(1,"a b",)`, NULL as None; None if it is not a composite of that many."""
    if len(text) < 2 or text[0] != "(" or text[-1] != ")":
        return None
    if text == "()" and count == 0:
        return []
    end = len(text) - 1
    values: list[str | None] = []
    at, after = 1, ","
    while after:
        match = _match_field(text, at, end)
        if match is None:
            return None
        quoted, plain, after = match.groups()
        if quoted is not None:
            values.append(
                _undouble(r"\1\2", quoted) if '"' in quoted or "\\" in quoted else quoted
            )
        else:
            values.append(plain or None)
        at = match.end()
    return values if len(values) == count else None


def hstore_pairs(text: str) -> dict[str, str | None] | None:
    """Return the pairs of `"a"=>"1", "b"=>NULL`, NULL as None; None if it is not an hstore."""
    pairs: dict[str, str | None] = {}
    at, after = 0, ", " if text else ""
    while after:
        match = _match_pair(text, at)
        if match is None:
            return None
        key, value, after = match.groups()
        pairs[_unescaped(key)] = None if value is None else _unescaped(value)
        at = match.end()
    return pairs


def _unescaped(text: str) -> str:
    """Return `text` without the backslash before what is escaped."""
    if "\\" not in text:
        return text
    # Two in a row always begin an escape, as what precedes them is either plain or was escaped itself.
    return "\\".join(part.replace("\\", "") for part in text.split("\\\\"))
