"""A child process that says JSON lines, and waiting for the line a test needs."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Mapping

Report = dict[str, Any]

PATIENCE_S = 60.0
STOPPING_S = 15.0


@define
class Reports:
    """What a process has said so far, read by a thread of its own so that the process never waits for us.

    A line that is not a JSON object is kept as the report `line` with its `text`.
    """

    _stream: IO[str]
    _arrived: queue.SimpleQueue[Report | None] = field(factory=queue.SimpleQueue, init=False)
    _kept: list[Report] = field(factory=list, init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def expect(self, event: str, within_s: float = PATIENCE_S, **fields: object) -> Report:
        """Return and remove the oldest report of `event` in which every one of `fields` has the given value.

        Reports before it that do not match stay for later calls.
        """
        wanted = {"event": event, **fields}
        for index, report in enumerate(self._kept):
            if _matches(report, wanted):
                return self._kept.pop(index)
        deadline = time.monotonic() + within_s
        while (report := self._next(deadline)) is not None:
            if _matches(report, wanted):
                return report
            self._kept.append(report)
        raise AssertionError(f"no report {wanted}; there was only: {self._kept}")

    def passed_over(self, event: str, **fields: object) -> list[Report]:
        """Return the matching reports that arrived before what was expected so far, and were not expected."""
        return [report for report in self._kept if _matches(report, {"event": event, **fields})]

    def close(self) -> None:
        """Wait for the end of the stream, which comes when the process has ended."""
        self._thread.join(STOPPING_S)
        self._stream.close()

    def _next(self, deadline: float) -> Report | None:
        try:
            return self._arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None

    def _read(self) -> None:
        for line in self._stream:
            try:
                report = json.loads(line)
            except ValueError:
                report = None
            if not isinstance(report, dict):
                report = {"event": "line", "text": line.rstrip("\n")}
            self._arrived.put(report)
        self._arrived.put(None)


def _matches(report: Report, wanted: Report) -> bool:
    return all(name in report and report[name] == value for name, value in wanted.items())


def start(
    command: list[str], *, cwd: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process whose stdin, stdout and stderr are pipes of text."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1, cwd=cwd, env=env
    )


def end(process: subprocess.Popen[str]) -> int:
    """Wait for a process that was asked to end; kill it and complain if it does not."""
    try:
        return process.wait(STOPPING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
