"""The demands on Troupe: the gates and aims of a full plan, by workload.

Answered by `gates.py`. Ratios are of processor time, but for latency and memory.
"""

from cases import CURVES, HEALTHY, PACED, WITH_SLOW
from gates import (
    Demand,
    above_highest,
    above_usual,
    figure,
    growth,
    share_of,
    times_as_dear,
)
from workloads.churn import Churn
from workloads.database import BroadcastFromSql
from workloads.fanout import FanOut
from workloads.opening import Idle, Opening
from workloads.place import Workload
from workloads.requests import Requests
from workloads.rooms import Rooms

ONE, SIXTEEN, FAN_IN, CONNECTIONS = FanOut(), FanOut(outstanding=16), Requests(), Opening()
IDLE = Idle()

#: Of a cost that grows with no more than the number of things; less is not told from noise.
LINEAR = 1.25
#: What one outbox may hold, and as much again for what the allocator keeps.
SLOW_KIB = 2048.0
#: Of 300 connections a second, that is two megabytes a minute; what one that is open takes is a hundred times as much.
LEFT_BEHIND_BYTES = 120.0


def _costs(
    what: str,
    workload: Workload,
    peer: str,
    gate: float | None = None,
    aim: float | None = None,
) -> Demand:
    asked = f"{what}: cost of {peer} over Troupe's"
    find = times_as_dear(workload, peer)
    return Demand(asked, (workload,), find, "at least", gate, aim, peer=peer)


def _latency(peer: str, gate: float | None = None, aim: float | None = None) -> list[Demand]:
    return [
        Demand(
            f"latency at 10/s, p{percent}: over that of {peer}",
            (PACED,),
            share_of(PACED, peer, f"latency_p{percent}_us"),
            "at most",
            gate,
            aim,
            peer=peer,
        )
        for percent in (50, 99)
    ]


def _memory(peer: str, aim: float) -> Demand:
    asked = f"memory of an idle connection: over that of {peer}"
    return Demand(asked, (IDLE,), share_of(IDLE, peer), "at most", aim=aim, peer=peer)


def _growth(curve: str, what: str, *, is_against_c: bool = True) -> Demand:
    points = CURVES[curve]
    small, large = points[1000], points[max(points)]
    against = ", over the same in C" if is_against_c else ""
    asked = f"{what}, {max(points)} over 1000{against}"
    find = growth(small, large) if is_against_c else growth(small, large, None)
    return Demand(asked, (small, large), find, "at most", gate=LINEAR)


def _published(what: str, workload: Workload, **limits_ms: float) -> list[Demand]:
    """What Supabase publishes of its cluster, and that nothing is lost."""
    return [
        Demand(
            f"{what}: delivered",
            (workload,),
            figure(workload, "delivered", 100),
            "at least",
            gate=100,
            unit=" %",
            is_worst_judged=True,
        ),
        *(
            Demand(
                f"{what}: {percentile}, Supabase publishes {limit:g} ms",
                (workload,),
                figure(workload, f"latency_{percentile}_us", 0.001),
                "at most",
                aim=limit,
                unit=" ms",
            )
            for percentile, limit in limits_ms.items()
        ),
    ]


def _slow() -> list[Demand]:
    both: tuple[Workload, ...] = (HEALTHY, WITH_SLOW)
    return [
        Demand(
            "p99 beside a slow consumer: over the highest without it",
            both,
            above_highest(WITH_SLOW, HEALTHY, "latency_p99_us"),
            "at most",
            gate=1.0,
        ),
        Demand(
            "memory beside a slow consumer: more than without it",
            both,
            above_usual(WITH_SLOW, HEALTHY, "grown_kib"),
            "at most",
            gate=SLOW_KIB,
            unit=" KiB",
        ),
        Demand(
            "slow consumers that are cut",
            (WITH_SLOW,),
            figure(WITH_SLOW, "slow_cut"),
            "at least",
            gate=WITH_SLOW.slow,
            unit="",
            is_worst_judged=True,
        ),
    ]


def _churn(workload: Churn) -> Demand:
    return Demand(
        f"{workload.name}: left behind by each",
        (workload,),
        figure(workload, "left_behind_bytes"),
        "at most",
        gate=LEFT_BEHIND_BYTES,
        unit=" B",
    )


DEMANDS: tuple[Demand, ...] = (
    _costs("fan-out, one at a time", ONE, "node_ws", gate=1.2, aim=1.4),
    _costs("fan-out, one at a time", ONE, "nchan", gate=1.1, aim=1.25),
    _costs("fan-out, one at a time", ONE, "c_floor", aim=0.70),
    _costs("fan-out, 16 outstanding", SIXTEEN, "node_ws", gate=10, aim=15),
    _costs("fan-out, 16 outstanding", SIXTEEN, "nchan", gate=4, aim=5),
    _costs("fan-out, 16 outstanding", SIXTEEN, "c_floor", aim=7),
    _costs("fan-in with ack", FAN_IN, "node_ws", gate=0.8, aim=1.0),
    _costs("fan-in with ack", FAN_IN, "nchan", aim=0.8),
    _costs("fan-in with ack", FAN_IN, "c_floor", aim=0.45),
    *_latency("node_ws", gate=1.0, aim=0.9),
    *_latency("nchan", aim=0.85),
    *_latency("c_floor", aim=1.3),
    _costs("connections joined to a topic", CONNECTIONS, "node_ws", gate=0.5, aim=0.5),
    Demand(
        "memory of an idle connection joined to a topic",
        (IDLE,),
        figure(IDLE),
        "at most",
        gate=12,
        unit=" KiB",
    ),
    _memory("node_ws", aim=1.5),
    _memory("nchan", aim=1.0),
    _growth("CPU us per delivery, by subscribers", "cost of a delivery"),
    _growth("CPU us per inbound message, by channels", "cost of an inbound message"),
    _growth("KiB per connection, by connections", "memory of a connection", is_against_c=False),
    *_slow(),
    _churn(Churn()),
    *_published("Supabase's broadcast workload", Rooms(), p50=6, p95=28, p99=213),
    *_published("broadcasts from SQL", BroadcastFromSql(), p50=46, p95=132, p99=159),
)
