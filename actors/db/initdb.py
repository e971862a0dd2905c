"""Makes the data directory of the embedded Postgres.

Called by `embedded` before the first start.

**Invariants**
- UTF-8, and text sorted by code point: the same on every machine, whatever locales it has.
- The unix socket asks for no password, because its directory is closed to others; loopback TCP asks for one.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import structlog

from actors.db.child import run_child
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from actors.db.cluster_files import ClusterFiles

log = structlog.get_logger()

# Since this version Postgres brings C.UTF-8 with it; before, the system may or may not have it.
BUILTIN_LOCALES_SINCE = 17


async def initialise(files: ClusterFiles) -> None:
    """Run `initdb`; what an earlier, killed run left is removed first.

    Raises:
        DatabaseUnavailable: `initdb` failed; the sentence ends with its last words.
    """
    complaint = ""
    for locale in _locales(files.binaries.version):
        shutil.rmtree(files.unfinished_data, ignore_errors=True)
        files.unfinished_data.mkdir(mode=0o700)
        files.account.give(files.unfinished_data)
        complaint = await _run_initdb(files, locale)
        if not complaint:
            files.unfinished_data.rename(files.data)
            log.info("postgres.initialised", version=files.binaries.version)
            return
    raise DatabaseUnavailable(f"The embedded Postgres could not be set up: {complaint}")


def _locales(version: int) -> list[list[str]]:
    """Return the locale options to try in turn."""
    if version >= BUILTIN_LOCALES_SINCE:
        return [["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]]
    return [["--locale=C.UTF-8"], ["--locale=C"]]


async def _run_initdb(files: ClusterFiles, locale: list[str]) -> str:
    """Return what `initdb` complained of, nothing if it succeeded."""
    command: list[str | Path] = [
        files.binaries.initdb,
        f"--pgdata={files.unfinished_data}",
        "--username=postgres",
        f"--pwfile={files.password_file}",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        *locale,
    ]
    done = await run_child(
        files, command, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True
    )
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    errors = [line for line in said if "error:" in line] or said[-1:]
    return errors[0] if errors else f"initdb ended with status {done.returncode}."
