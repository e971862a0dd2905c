"""Runs one server, pinned to its core, and never leaves it behind.

Called by the workloads, knows nothing about what is measured.
A server is any command that serves WebSockets on loopback and prints, on stderr, one JSON line with
`"event": "node.ready"` and its `port`.

Invariants:
- Every child is killed by the kernel when this process ends, however it ends (`setpriv --pdeathsig`).
- Every wait has a deadline.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen
from machine import Cores

BENCH = Path(__file__).parent
REPOSITORY = BENCH.parent
START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 10.0


class RunFailed(Exception):
    """A server or a load generator did not do its part; the text says which and what it printed."""


@frozen
class RunningServer:
    process: int
    port: int

    def processes(self) -> list[int]:
        """Return the server and its descendants: what they use is counted as the server's."""
        found = [self.process]
        for process in found:
            for children in Path(f"/proc/{process}/task").glob("*/children"):
                found.extend(int(child) for child in children.read_text().split())
        return found

    def memory_kib(self) -> int:
        """Return what of it is in memory; of what processes share, each counts its part."""
        return sum(_kib(process, "smaps_rollup", "Pss") for process in self.processes())

    def resident_kib(self) -> int:
        """Return what of it is in memory; what processes share counts for each of them."""
        return sum(_kib(process, "status", "VmRSS") for process in self.processes())

    def highest_kib(self) -> int:
        """Return the most that ever was in memory, counted like `resident_kib`."""
        return sum(_kib(process, "status", "VmHWM") for process in self.processes())


def _kib(process: int, file: str, name: str) -> int:
    for line in Path(f"/proc/{process}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise RunFailed(f"nothing is known of the memory of process {process}")


def compile_c(name: str, sources: Sequence[Path]) -> Path:
    """Compile `sources` into `bench/bin/<name>` unless that is newer than every file beside them."""
    binary = BENCH / "bin" / name
    folders = {source.parent for source in sources}
    inputs = [path for folder in folders for path in folder.glob("*.[ch]")]
    if not binary.exists() or binary.stat().st_mtime < max(
        path.stat().st_mtime for path in inputs
    ):
        binary.parent.mkdir(exist_ok=True)
        warnings = ["-Wall", "-Wextra", "-Werror"]
        # Put in place at once: whoever compiles the same meanwhile runs a whole program.
        fresh = binary.with_name(f"{name}-{os.getpid()}")
        command = ["cc", "-O2", "-std=gnu11", *warnings, "-o", str(fresh), *map(str, sources)]
        subprocess.run(command, check=True, timeout=120)
        fresh.replace(binary)
    return binary


@contextlib.contextmanager
def running_server(command: Sequence[str], cores: Cores) -> Iterator[RunningServer]:
    """Start `command` on the server's core, wait until it is ready, and stop it at the end.

    Raises:
        RunFailed: it ended or was not ready in time.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*pinned(cores.server), *command],
            cwd=REPOSITORY,
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            yield RunningServer(process.pid, _wait_ready(process, log.fileno()))
        finally:
            _stop(process)


def pinned(core: int) -> list[str]:
    """Return what precedes a command so that it runs on `core` and ends with this process."""
    return ["taskset", "--cpu-list", str(core), "setpriv", "--pdeathsig", "KILL"]


def _clean_environment() -> dict[str, str]:
    """Drop settings of the server under test: only its command line decides."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")
    }


def _wait_ready(process: subprocess.Popen[bytes], log: int) -> int:
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        ended = process.poll() is not None
        printed = os.pread(log, 1 << 20, 0).decode(errors="replace")
        for line in printed.splitlines(keepends=True):
            if line.endswith("\n") and '"node.ready"' in line:
                return int(json.loads(line)["port"])
        if ended or time.monotonic() > deadline:
            raise RunFailed(f"the server was not ready; it printed:\n{printed[-2000:]}")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
