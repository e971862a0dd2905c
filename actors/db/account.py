"""The system account that the embedded Postgres runs as: Postgres refuses to be root.

Called by `cluster_files`.
An ordinary user runs it as itself; root hands it to an account without privileges.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from typing import TYPE_CHECKING

from attrs import frozen

from actors.db.binaries import Binaries
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pathlib import Path

# `postgres` exists where Debian's package is installed, `nobody` everywhere.
UNPRIVILEGED = ("postgres", "nobody")


@frozen
class Account:
    """Who owns the data and runs the server; `is_ours` when that is this process's own user."""

    name: str
    uid: int
    gid: int
    is_ours: bool

    @property
    def user(self) -> int | None:
        """What `subprocess` calls `user`."""
        return None if self.is_ours else self.uid

    @property
    def group(self) -> int | None:
        """What `subprocess` calls `group`."""
        return None if self.is_ours else self.gid

    @property
    def extra_groups(self) -> list[int] | None:
        """What `subprocess` calls `extra_groups`: root's groups must not be inherited."""
        return None if self.is_ours else []

    def give(self, path: Path) -> None:
        """Make the account the owner of `path`."""
        if not self.is_ours:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def may_reach(self, path: Path) -> bool:
        """Return whether the account may enter every directory above `path`, and read and execute it."""
        if self.is_ours:
            return True  # Groups and access lists may let us in where the mode does not; trying will tell.
        real = path.resolve()
        return self._has(real, 0o5) and all(self._has(parent, 0o1) for parent in real.parents)

    def _has(self, path: Path, wanted: int) -> bool:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return stat.S_IMODE(status.st_mode) >> shift & wanted == wanted


def server_account(names: tuple[str, ...] = UNPRIVILEGED) -> Account:
    """Return our own user, or for root the first account of `names` that exists.

    Raises:
        DatabaseUnavailable: root, and none of them exists.
    """
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        return Account(own.pw_name, own.pw_uid, own.pw_gid, is_ours=True)
    for name in names:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid, is_ours=False)
    raise DatabaseUnavailable(
        f"Postgres refuses to run as root, and there is no user {' or '.join(names)}: "
        "create one, or start as an ordinary user."
    )


def runnable_binaries(binaries: Binaries, account: Account, directory: Path) -> Binaries:
    """Return `binaries`, or a copy of them in `directory` if `account` could not run the originals.

    That is so when root uses a virtual environment below /root.
    A copy is made anew each time, so it is never older than the original; it takes some 40 MB and blocks for 0.2 s.
    """
    if account.may_reach(binaries.postgres):
        return binaries
    shutil.rmtree(directory, ignore_errors=True)
    package = binaries.installation.parent
    copied = directory / package.name / binaries.installation.name
    copied.parent.mkdir(parents=True)
    _copy(binaries.installation, copied)
    # A wheel keeps the libraries it brings beside its package, and the programs look for them there.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        _copy(libraries, directory / libraries.name)
    _open_to_all(directory)
    return Binaries(copied / binaries.directory.name, binaries.version)


def _copy(source: Path, target: Path) -> None:
    """Copy a tree without what only compiling needs."""
    unneeded = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(source, target, symlinks=True, ignore=unneeded)


def _open_to_all(directory: Path) -> None:
    """Let everybody read what is below, and execute what its owner may."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
