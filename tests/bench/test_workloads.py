"""Every workload runs, small and short, against a server that does what it asks for."""

from __future__ import annotations

import pytest
from peers.catalogue import C_FLOOR, TROUPE
from workloads.churn import Churn
from workloads.fanout import FanOut
from workloads.opening import Idle, Joins, Opening
from workloads.place import Pace, Place
from workloads.presence import PresenceStorm
from workloads.requests import Requests
from workloads.rooms import Rooms

PACE = Pace(warmup_s=0.05, measure_s=0.1)
#: What any server can do.
COMMON = (
    FanOut(subscribers=5),
    FanOut(subscribers=5, outstanding=16, size_bytes=1000),
    FanOut(subscribers=5, interval_s=0.01, slow=1),
    Requests(channels=5),
    Opening(connections=5),
    Idle(connections=5),
    Churn(per_s=100, seconds=0.1, connections=5),
)
TROUPES_OWN = (
    Joins(connections=2, topics_each=3),
    PresenceStorm(clients=30),
    Rooms(users=6, seconds=0.1),
)

pytestmark = pytest.mark.slow


def place(peer, cores) -> Place:
    return Place(peer, tuple(peer.prepare()), cores, PACE)


@pytest.mark.parametrize("workload", COMMON, ids=lambda workload: workload.name)
def test_a_workload_measures_the_c_floor(workload, cores):
    measured = workload.measure(place(C_FLOOR, cores))

    assert measured["kib" if workload.unit == "connection" else "cpu_us"] >= 0


@pytest.mark.parametrize("workload", TROUPES_OWN, ids=lambda workload: workload.name)
def test_a_workload_measures_troupe(workload, cores):
    measured = workload.measure(place(TROUPE, cores))

    assert measured["cpu_us"] > 0
    assert measured.get("delivered", 1.0) == 1.0


def test_rooms_that_are_not_full_are_refused():
    with pytest.raises(ValueError, match="not full"):
        Rooms(users=8)
