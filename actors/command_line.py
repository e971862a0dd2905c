"""What the words of the command line ask for: a command, or to serve."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from actors.commands import doctor, migrate, token
from actors.realtime.errors import DatabaseUnavailable
from actors.serve import run_server
from actors.settings_loading import InvalidSetting, load

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {"doctor": doctor.run, "migrate": migrate.run, "token": token.run}


def run(words: Sequence[str], received: Sequence[int]) -> int:
    """Do what the words say; return the exit status. For `received` see `run_server`."""
    command = COMMANDS.get(words[0]) if words else None
    try:
        if command is not None:
            return command(words[1:], os.environ)
        return run_server(load(words, os.environ), received)
    except InvalidSetting as error:
        print(f"troupe: {error}", file=sys.stderr)  # noqa: T201  # there is no log yet
    except DatabaseUnavailable as unavailable:
        print(f"troupe: {unavailable.advice}", file=sys.stderr)  # noqa: T201
    return 2
