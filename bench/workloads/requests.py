"""Fan-in: many connections publish, each to topics of its own, and wait for the acknowledgement.

What does an inbound message cost, and does that depend on how many channels there are?
A peer without acknowledgements sends the message back.
"""

from attrs import frozen
from generator import Client, Measured
from peers.catalogue import Peer

from workloads.place import Place, costs

#: More connections than these have several channels each.
MOST_CONNECTIONS = 200


@frozen
class Requests:
    channels: int = 200
    size_bytes: int = 174
    unit: str = "message"

    @property
    def name(self) -> str:
        return f"fan-in with ack on {self.channels} channels, {self.size_bytes} B"

    @property
    def connections(self) -> int:
        return min(self.channels, MOST_CONNECTIONS)

    def measure(self, place: Place) -> Measured:
        options = {"join-reply": '"ok"', "connections": self.connections, "marker": '"ok"'}
        clients = [self._client(place.peer, number) for number in range(self.connections)]
        with place.server() as server:
            measured = place.generate("requests", clients, options, server)
        return costs(measured, measured["answers"])

    def _client(self, peer: Peer, number: int) -> Client:
        each = self.channels // self.connections
        owns = [peer.own(number * each + turn, self.size_bytes) for turn in range(each)]
        return Client(
            owns[0].path,
            tuple(join for own in owns for join in own.joins),
            tuple(text for own in owns for text in own.sends),
        )
