"""What is run: each workload with its sizes, and which servers take part in it."""

from attrs import frozen
from peers.catalogue import CATALOGUE
from workloads.churn import Churn
from workloads.database import BroadcastFromSql
from workloads.fanout import FanOut
from workloads.opening import Idle, Joins, Opening
from workloads.place import FULL, QUICK, Pace, Workload
from workloads.presence import PresenceStorm
from workloads.requests import Requests
from workloads.rooms import Rooms

ALL = tuple(CATALOGUE)
TROUPE = ("troupe",)
#: Enough for the curves, that say how a cost grows.
PAIR = ("troupe", "c_floor")

#: What other costs are compared with when there is no C program that does the same.
YARDSTICK = FanOut()


@frozen
class Case:
    workload: Workload
    peers: tuple[str, ...] = ALL


@frozen
class Plan:
    name: str
    cases: tuple[Case, ...]
    pace: Pace
    rounds: int


#: How costs grow: what is measured where on the curve.
CURVES: dict[str, dict[int, Workload]] = {
    "CPU us per delivery, by subscribers": {
        count: FanOut(subscribers=count) for count in (10, 100, 1000, 5000, 10_000)
    },
    "CPU us per inbound message, by channels": {
        count: Requests(channels=count) for count in (10, 100, 200, 1000, 10_000)
    },
    "KiB per connection, by connections": {
        count: Idle(connections=count) for count in (1000, 2500, 5000, 10_000)
    },
}


def _with_curves(*cases: Case) -> tuple[Case, ...]:
    """Add the points of the curves that are not among the cases."""
    names = {case.workload.name for case in cases}
    points = [workload for curve in CURVES.values() for workload in curve.values()]
    return (*cases, *(Case(point, PAIR) for point in points if point.name not in names))


FULL_PLAN = Plan(
    "full",
    _with_curves(
        *(
            Case(FanOut(subscribers=count, outstanding=outstanding))
            for count in (100, 1000, 5000)
            for outstanding in (1, 16)
        ),
        *(Case(FanOut(size_bytes=size)) for size in (1000, 10_000, 50_000)),
        Case(FanOut(outstanding=16, size_bytes=1000)),
        # As many bytes are under way at a time as sockets and outboxes hold without pushing back.
        Case(FanOut(subscribers=100, outstanding=16, size_bytes=10_000)),
        Case(FanOut(subscribers=100, outstanding=16, size_bytes=50_000)),
        Case(FanOut(interval_s=0.1)),
        # Long enough for the slow one to fill its socket and its outbox; the same without it, to compare.
        *(
            Case(FanOut(interval_s=0.05, size_bytes=10_000, slow=slow, measure_s=12.0), TROUPE)
            for slow in (0, 1)
        ),
        Case(Requests()),
        Case(Opening()),
        Case(Joins(), PAIR),
        Case(Idle()),
        Case(PresenceStorm(), TROUPE),
        Case(Rooms(), TROUPE),
        Case(Churn(), TROUPE),
        Case(BroadcastFromSql(), TROUPE),
    ),
    FULL,
    rounds=3,
)
QUICK_PLAN = Plan(
    "quick",
    (
        Case(FanOut()),
        Case(FanOut(outstanding=16)),
        Case(Requests()),
        Case(Opening()),
        Case(Idle(connections=1000), PAIR),
        Case(PresenceStorm(clients=100), TROUPE),
        Case(Rooms(users=300, seconds=2.0), TROUPE),
        Case(Churn(seconds=2.0, connections=300), TROUPE),
    ),
    QUICK,
    rounds=2,
)
