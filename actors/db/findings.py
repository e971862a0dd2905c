"""What a look at the database or the settings found: one sentence each, with what mends it.

Made by `checkup` and by the command `troupe doctor`, which prints them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import LiteralString


class Level(IntEnum):
    """How bad it is; the worst is the exit status of the command."""

    OK = 0
    WARNING = 1
    ERROR = 2


@frozen
class Finding:
    """`subject` is what was looked at, `remedy` the SQL or setting that mends it, empty if nothing has to be."""

    level: Level
    subject: str
    sentence: str
    remedy: str = ""


@frozen
class Check:
    """A statement that changes nothing, and what its rows mean; `%(publication)s` is its only parameter."""

    statement: LiteralString
    judge: Callable[[Sequence[tuple[Any, ...]]], list[Finding]]


def ok(subject: str, sentence: str) -> Finding:
    return Finding(Level.OK, subject, sentence)


def warning(subject: str, sentence: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, subject, sentence, remedy)


def error(subject: str, sentence: str, remedy: str) -> Finding:
    return Finding(Level.ERROR, subject, sentence, remedy)
