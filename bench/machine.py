"""The machine a benchmark runs on: its cores, its limits, and a description that names no host and no path."""

import os
import platform
import resource
import subprocess
from pathlib import Path

from attrs import frozen

# Descriptors a server needs besides its connections: listeners, epolls, libraries, logs.
SPARE_DESCRIPTORS = 200


@frozen
class Cores:
    """One core for the server, another for the load generator, so that neither waits for the other."""

    server: int
    loadgen: int


def choose_cores() -> Cores:
    """Take the first two cores this process may use.

    Raises:
        SystemExit: there is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit(
            "a benchmark needs two cores: one for the server, one for the load generator"
        )
    return Cores(server=allowed[0], loadgen=allowed[1])


def raise_descriptor_limit(connections: int) -> None:
    """Let this process and its children open `connections` sockets each.

    Raises:
        SystemExit: the hard limit is lower and may not be raised.
    """
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
    except (ValueError, PermissionError):
        raise SystemExit(
            f"{connections} subscribers need {needed} open files, the hard limit is {hard}; "
            "raise it (ulimit -Hn) or use --subscribers"
        ) from None


def describe() -> dict[str, object]:
    cpu = _fields("/proc/cpuinfo")
    memory = _fields("/proc/meminfo")
    return {
        "cpu": cpu.get("model name", platform.machine()),
        "cores": os.cpu_count(),
        "memory_mib": int(memory["MemTotal"].split()[0]) // 1024,
        "kernel": platform.release(),
        "virtual": "hypervisor" in cpu.get("flags", "").split(),
        "compiler": first_line("cc", "--version"),
    }


def first_line(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return finished.stdout.splitlines()[0]


def _fields(path: str) -> dict[str, str]:
    """Read a `name : value` file; of repeated names (one per core) the first counts."""
    fields: dict[str, str] = {}
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields
