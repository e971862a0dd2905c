"""Where the embedded Postgres listens: a unix socket for us, a loopback port for everybody else on this machine.

Called by `cluster_files`; the values are read by `actors.node`.
"""

from __future__ import annotations

import hashlib
import shlex
import socket
import stat
from pathlib import Path
from urllib.parse import quote

from attrs import field, frozen

from actors.realtime.errors import DatabaseUnavailable

LOOPBACK = "127.0.0.1"
# Postgres's own 5432 is often taken; this one is what the Supabase command line uses.
USUAL_PORT = 54322
# Source: sockaddr_un in unix(7) of Linux (108 with the final zero); macOS has 104, so the smaller one holds.
LONGEST_SOCKET_PATH = 103


@frozen
class Address:
    """How to reach the server; superuser and database are both called `postgres`.

    `socket_directory` is open to the server's account and root only, so the socket asks for no password.
    `psql` is the program for people, by a path if it is not on theirs.
    """

    socket_directory: Path
    port: int
    password: str = field(repr=False)
    psql: str = "psql"

    @property
    def conninfo(self) -> str:
        """The connection string for this process: the unix socket, and no secret in it."""
        host = str(self.socket_directory).replace("\\", "\\\\").replace("'", "\\'")
        return f"host='{host}' port={self.port} user=postgres dbname=postgres"

    @property
    def url(self) -> str:
        """The URL for other programs on this machine; contains the password, so show it to nobody but its owner."""
        return f"postgresql://postgres:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/postgres"

    @property
    def psql_command(self) -> str:
        """The command line for a person; contains no secret."""
        socket_directory = str(self.socket_directory)
        command = [self.psql, "-h", socket_directory, "-p", str(self.port), "-U", "postgres"]
        return shlex.join([*command, "postgres"])


def choose_port(wanted: int | None, in_use_by_ours: int | None = None) -> int:
    """Return the port to listen on: `wanted`, or if that is `None` the usual one or else any free one.

    A port that our own earlier server still holds counts as free.

    Raises:
        DatabaseUnavailable: `wanted` is taken.
    """
    port = USUAL_PORT if wanted is None else wanted
    if port == in_use_by_ours or _is_free(port):
        return port
    if wanted is not None:
        raise DatabaseUnavailable(
            f"Port {wanted} of {LOOPBACK} is taken: stop what listens there, or choose another port."
        )
    with socket.create_server((LOOPBACK, 0)) as probe:
        free: int = probe.getsockname()[1]
        return free


def socket_directory(beside: Path, uid: int, temporary: Path = Path("/tmp")) -> Path:  # noqa: S108 (checked by its user)
    """Return where the unix socket goes: next to the data, or if that path is too long a directory of its own.

    The answer for one `beside` is always the same, so that a person's command line stays valid.
    """
    if len(bytes(beside / ".s.PGSQL.65535")) <= LONGEST_SOCKET_PATH:
        return beside
    digest = hashlib.sha256(bytes(beside)).hexdigest()[:12]
    return temporary / f"troupe-{uid}-{digest}"


def demand_private(directory: Path, uid: int) -> None:
    """Refuse a directory that others could have put in our place, or may enter.

    Raises:
        DatabaseUnavailable: it is no directory, has another owner, or is open to others.
    """
    status = directory.lstat()
    private = stat.S_ISDIR(status.st_mode) and not stat.S_IMODE(status.st_mode) & 0o077
    if not private or status.st_uid != uid:
        raise DatabaseUnavailable(
            f"{directory} must be a directory that only the server's user may enter: remove it."
        )


def _is_free(port: int) -> bool:
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return False
    return True
