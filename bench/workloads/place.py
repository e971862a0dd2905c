"""Where a workload is measured: which server, on which cores, and for how long."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from attrs import frozen
from generator import Client, Measured, run_load_generator
from harness import RunFailed, RunningServer, running_server
from machine import Cores
from peers.catalogue import Peer

#: Allowed for one load generator besides warming up and measuring: opening the connections and draining.
MARGIN_S = 120.0


@frozen
class Pace:
    warmup_s: float
    measure_s: float


FULL = Pace(warmup_s=1.0, measure_s=3.0)
QUICK = Pace(warmup_s=0.3, measure_s=0.7)


@frozen
class Place:
    peer: Peer
    command: tuple[str, ...]
    cores: Cores
    pace: Pace

    @contextlib.contextmanager
    def server(self) -> Iterator[RunningServer]:
        """Start the peer afresh."""
        with running_server(self.command, self.cores) as server:
            yield server

    def generate(
        self,
        program: str,
        clients: Iterable[Client],
        options: Mapping[str, object],
        server: RunningServer,
    ) -> Measured:
        """Run a load generator at this pace and return what it measured, judged."""
        paced = {"warmup": self.pace.warmup_s, "measure": self.pace.measure_s, **options}
        deadline_s = self.pace.warmup_s + float(str(paced["measure"])) + MARGIN_S
        return run_load_generator(program, clients, paced, server, self.cores, deadline_s)


class Workload(Protocol):
    """What can be measured of a server.

    `measure` returns, besides what the load generator measured, `cpu_us` per `unit`; or, with the unit `connection`,
    `kib`, the memory of one.
    """

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def connections(self) -> int: ...

    def measure(self, place: Place) -> Measured: ...


def costs(measured: Measured, count: float) -> Measured:
    """Add what one of `count` things cost the server, and how many a second there were.

    Raises:
        RunFailed: there were none.
    """
    if not count:
        raise RunFailed("nothing was counted")
    return measured | {
        "cpu_us": measured["server_cpu_s"] * 1e6 / count,
        "per_s": count / measured["wall_s"],
    }
