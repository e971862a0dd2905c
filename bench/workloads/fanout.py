"""Fan-out: one connection publishes, every subscriber receives; what does a delivery cost the server?

Every delivery carries the number of its publish: a lost, repeated or reordered one ends the run without a result.
"""

from attrs import frozen
from generator import Measured
from harness import RunFailed
from peers.catalogue import delivered_text

from workloads.place import Place, costs


@frozen
class FanOut:
    """`outstanding` publishes may be not yet delivered to everybody, and they are `interval_s` apart at least.

    Of the subscribers, `slow` read one byte a second. `measure_s` is instead of the plan's.
    `grown_kib` is how much memory the server had at most beyond what it started with.
    """

    subscribers: int = 1000
    outstanding: int = 1
    size_bytes: int = 175
    interval_s: float = 0.0
    slow: int = 0
    measure_s: float | None = None
    unit: str = "delivery"

    @property
    def name(self) -> str:
        pace = (
            f"{1 / self.interval_s:g}/s"
            if self.interval_s
            else f"{self.outstanding} outstanding"
        )
        slow = f", {self.slow} slow" if self.slow else ""
        return f"fan-out to {self.subscribers}, {pace}, {self.size_bytes} B{slow}"

    @property
    def connections(self) -> int:
        return self.subscribers

    def measure(self, place: Place) -> Measured:
        options = {
            "join-reply": '"ok"',
            "connections": self.subscribers,
            "outstanding": self.outstanding,
            "interval": self.interval_s,
            "slow": self.slow,
        }
        if self.measure_s is not None:
            options["measure"] = self.measure_s
        client = place.peer.shared(delivered_text(self.size_bytes))
        with place.server() as server:
            before_kib = server.resident_kib()
            measured = place.generate("fanout", [client], options, server)
            grown_kib = server.highest_kib() - before_kib
        if measured["delivered_bytes"] != measured["deliveries"] * self.size_bytes:
            raise RunFailed(f"{place.peer.name} does not deliver what was published")
        return costs(measured, measured["deliveries"]) | {"grown_kib": grown_kib}
