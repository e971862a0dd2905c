"""The command line: `python -m actors.main`, alone to serve or with the name of a command (`actors.commands`).

Notes the signals that come before the event loop listens to them, and leaves everything else to `actors.command_line`,
whose import takes most of a second: without this a server that is told to stop in that time would die of the signal.
Of our own modules nothing is imported before that.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server, or the command that is named first; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    is_command = bool(words) and not words[0].startswith("-")
    received = [] if is_command else note_signals()
    from actors.command_line import run  # noqa: PLC0415  # see the module's text

    return run(words, received)


def note_signals() -> list[int]:
    """Return a list to which the first signal to stop is added; the second ends the process at once."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return received


if __name__ == "__main__":
    sys.exit(main())
