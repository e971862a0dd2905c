"""The actor that runs a Postgres server of our own as a child process.

Started first of the resources by `actors.node`, on files that `cluster_files` claimed; speaks no SQL itself.
Truth: the data directory, which outlives everything. Rank: lowest, it asks nobody.
That the server cannot start, or ends by itself, is a state, told by `ServerState` and tried again with growing delays;
only a bug crashes the actor.

**Invariants**
- `ready` is said when the server accepts connections and `prepare` has been run on it.
- The server is stopped before `run` returns, however it returns.
- When this process is killed, a guard stops the server.
"""

from __future__ import annotations

import signal
import subprocess
from itertools import count
from typing import TYPE_CHECKING, Never

import structlog
import trio
from attrs import define

from actors.core.signals import Stopping
from actors.core.spec import Backoff
from actors.db.child import run_child
from actors.db.initdb import initialise
from actors.db.postmaster import POLL_EVERY_S, clear_leftovers, read_postmaster
from actors.db.server_log import ServerLog
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.core.inbox import Inbox
    from actors.db.cluster_files import ClusterFiles

log = structlog.get_logger()

# A fast stop writes a checkpoint; an immediate one leaves the work to the next start. Together below `stop_within`.
FAST_STOP_S = 3.0
IMMEDIATE_STOP_S = 1.0
# A server that ran this long had started well: its end begins a new row of attempts.
STEADY_S = 30.0
RETRY = Backoff(first=0.1, base=0.5, ceiling=30.0)

# On the command line, so that nothing stored in the data directory can loosen them.
SERVER_SETTINGS = {
    "wal_level": "logical",
    # Invariant: bounded, so that a forgotten slot cannot fill the disk (and durable slots may be the default).
    "max_slot_wal_keep_size": "1GB",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
    # Neither statements nor row values belong into our log.
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

# Waits for the end of its input, which this process holds open and the kernel closes; then asks for a fast stop.
# Trade-off: a death signal (prctl) would need no process, but follows the thread that started the child,
# and trio starts children in threads that come and go.
GUARD = 'read -r _; kill -INT "$(head -n 1 "$0")"'


@define
class ServerState:
    """What others may know of the server; written by the actor, read by anybody, outlives incarnations.

    `advice` says in one sentence why there is no server, `None` while there is one.
    """

    advice: str | None = "The embedded Postgres is starting."


async def nothing_to_prepare(_conninfo: str) -> None:
    """Leave the database as it is."""


@define
class EmbeddedPostgres:
    """Keeps a server running on `files`.

    `prepare` is awaited with the connection string each time the server has started;
    it may raise `DatabaseUnavailable`, and is then awaited again later.
    """

    files: ClusterFiles
    state: ServerState
    prepare: Callable[[str], Awaitable[None]] = nothing_to_prepare

    async def run(self, inbox: Inbox[Never]) -> None:
        """Keep the server running until told to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_running, inbox.ready)
            async for signal_ in inbox:
                if isinstance(signal_, Stopping):
                    break
            nursery.cancel_scope.cancel()

    async def _keep_running(self, ready: Callable[[], None]) -> Never:
        ends_in_a_row = 0
        while True:
            started_at = trio.current_time()
            try:
                advice = await self._serve(ready)
            except* (DatabaseUnavailable, OSError) as failures:
                # Programs, files, memory and room on the disk are the machine's, not ours to crash about.
                advice = _first_advice(failures)
            finally:
                self.state.advice = "The embedded Postgres has stopped."
            self.state.advice = advice
            steady = trio.current_time() - started_at > STEADY_S
            ends_in_a_row = 1 if steady else ends_in_a_row + 1
            delay_s = RETRY.delay(ends_in_a_row, fraction=0.0)
            log.warning("postgres.ended", advice=advice, attempt=ends_in_a_row, delay_s=delay_s)
            await trio.sleep(delay_s)

    async def _serve(self, ready: Callable[[], None]) -> str:
        """Start a server, look after it until it ends by itself, and return why it did."""
        started_at = trio.current_time()
        await self._make_way()
        server_log = ServerLog()
        async with trio.open_nursery() as nursery:
            process = await nursery.start(self._run_postgres)
            guard = await nursery.start(self._run_guard)
            nursery.start_soon(server_log.follow, process.stderr)
            nursery.start_soon(self._announce, process, ready, started_at)
            async with guard.stdin:
                await process.wait()
                guard.kill()  # Before its input ends: the process it would stop is gone.
            await server_log.wait_ended()
            nursery.cancel_scope.cancel()
        return f"The embedded Postgres ended with status {process.returncode}. {server_log.last_words}"

    async def _make_way(self) -> None:
        """Leave the directory with data and without a server."""
        if not self.files.data.is_dir():
            await initialise(self.files)
            return
        earlier = read_postmaster(self.files.data)
        if earlier is not None and earlier.is_running():
            log.warning("postgres.orphan_found", pid=earlier.pid)
            await earlier.stop()
        clear_leftovers(self.files.data, self.files.address.socket_directory)

    async def _announce(
        self, process: trio.Process, ready: Callable[[], None], started_at: float
    ) -> None:
        """Wait until the server accepts connections, prepare it and tell everybody."""
        while not self._accepts(process):  # noqa: ASYNC110 (a file of another process)
            await trio.sleep(POLL_EVERY_S)
        await self._prepare()
        self.state.advice = None
        log.info(
            "postgres.started",
            port=self.files.address.port,
            version=self.files.binaries.version,
            took_ms=round((trio.current_time() - started_at) * 1000),
        )
        ready()

    async def _prepare(self) -> None:
        for attempt in count(1):
            try:
                await self.prepare(self.files.address.conninfo)
            except DatabaseUnavailable as error:
                self.state.advice = error.advice
                delay_s = RETRY.delay(attempt, fraction=0.0)
                log.warning(
                    "postgres.unprepared", advice=error.advice, attempt=attempt, delay_s=delay_s
                )
                await trio.sleep(delay_s)
            else:
                return

    def _accepts(self, process: trio.Process) -> bool:
        postmaster = read_postmaster(self.files.data)
        return postmaster is not None and postmaster.pid == process.pid and postmaster.is_ready

    async def _run_postgres(self, task_status: trio.TaskStatus[trio.Process]) -> None:
        address = self.files.address
        settings = SERVER_SETTINGS | {
            "port": str(address.port),
            "unix_socket_directories": str(address.socket_directory),
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        await run_child(
            self.files,
            [self.files.binaries.postgres, "-D", self.files.data, *options],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            deliver_cancel=_stop_server,
            task_status=task_status,
        )

    async def _run_guard(self, task_status: trio.TaskStatus[trio.Process]) -> None:
        await run_child(
            self.files,
            ["sh", "-c", GUARD, self.files.data / "postmaster.pid"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            task_status=task_status,
        )


def _first_advice(failures: BaseExceptionGroup[Exception]) -> str:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, DatabaseUnavailable):
        return failure.advice
    return f"The embedded Postgres could not be run: {failure}"


async def _stop_server(process: trio.Process) -> None:
    """Ask the server to end, ever less politely; trio cancels this when it has ended."""
    process.send_signal(signal.SIGINT)
    await trio.sleep(FAST_STOP_S)
    log.warning("postgres.stop_delayed", waited_s=FAST_STOP_S)
    process.send_signal(signal.SIGQUIT)
    await trio.sleep(IMMEDIATE_STOP_S)
    process.kill()
