"""Churn: clients come at a steady rate, stay for some seconds and go; how long until each is in, and what remains?"""

import time

from attrs import frozen
from generator import Measured, judge, running_load_generator
from peers.catalogue import delivered_text

from workloads.place import MARGIN_S, Place, costs

SIZE_BYTES = 175
#: Shares of the time: as many are connected as ever will be, and all are still there.
SETTLED_BY, LOOKED_AT = 0.3, 0.95


@frozen
class Churn:
    """`left_behind_bytes` is how much the server grew for each that came, once nothing but coming and going changed."""

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
        with (
            place.server() as server,
            running_load_generator(
                "churn", [client], options, server, place.cores, MARGIN_S + self.seconds
            ) as generator,
        ):
            time.sleep(self.seconds * SETTLED_BY)
            settled_kib = server.memory_kib()
            time.sleep(self.seconds * (LOOKED_AT - SETTLED_BY))
            grown_kib = server.memory_kib() - settled_kib
            measured = generator.result()
        came_meanwhile = measured["came"] * (LOOKED_AT - SETTLED_BY)
        return costs(measured | judge(measured), measured["came"]) | {
            "grown_kib": grown_kib,
            "left_behind_bytes": grown_kib * 1024 / came_meanwhile,
        }
