"""Opening connections and joining: what does each cost in processor time, and in memory while it is idle?"""

import contextlib
from collections.abc import Iterator

from attrs import frozen
from generator import Client, Measured, judge, running_load_generator
from harness import RunningServer
from peers.catalogue import Peer, delivered_text

from workloads.place import MARGIN_S, Place, costs

#: The least that a text to be delivered needs.
SIZE_BYTES = 175


@contextlib.contextmanager
def opened(
    place: Place, server: RunningServer, clients: list[Client], connections: int
) -> Iterator[Measured]:
    """Hold the connections open, once all have joined; what that took is in the value."""
    options = {
        "join-reply": '"ok"',
        "connections": connections,
        "marker": "nothing that is ever sent",
        "expected": 1,
    }
    with running_load_generator(
        "listen", clients, options, server, place.cores, MARGIN_S
    ) as generator:
        measured = generator.wait_joined()
        yield measured | judge(measured)


def _client(peer: Peer) -> Client:
    return peer.shared(delivered_text(SIZE_BYTES))


@frozen
class Opening:
    """So many connections come as fast as they are taken, and all join one topic."""

    connections: int = 1000
    unit: str = "connection opened"

    @property
    def name(self) -> str:
        return f"{self.connections} connections, each joined to one topic"

    def measure(self, place: Place) -> Measured:
        with (
            place.server() as server,
            opened(place, server, [_client(place.peer)], self.connections) as measured,
        ):
            return costs(measured, self.connections)


@frozen
class Joins:
    """Each connection joins so many topics of its own, one after the other."""

    connections: int = 100
    topics_each: int = 100
    unit: str = "join"

    @property
    def name(self) -> str:
        return f"joins to {self.topics_each} topics on each of {self.connections} connections"

    def measure(self, place: Place) -> Measured:
        clients = [self._client(place.peer, number) for number in range(self.connections)]
        with (
            place.server() as server,
            opened(place, server, clients, self.connections) as measured,
        ):
            return costs(measured, self.connections * self.topics_each)

    def _client(self, peer: Peer, number: int) -> Client:
        first = number * self.topics_each
        owns = [peer.own(first + turn, SIZE_BYTES) for turn in range(self.topics_each)]
        return Client(owns[0].path, tuple(join for own in owns for join in own.joins))


@frozen
class Idle:
    """So many connections have joined one topic, and nothing happens: how much memory has the server for each?"""

    connections: int = 10_000
    unit: str = "connection"

    @property
    def name(self) -> str:
        return f"memory of {self.connections} idle connections"

    def measure(self, place: Place) -> Measured:
        with place.server() as server:
            before_kib = server.memory_kib()
            with opened(place, server, [_client(place.peer)], self.connections) as measured:
                all_kib = server.memory_kib() - before_kib
        return measured | {"kib": all_kib / self.connections, "all_kib": all_kib}
