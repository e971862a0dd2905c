"""What is asked of Troupe: whether the runs show it, and that a demand that is missed is said to be."""

from __future__ import annotations

import gates
import pytest
from cases import FULL_PLAN, HEALTHY, QUICK_PLAN, WITH_SLOW
from demands import CONNECTIONS, DEMANDS, FAN_IN, IDLE, ONE, SIXTEEN
from gates import Demand
from known import KNOWN
from report import Run
from workloads.fanout import FanOut

DEMAND = Demand(
    "a fan-out",
    (ONE,),
    gates.times_as_dear(ONE, "node_ws"),
    "at least",
    1.2,
    1.4,
    peer="node_ws",
)


def run(workload, peer, cost, round_number=0, *, void=False, **more) -> Run:
    return Run(workload.name, peer, round_number, {"cpu_us": cost, "void": void, **more})


def names(plan) -> set[str]:
    return {case.workload.name for case in plan.cases}


def answer(demand, *runs):
    (found,) = gates.answers([demand], names(FULL_PLAN), runs)
    return found


@pytest.mark.parametrize(
    ("node", "gate", "aim"),
    [(1.5, "reached", "reached"), (1.3, "reached", "missed"), (1.1, "missed", "missed")],
)
def test_a_gate_and_an_aim_are_judged_by_the_ratio_within_rounds(node, gate, aim):
    runs = [
        *(run(ONE, "troupe", cost, number) for number, cost in enumerate((4.0, 8.0))),
        *(run(ONE, "node_ws", cost * node, number) for number, cost in enumerate((4.0, 8.0))),
    ]

    found = answer(DEMAND, *runs)

    assert found.found == {"median": node, "min": node, "max": node}
    assert (found.gate_verdict, found.aim_verdict) == (gate, aim)


def test_a_gate_that_is_missed_is_said_so_and_counted():
    missed = answer(DEMAND, run(ONE, "troupe", 4), run(ONE, "node_ws", 4))

    text = gates.table([missed])

    assert "≥ 1.2x MISSED" in text
    assert text.endswith("0 of 1 gates reached")


def test_what_no_valid_run_has_shown_is_not_measured():
    found = answer(DEMAND, run(ONE, "troupe", 4), run(ONE, "node_ws", 9, void=True))

    assert found.gate_verdict == "not measured"
    assert gates.table([found]).endswith("0 of 1 gates reached")


def test_a_demand_on_what_is_not_in_the_plan_is_not_answered():
    demand = Demand("crowds", (FanOut(subscribers=7),), lambda _: [], "at least", 1.0)

    assert gates.answers([DEMAND, demand], {ONE.name}, []) == gates.answers(
        [DEMAND], {ONE.name}, []
    )


def test_a_peer_far_from_its_known_ratio_is_said_beside_the_answer():
    known = KNOWN[ONE.name, "node_ws"]
    floor = run(ONE, "c_floor", 1.0)

    usual, odd = (
        answer(DEMAND, run(ONE, "troupe", 1), floor, run(ONE, "node_ws", known * factor))
        for factor in (1.0, 2.0)
    )

    assert usual.remark == ""
    assert odd.remark.startswith("node_ws is OFF")


def test_a_ratio_that_may_be_at_most_so_much_is_judged_from_above():
    find = gates.share_of(ONE, "node_ws", "latency_p99_us")
    demand = Demand("latency", (ONE,), find, "at most", 1.0, 0.9)

    found = answer(
        demand,
        run(ONE, "troupe", 1, latency_p99_us=95),
        run(ONE, "node_ws", 1, latency_p99_us=100),
    )

    assert (found.gate_verdict, found.aim_verdict) == ("reached", "missed")


def test_the_worst_round_counts_where_one_is_one_too_many():
    demand = Demand(
        "cut", (ONE,), gates.figure(ONE, "cut"), "at least", 1, is_worst_judged=True
    )

    found = answer(
        demand, *(run(ONE, "troupe", 1, number, cut=number > 0) for number in range(3))
    )

    assert found.gate_verdict == "missed"


@pytest.mark.parametrize(("dearest", "verdict"), [(2.4, "reached"), (2.6, "missed")])
def test_a_cost_may_grow_as_it_does_in_c(dearest, verdict):
    large = FanOut(subscribers=10_000)
    demand = Demand("growth", (ONE, large), gates.growth(ONE, large), "at most", 1.25)

    found = answer(
        demand,
        run(ONE, "troupe", 1.0),
        run(large, "troupe", dearest),
        run(ONE, "c_floor", 1.0),
        run(large, "c_floor", 2.0),
    )

    assert found.gate_verdict == verdict


def test_a_growth_without_a_reference_is_the_factor_itself():
    large = FanOut(subscribers=10_000)
    demand = Demand("growth", (ONE, large), gates.growth(ONE, large, None), "at most", 1.25)

    found = answer(demand, run(ONE, "troupe", 1.0), run(large, "troupe", 1.5))

    assert found.found == {"median": 1.5, "min": 1.5, "max": 1.5}


@pytest.mark.parametrize(
    ("beside", "verdict"), [((9, 11, 30), "reached"), ((9, 13, 30), "missed")]
)
def test_the_latency_beside_a_slow_one_is_within_the_spread_of_that_without(beside, verdict):
    (demand,) = [one for one in DEMANDS if one.asked.startswith("p99 beside a slow")]
    runs = [
        *(
            run(HEALTHY, "troupe", 1, number, latency_p99_us=us)
            for number, us in enumerate((8, 12, 9))
        ),
        *(
            run(WITH_SLOW, "troupe", 1, number, latency_p99_us=us)
            for number, us in enumerate(beside)
        ),
    ]

    assert answer(demand, *runs).gate_verdict == verdict


@pytest.mark.parametrize(("grown", "verdict"), [(9000, "reached"), (90_000, "missed")])
def test_memory_beside_a_slow_one_is_bounded(grown, verdict):
    (demand,) = [one for one in DEMANDS if one.asked.startswith("memory beside a slow")]

    found = answer(
        demand,
        run(HEALTHY, "troupe", 1, grown_kib=8500),
        run(WITH_SLOW, "troupe", 1, grown_kib=grown),
    )

    assert found.gate_verdict == verdict


def test_the_full_plan_answers_every_demand():
    peers = {case.workload.name: case.peers for case in FULL_PLAN.cases}

    assert len(gates.answers(DEMANDS, names(FULL_PLAN), [])) == len(DEMANDS)
    for demand in DEMANDS:
        for workload in demand.workloads:
            assert {"troupe", demand.peer or "troupe"} <= set(peers[workload.name])


def test_the_quick_plan_answers_the_main_demands():
    asked = {one.asked for one in gates.answers(DEMANDS, names(QUICK_PLAN), [])}
    main = [
        one.asked for one in DEMANDS if one.workloads[0] in {ONE, SIXTEEN, FAN_IN, CONNECTIONS}
    ]

    assert set(main) >= asked
    assert asked


def test_the_gates_are_those_that_were_asked_for():
    asked = {(one.asked, one.bound, one.gate) for one in DEMANDS if one.gate is not None}

    assert asked >= {
        ("fan-out, one at a time: cost of node_ws over Troupe's", "at least", 1.2),
        ("fan-out, one at a time: cost of nchan over Troupe's", "at least", 1.1),
        ("fan-out, 16 outstanding: cost of node_ws over Troupe's", "at least", 10),
        ("fan-out, 16 outstanding: cost of nchan over Troupe's", "at least", 4),
        ("fan-in with ack: cost of node_ws over Troupe's", "at least", 0.8),
        ("latency at 10/s, p50: over that of node_ws", "at most", 1.0),
        ("latency at 10/s, p99: over that of node_ws", "at most", 1.0),
        ("connections joined to a topic: cost of node_ws over Troupe's", "at least", 0.5),
        ("memory of an idle connection joined to a topic", "at most", 12),
    }
    assert IDLE.connections == 10_000
