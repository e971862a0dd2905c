"""What a Postgres server's main process says about itself in `postmaster.pid`, and how to end one we did not start.

Called by `cluster_files` and `embedded`.
A server may have outlived the Troupe that started it, or died without removing its file.

**Source**: PostgreSQL, src/include/utils/pidfile.h (the lines of the file), read 2026-11-21.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import trio
from attrs import frozen

from actors.realtime.errors import DatabaseUnavailable

PROCESSES = Path("/proc")
# Each of the two ways to stop gets this long.
STOP_WITHIN_S = 5.0
POLL_EVERY_S = 0.02


@frozen
class Postmaster:
    """The process that `data` names; `port` is `None` until it has written it."""

    data: Path
    pid: int
    port: int | None
    is_ready: bool

    def is_running(self) -> bool:
        """Return whether the process lives and serves this data, rather than being a stranger with its old number.

        A server works in its data directory; where that may not be seen, its command line has to do.
        """
        if not _exists(self.pid):
            return False
        if not PROCESSES.joinpath("self").exists():
            return True  # No way to tell without /proc.
        process = PROCESSES / str(self.pid)
        try:
            return self.data.samefile(process / "cwd")
        except PermissionError:
            return bytes(self.data) in _command(process)
        except OSError:
            return False

    async def stop(self) -> None:
        """End the process and wait until it is gone.

        Raises:
            DatabaseUnavailable: it does not end, or may not be ended by us.
        """
        for request in (signal.SIGINT, signal.SIGQUIT):
            try:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, request)
            except PermissionError:
                break
            with trio.move_on_after(STOP_WITHIN_S):
                # Not our child, so there is nothing to wait on.
                while self.is_running():  # noqa: ASYNC110
                    await trio.sleep(POLL_EVERY_S)
                return
        raise DatabaseUnavailable(
            f"A Postgres server (process {self.pid}) still runs on {self.data}: stop it by hand."
        )


def read_postmaster(data: Path) -> Postmaster | None:
    """Return what `postmaster.pid` says, `None` if there is no such file or nothing in it."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdecimal():
        return None
    port = lines[3].strip() if len(lines) > 3 else ""
    return Postmaster(
        data,
        pid=int(lines[0]),
        port=int(port) if port.isdecimal() else None,
        is_ready=len(lines) > 7 and lines[7].strip() == "ready",
    )


def clear_leftovers(data: Path, sockets: Path) -> None:
    """Remove what a dead server left and a new one would stumble over; none may be running.

    Postgres itself notices that the process is dead, except when a stranger has got its number.
    """
    earlier = read_postmaster(data)
    if earlier is not None and _exists(earlier.pid):
        (data / "postmaster.pid").unlink()
    for leftover in sockets.glob(".s.PGSQL.*"):
        leftover.unlink()


def _command(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
