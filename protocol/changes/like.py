"""The pattern language of SQL's LIKE: `%` is any text, `_` any character, a backslash takes the next one literally.

Called by `comparing` for collations under which equal texts are equal characters.
A pattern is cut at its `%`; each part is then looked for once, so the time grows with the length of the text
times that of the pattern and no further, whatever the pattern.

**Source**: PostgreSQL 18 documentation, 9.7.1, read 2026-11-21.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

_ANY_CHARACTER = "_"
_ANY_TEXT = "%"
_ESCAPE = "\\"

_token = re.compile(r"\\(.)|([%_])|([^\\%_]+)", re.DOTALL)


def ends_in_escape(pattern: str) -> bool:
    """Whether the last backslash has nothing to escape, which Postgres takes for an error if it gets there."""
    return (len(pattern) - len(pattern.rstrip(_ESCAPE))) % 2 == 1


def like_matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a whole text is like `pattern`, which does not end in a lone escape."""
    first, *others = (_Part.read(tokens) for tokens in _parts(pattern))
    if not others:
        if first.is_plain:
            return first.text.__eq__
        return lambda text: len(text) == first.length and first.stands_at(text, 0)
    *middle, last = others

    def matches(text: str) -> bool:
        end = len(text) - last.length
        if end < first.length or not first.stands_at(text, 0):
            return False
        at = first.length
        for part in middle:
            found = part.find(text, at, end)
            if found < 0:
                return False
            at = found + part.length
        return last.stands_at(text, end)

    return matches


def _parts(pattern: str) -> list[list[tuple[str, str]]]:
    """Return the tokens between the `%`, each as (literal text, or one `_`)."""
    parts: list[list[tuple[str, str]]] = [[]]
    for escaped, special, plain in _token.findall(pattern):
        if special == _ANY_TEXT:
            parts.append([])
        else:
            parts[-1].append((escaped or plain, special))
    return parts


@frozen
class _Part:
    """What stands between two `%`: characters of which some may be any."""

    text: str
    is_plain: bool
    length: int
    _pattern: re.Pattern[str]

    @classmethod
    def read(cls, tokens: list[tuple[str, str]]) -> _Part:
        text = "".join(literal or wildcard for literal, wildcard in tokens)
        source = "".join(
            "." if wildcard else re.escape(literal) for literal, wildcard in tokens
        )
        is_plain = not any(wildcard for _literal, wildcard in tokens)
        return cls(text, is_plain, len(text), re.compile(source, re.DOTALL))

    def stands_at(self, text: str, at: int) -> bool:
        if self.is_plain:
            return text.startswith(self.text, at)
        return self._pattern.match(text, at) is not None

    def find(self, text: str, start: int, end: int) -> int:
        """Return the first place from `start` on where the part is before `end`, -1 if there is none."""
        if self.is_plain:
            return text.find(self.text, start, end)
        match = self._pattern.search(text, start, end)
        return -1 if match is None else match.start()
