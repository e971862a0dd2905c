"""A real Postgres server for tests: thrown away afterwards, tuned for speed, ready for logical replication."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import trio
from attrs import define, field, frozen
from psycopg import sql

from actors.db.account import runnable_binaries, server_account
from actors.db.binaries import Binaries, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.db.driver import TrioConnection

SUPERUSER = "postgres"
SETTINGS = {
    "wal_level": "logical",
    "fsync": "off",
    # What commits asynchronously is streamed once it is written, which otherwise takes 200 ms.
    "synchronous_commit": "off",
    "wal_writer_delay": "10ms",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "50",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "listen_addresses": "127.0.0.1",
    "timezone": "Europe/Vienna",
    "log_min_messages": "warning",
}
END_REPLICATION = """
    SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots
    WHERE database = %s AND active_pid IS NOT NULL
"""
DROP_SLOTS = """
    SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s
"""
STARTING_S = 30.0
STOPPING_S = 30.0


@define
class PostgresServer:
    """One server in a directory of its own; reachable by Unix socket and on the loopback."""

    directory: Path
    binaries: Binaries
    port: int
    settings: Mapping[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def conninfo(
        self, dbname: str = "postgres", user: str = SUPERUSER, host: str = "127.0.0.1"
    ) -> str:
        return f"host={host} port={self.port} dbname={dbname} user={user} password=secret"

    @property
    def socket_conninfo(self) -> str:
        return self.conninfo(host=str(self.directory))

    def start(self) -> None:
        arguments = [self.binaries.postgres, "-D", self._data, "-p", str(self.port)]
        arguments += ["-k", str(self.directory)]
        for name, value in self.settings.items():
            arguments += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                arguments, stdout=log, stderr=log, cwd=self.directory, **_demotion()
            )
        deadline = time.monotonic() + STARTING_S
        while True:
            try:
                psycopg.connect(self.conninfo()).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "log").read_text()) from None
                time.sleep(0.01)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT, within_s: float = STOPPING_S) -> None:
        """Stop the server; SIGINT is what `pg_ctl stop -m fast` sends, SIGQUIT is immediate."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(within_s)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(STOPPING_S)
                raise
            finally:
                self._process = None

    def kill(self) -> None:
        """Kill every process of the server, as a crash of the machine would, but for what the kernel has."""
        assert self._process is not None
        # Stopped first, so that it starts no further process that we would not know of.
        self._process.send_signal(signal.SIGSTOP)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        processes = [self._process.pid, *map(int, children.read_text().split())]
        for process in processes:
            _kill(process)
        self._process.wait(STOPPING_S)
        self._process = None
        deadline = time.monotonic() + STOPPING_S
        while any(Path(f"/proc/{process}").exists() for process in processes):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill_backends(self, chosen: str) -> None:
        """Kill server processes, `chosen` by what follows `select pid`; the server then restarts all by itself."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            for (process,) in connection.execute(f"select pid {chosen}").fetchall():
                _kill(process)

    def execute(self, *statements: str, dbname: str = "postgres") -> None:
        """Run statements as superuser, each in a transaction of its own."""
        with psycopg.connect(self.conninfo(dbname), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def initialise(self) -> None:
        password = self.directory / "password"
        password.write_text("secret")
        if os.geteuid() == 0:
            account = _account()
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            os.chown(password, account.pw_uid, account.pw_gid)
        command = [self.binaries.initdb, "-D", self._data, "-U", SUPERUSER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync", f"--pwfile={password}"]
        subprocess.run(
            command, check=True, capture_output=True, cwd=self.directory, **_demotion()
        )

    @property
    def _data(self) -> Path:
        return self.directory / "data"


@frozen
class Database:
    """One fresh database of the server."""

    server: PostgresServer
    name: str

    @property
    def conninfo(self) -> str:
        return self.server.conninfo(self.name)

    def conninfo_as(self, user: str) -> str:
        return self.server.conninfo(self.name, user)

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements, dbname=self.name)


@contextmanager
def running_server(
    binaries: Binaries | None = None, **settings: str
) -> Iterator[PostgresServer]:
    """Run a server of one's own, of the usual version unless told; `settings` win over the usual ones."""
    # Not below pytest's directory, which is closed to the account the server runs as;
    # and short, as the path of a Unix socket is at most 107 bytes long.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        binaries = binaries or find_binaries()
        programs = runnable_binaries(binaries, server_account(), directory / "programs")
        server = PostgresServer(directory, programs, _free_port(), SETTINGS | settings)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def fresh_database(server: PostgresServer, name: str) -> Iterator[Database]:
    identifier = sql.Identifier(name)
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield Database(server, name)
    finally:
        # Connected anew, as the test may have restarted the server.
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            # FORCE does not end replication, and a walsender takes a moment to see that its client left.
            connection.execute(END_REPLICATION, (name,))
            connection.execute(DROP_SLOTS, (name,))
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


async def until(connection: TrioConnection, query: str, *parameters: str) -> None:
    """Ask until there is a row; Postgres has no event to wait for."""
    while not (await connection.execute(query, parameters)).rowcount:  # noqa: ASYNC110
        await trio.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _account() -> pwd.struct_passwd:
    """Return the account that runs the server when we are root, as Postgres refuses to."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _demotion() -> dict[str, int | list[int]]:
    if os.geteuid() != 0:
        return {}
    account = _account()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
