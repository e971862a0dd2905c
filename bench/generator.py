"""Starts one of the load generators in C against a server, and takes down what it measured.

Called by the workloads; the generators are in `loadgen/workloads/`, one program each.

Invariants:
- The kernel ends the generator when this process ends, however it ends.
- Every wait has a deadline.
"""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from attrs import evolve, field, frozen
from harness import BENCH, RunFailed, RunningServer, compile_c, pinned
from machine import Cores

#: For ending, after its own deadline.
GRACE_S = 10.0
#: Above this share a core counts as busy.
BUSY = 0.90
#: Above this share of its core, the load generator itself is the bottleneck: the rest is interrupts.
EXHAUSTED = 0.85
#: Above this share of a core, other programs disturbed the run: it counts, and the table says so.
DISTURBED = 0.10

Measured = dict[str, Any]


@frozen
class Client:
    """What one connection says: the path of its upgrade, its joins, and what the workload lets it send."""

    path: str
    joins: tuple[str, ...]
    sends: tuple[str, ...] = ()

    def at(self, path: str) -> Self:
        """Return the same client on another path."""
        return evolve(self, path=path)

    def lines(self) -> str:
        """Return the block that `loadgen/clients.h` describes."""
        joins = [f"join {text}" for text in self.joins]
        sends = [f"send {text}" for text in self.sends]
        return "\n".join([f"path {self.path}", *joins, *sends, "", ""])


@frozen
class LoadGenerator:
    """One that runs."""

    _process: subprocess.Popen[str]
    _deadline_s: float
    _printed: list[str] = field(factory=list)

    def wait_joined(self) -> Measured:
        """Wait until it says that all connections have joined.

        Raises:
            RunFailed: they have not.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        return dict(json.loads(line))

    def result(self) -> Measured:
        """Wait for its end and return the JSON object it printed last.

        Raises:
            RunFailed: it found something wrong, or was not done by its deadline.
        """
        try:
            printed, errors = self._process.communicate(timeout=self._deadline_s + GRACE_S)
        except subprocess.TimeoutExpired:
            raise RunFailed("the load generator hangs") from None
        if self._process.returncode != 0:
            raise RunFailed(f"load generator: {errors.strip()}")
        return dict(json.loads(printed.splitlines()[-1]))

    def _fail(self) -> None:
        _, errors = self._process.communicate(timeout=GRACE_S)
        raise RunFailed(f"load generator: {errors.strip()}")


def compile_load_generator(workload: str) -> Path:
    folder = BENCH / "loadgen"
    return compile_c(
        workload, [folder / f"workloads/{workload}.c", *sorted(folder.glob("*.c"))]
    )


@contextlib.contextmanager
def running_load_generator(
    workload: str,
    clients: Iterable[Client],
    options: Mapping[str, object],
    server: RunningServer,
    cores: Cores,
    deadline_s: float,
) -> Iterator[LoadGenerator]:
    """Start the generator `workload` against `server`; `options` become `--name value`."""
    binary = compile_load_generator(workload)
    arguments: list[str] = []
    for name, value in options.items():
        arguments += [f"--{name}", str(value)]
    for process in server.processes():
        arguments += ["--server-process", str(process)]
    arguments += ["--port", str(server.port), "--deadline", str(deadline_s)]
    arguments += ["--server-core", str(cores.server), "--loadgen-core", str(cores.loadgen)]
    with tempfile.NamedTemporaryFile("w", prefix="clients-") as file:
        file.writelines(client.lines() for client in clients)
        file.flush()
        arguments += ["--clients", file.name]
        program = subprocess.Popen(
            [*pinned(cores.loadgen), str(binary), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield LoadGenerator(program, deadline_s)
        finally:
            program.kill()
            program.communicate()


def run_load_generator(
    workload: str,
    clients: Iterable[Client],
    options: Mapping[str, object],
    server: RunningServer,
    cores: Cores,
    deadline_s: float,
) -> Measured:
    """Run the generator to its end and return what it measured, judged.

    Raises:
        RunFailed: it found something wrong, or was not done by its deadline.
    """
    running = running_load_generator(workload, clients, options, server, cores, deadline_s)
    with running as generator:
        measured = generator.result()
    return measured | judge(measured)


def judge(measured: Measured) -> Measured:
    """Say when a run measured something else than the server.

    `void`: the load generator used its core up while the server's was not busy, so the load generator set the pace.
    `foreign`: the larger share of either core that neither server nor load generator used.
    """
    foreign = max(
        measured["server_core_busy"] - measured["server_busy"],
        measured["loadgen_core_busy"] - measured["loadgen_busy"],
        0.0,
    )
    # What is done within a tick of the processor's clock has taken none of it.
    used_s = measured["server_cpu_s"]
    return {
        "kernel_share": min(1.0, measured["server_kernel_s"] / used_s) if used_s else 0.0,
        "void": measured["loadgen_busy"] > EXHAUSTED and measured["server_core_busy"] <= BUSY,
        "foreign": foreign,
        "disturbed": foreign > DISTURBED,
    }
