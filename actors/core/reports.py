"""What a supervisor reports to its observer, to be logged and counted there.

Kept free of messages and exceptions: a kept traceback holds frames, and frames hold messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Hashable


@frozen
class CrashReport:
    """An incarnation failed; `message` is the type of what it held, None if it held nothing.

    `error` is the type of the exception and `stack` where it came from, innermost last;
    its text is left out, for it may repeat what a client sent.
    """

    name: Hashable
    incarnation: int
    message: str | None
    error: str
    stack: tuple[str, ...]


@frozen
class RestartReport:
    """A new incarnation starts after `delay_s` seconds."""

    name: Hashable
    incarnation: int
    delay_s: float


@frozen
class GiveUpReport:
    """A child crashed too often and is not started again."""

    name: Hashable
    crashes: int


@frozen
class OverdueReport:
    """A child did not end by its deadline although it was cancelled; `stack` is where it sits."""

    name: Hashable
    stack: tuple[str, ...]


Report = CrashReport | RestartReport | GiveUpReport | OverdueReport
