"""Names with wildcards, as schema and table of a subscription may be: SQL `LIKE` without an escape character.

Called by `actors.realtime.change_index` for each table it meets; Postgres decides the same when a client subscribes.

**Source**: spec 6.1: `_` and `%` inside names act as wildcards, `*` alone means any name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from re import Pattern

ANY: Final = "*"

# NAMEDATALEN - 1: a pattern that needs more characters matches no name.
MAX_NAME_CHARACTERS: Final = 63


@frozen
class NamePattern:
    """One pattern; equal to any other of the same text."""

    text: str
    _compiled: Pattern[str] | None = field(init=False, eq=False, repr=False)

    @_compiled.default
    def _compile(self) -> Pattern[str] | None:
        return None if self.is_any or not self.has_wildcards else _expression(self.text)

    @property
    def is_any(self) -> bool:
        """Whether every name matches."""
        return self.text == ANY

    @property
    def has_wildcards(self) -> bool:
        """Whether more than one name can match."""
        return self.is_any or "_" in self.text or "%" in self.text

    def matches(self, name: str) -> bool:
        """Whether the name matches, in time linear in its length."""
        if self._compiled is None:
            return self.is_any or name == self.text
        return self._compiled.fullmatch(name) is not None


def _expression(pattern: str) -> Pattern[str] | None:
    """Return the regular expression of a pattern that has wildcards.

    What stands between two `%` is looked for once, at the first place where it fits (an atomic group):
    a later place never helps, and trying them all would take exponential time.
    """
    if len(pattern) - pattern.count("%") > MAX_NAME_CHARACTERS:
        return re.compile(r"(?!)")
    first, *others = (_literal(part) for part in pattern.split("%"))
    if not others:
        return re.compile(first, re.DOTALL)
    *middle, last = others
    found = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(f"{first}{found}.*{last}", re.DOTALL)


def _literal(part: str) -> str:
    return "".join("." if character == "_" else re.escape(character) for character in part)
