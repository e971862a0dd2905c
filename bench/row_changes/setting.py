"""The Postgres, the server and the cores that the questions about row changes are put to."""

import argparse
import sys
from pathlib import Path

from attrs import frozen
from harness import REPOSITORY, RunningServer
from machine import Cores
from peers.catalogue import JWT_SECRET

sys.path.insert(0, str(REPOSITORY))

from tests.support import postgres

__all__ = ["Setting", "command", "postgres"]


@frozen
class Setting:
    """Where everything runs."""

    database: postgres.PostgresServer
    server: RunningServer
    cores: Cores
    options: argparse.Namespace

    def cpu_s(self) -> float:
        """Return the processor time of all threads of the server so far, in seconds."""
        tasks = Path(f"/proc/{self.server.process}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def command(database: postgres.PostgresServer, *more: str) -> list[str]:
    """Return the command that starts Troupe on this database, with more options."""
    options = ["--host", "127.0.0.1", "--port", "0", "--jwt-secret", JWT_SECRET]
    options += ["--database-url", database.conninfo()]
    # The clients of the load generator send no heartbeats.
    options += ["--idle-timeout-s", "600"]
    return [sys.executable, "-m", "actors.main", *options, *more]
