"""The real server as a child process, as an operator would start it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from attrs import define, field
from psycopg.conninfo import make_conninfo

from tests.support import subprocesses
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

PROJECT = Path(__file__).parents[2]
# The first start makes a database cluster, which takes some seconds on a slow disk.
STARTING_S = 60.0


@define
class Server:
    """A server with its own Postgres below `directory`; stopped and started again it keeps port and data.

    `settings` are further variables of its environment; with REALTIME_DATABASE_URL it has no Postgres of its own.
    """

    directory: Path
    settings: Mapping[str, str] = field(factory=dict)
    port: int = field(default=0, init=False)
    ready: subprocesses.Report = field(factory=dict, init=False)
    said: subprocesses.Reports | None = field(default=None, init=False)
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """What a client library is given."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/realtime/v1/websocket"

    @property
    def conninfo(self) -> str:
        """How a superuser connects to the server's own Postgres."""
        # The ready line has the command for a person: psql -h DIRECTORY -p PORT -U USER DATABASE.
        _psql, _h, host, _p, port, _u, user, database = shlex.split(self.ready["psql"])
        return make_conninfo(host=host, port=port, user=user, dbname=database)

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until the server says that it is ready."""
        command = [sys.executable, "-m", "actors.main", "--host", "127.0.0.1"]
        command += ["--port", str(self.port)]
        process = subprocesses.start(command, cwd=str(PROJECT), env=self._environment())
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        process.stdout.close()
        self._process = process
        self.said = subprocesses.Reports(process.stderr)
        self.ready = self.said.expect("node.ready", within_s=STARTING_S)
        self.port = self.ready["port"]

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def send_signal(self, how: signal.Signals) -> None:
        """Send a signal, and do not wait for what comes of it."""
        assert self._process is not None
        self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop, and return the exit status."""
        assert self._process is not None
        assert self.said is not None
        self.send_signal(how)
        try:
            return subprocesses.end(self._process)
        finally:
            self.said.close()
            self._process = None

    def execute(self, *statements: str) -> None:
        """Run statements as superuser of the server's own Postgres, each in a transaction of its own."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("REALTIME_")
        }
        return inherited | {
            "REALTIME_JWT_SECRET": SECRET,
            "REALTIME_DATA_DIRECTORY": str(self.directory),
            # What a refused client waits for is no subject here.
            "REALTIME_CONNECT_ERROR_DELAY_S": "0",
            "REALTIME_JOIN_ERROR_DELAY_S": "0",
            **self.settings,
        }


@contextmanager
def running_server(
    directory: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server for the length of a `with` block."""
    server = Server(directory, settings or {})
    try:
        server.start()
        yield server
    finally:
        server.stop()
