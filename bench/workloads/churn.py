"""Churn: clients come at a steady rate, stay for some seconds and go; how long until each is in, and what remains?"""

from attrs import frozen
from generator import Measured
from peers.catalogue import delivered_text

from workloads.place import Place, costs

SIZE_BYTES = 175


@frozen
class Churn:
    per_s: int = 300
    seconds: float = 60.0
    connections: int = 900
    unit: str = "connection come and gone"

    @property
    def name(self) -> str:
        return f"churn of {self.per_s} connections/s for {self.seconds:g} s"

    def measure(self, place: Place) -> Measured:
        options = {
            "join-reply": '"ok"',
            "connections": self.connections,
            "interval": 1 / self.per_s,
            "measure": self.seconds,
        }
        client = place.peer.shared(delivered_text(SIZE_BYTES))
        with place.server() as server:
            before_kib = server.memory_kib()
            measured = place.generate("churn", [client], options, server)
            grown_kib = server.memory_kib() - before_kib
        return costs(measured, measured["came"]) | {"grown_kib": grown_kib}
