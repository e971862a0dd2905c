"""The files of the embedded Postgres, and the claim that makes one process their only user.

Called by `actors.main` before the actors start, so that what a person must put right is said at once, in one sentence.
`embedded` runs the server on what this hands out; `account` says who owns what.

**Invariants**
- At most one Troupe holds a claim on a directory; the kernel takes it back when that process ends, however it ends.
- `data` appears under its name only when `initdb` has finished.
- Beside the server's own directories nothing here can be changed by the server's account.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from actors.db.account import UNPRIVILEGED, Account, runnable_binaries, server_account
from actors.db.address import Address, choose_port, demand_private, socket_directory
from actors.db.binaries import Binaries, find_binaries
from actors.db.postmaster import read_postmaster
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Root has no working directory that another account could be expected to enter.
DIRECTORY = Path(".troupe")
DIRECTORY_OF_ROOT = Path("/var/lib/troupe")


@frozen
class EmbeddedOptions:
    """Where and how the embedded Postgres runs.

    `directory` holds everything; `None` is `.troupe` in the working directory, for root /var/lib/troupe.
    `port` is that of loopback TCP; `None` is 54322, or a free one if that is taken.
    `accounts` are tried in turn when we are root; `search` are directories with programs, `None` the usual ones.
    """

    directory: Path | None = None
    port: int | None = None
    accounts: tuple[str, ...] = UNPRIVILEGED
    search: tuple[Path, ...] | None = None


@frozen
class ClusterFiles:
    """A claimed directory, with all that is needed to run a server on it."""

    directory: Path
    account: Account
    binaries: Binaries
    address: Address

    @property
    def data(self) -> Path:
        """What Postgres calls the data directory."""
        return self.directory / "data"

    @property
    def unfinished_data(self) -> Path:
        """Where `initdb` works; renamed to `data` when it is done."""
        return self.directory / "data.new"

    @property
    def password_file(self) -> Path:
        """The superuser's password, readable by the server's account and by us."""
        return self.directory / "password"


@contextmanager
def claim_cluster(options: EmbeddedOptions) -> Iterator[ClusterFiles]:
    """Claim the directory for the length of a `with` block, and make what is missing except the data.

    Blocks for some milliseconds, so enter it before the event loop or when a short stall does no harm.

    Raises:
        DatabaseUnavailable: another Troupe has it, there are no programs for it, or it cannot be used.
    """
    account = server_account(options.accounts)
    usual = DIRECTORY if account.is_ours else DIRECTORY_OF_ROOT
    directory = (options.directory or usual).resolve()
    try:
        directory.mkdir(mode=0o700 if account.is_ours else 0o755, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, mode=0o600)
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        _lock_exclusively(lock, directory)
        yield _prepare(directory, account, options)
    finally:
        os.close(lock)


def _lock_exclusively(lock: int, directory: Path) -> None:
    """Take the lock and leave our process id in it, for the sentence that the next one will get."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise DatabaseUnavailable(
            f"Another Troupe (process {holder}) is running on {directory}: "
            "stop it, or start this one in another directory."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _prepare(directory: Path, account: Account, options: EmbeddedOptions) -> ClusterFiles:
    if not account.may_reach(directory):
        raise DatabaseUnavailable(
            f"The user {account.name}, who runs the embedded Postgres, may not enter {directory}: "
            "choose another directory."
        )
    try:
        _demand_own_data(directory / "data", account)
        binaries = _find_binaries(directory, account, options.search)
        address = _make_address(directory, account, options.port, binaries)
    except OSError as error:
        raise _unusable(directory, error) from error
    return ClusterFiles(directory, account, binaries, address)


def _demand_own_data(data: Path, account: Account) -> None:
    """Say in time what Postgres would refuse, too."""
    if data.exists() and data.stat().st_uid != account.uid:
        raise DatabaseUnavailable(
            f"{data} does not belong to {account.name}, who would run the embedded Postgres: "
            "start as the user it belongs to, or choose another directory."
        )


def _find_binaries(
    directory: Path, account: Account, search: Iterable[Path] | None
) -> Binaries:
    version_file = directory / "data" / "PG_VERSION"
    version = int(version_file.read_text()) if version_file.exists() else None
    binaries = find_binaries(search, version)
    return runnable_binaries(binaries, account, directory / "binaries")


def _make_address(
    directory: Path, account: Account, wanted: int | None, binaries: Binaries
) -> Address:
    sockets = socket_directory(directory / "run", account.uid)
    if not sockets.is_dir():
        sockets.mkdir(mode=0o700)
        account.give(sockets)
    demand_private(sockets, account.uid)
    earlier = read_postmaster(directory / "data")
    ours = earlier.port if earlier is not None and earlier.is_running() else None
    port = choose_port(wanted, ours)
    return Address(sockets, port, _password(directory, account), _psql(binaries))


def _psql(binaries: Binaries) -> str:
    """Return how a person calls psql: by its name if the shell finds it, else where the server's programs are."""
    beside = binaries.directory / "psql"
    return str(beside) if shutil.which("psql") is None and beside.exists() else "psql"


def _password(directory: Path, account: Account) -> str:
    """Read the superuser's password, or make one up if there is none yet."""
    path = directory / "password"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        account.give(path)
    return path.read_text().strip()


def _unusable(directory: Path, error: OSError) -> DatabaseUnavailable:
    name = error.filename or directory
    return DatabaseUnavailable(
        f"{directory} cannot hold the embedded Postgres ({name}: {error.strerror}): "
        "choose another directory."
    )
