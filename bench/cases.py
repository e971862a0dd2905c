"""What is run: each workload with its sizes, and which servers take part in it."""

from attrs import evolve, frozen
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
#: Enough for sizes and numbers beside the main ones; the others take long to open thousands of connections.
QUARTET = ("troupe", "c_floor", "node_ws", "nchan")

#: What other costs are compared with when there is no C program that does the same.
YARDSTICK = FanOut()

#: What a slow consumer must not disturb: long enough for it to fill its socket and its outbox.
HEALTHY = FanOut(interval_s=0.05, size_bytes=10_000, measure_s=12.0)
WITH_SLOW = evolve(HEALTHY, slow=1)
#: Messages at a rate that no server has trouble with: here latency says something.
PACED = FanOut(interval_s=0.1)


@frozen
class Case:
    """`rounds` is instead of the plan's."""

    workload: Workload
    peers: tuple[str, ...] = ALL
    rounds: int | None = None


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
            Case(
                FanOut(subscribers=count, outstanding=outstanding),
                ALL if count == YARDSTICK.subscribers else QUARTET,
            )
            for count in (100, 1000, 5000)
            for outstanding in (1, 16)
        ),
        *(Case(FanOut(size_bytes=size), QUARTET) for size in (1000, 10_000, 50_000)),
        Case(FanOut(outstanding=16, size_bytes=1000), QUARTET),
        # As many bytes are under way at a time as sockets and outboxes hold without pushing back.
        Case(FanOut(subscribers=100, outstanding=16, size_bytes=10_000), QUARTET),
        Case(FanOut(subscribers=100, outstanding=16, size_bytes=50_000), QUARTET),
        Case(PACED),
        # More rounds: the spread of one is compared with the spread of the other.
        *(Case(workload, TROUPE, rounds=5) for workload in (HEALTHY, WITH_SLOW)),
        Case(Requests()),
        Case(Opening()),
        Case(Joins(), PAIR),
        Case(Idle()),
        Case(PresenceStorm(), TROUPE),
        Case(Rooms(), TROUPE),
        # A minute is enough of a sample.
        Case(Churn(), TROUPE, rounds=1),
        Case(BroadcastFromSql(), TROUPE),
    ),
    FULL,
    rounds=3,
)
QUICK_PLAN = Plan(
    "quick",
    (
        Case(FanOut(), QUARTET),
        Case(FanOut(outstanding=16), QUARTET),
        Case(Requests(), QUARTET),
        Case(Opening(), QUARTET),
        Case(Idle(connections=1000), PAIR),
        Case(PresenceStorm(clients=100), TROUPE),
        Case(Rooms(users=300, seconds=2.0), TROUPE),
        Case(Churn(seconds=2.0, connections=300), TROUPE),
    ),
    QUICK,
    rounds=2,
)
