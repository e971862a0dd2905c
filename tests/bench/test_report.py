"""What runs are made into: spreads, ratios within a round, and a comparison with the baseline."""

from __future__ import annotations

import json

import baseline
import pytest
import report
from cases import FULL_PLAN, QUICK_PLAN, YARDSTICK, Case
from harness import BENCH
from known import KNOWN
from page import PAGE, SECTION, figures
from peers.catalogue import delivered_text, phoenix_own
from report import Run
from workloads.fanout import FanOut
from workloads.opening import Idle
from workloads.presence import PresenceStorm

CASE = Case(FanOut())
STORM = Case(PresenceStorm(), ("troupe",))


def run(peer, round_number, cpu_us, *, void=False, case=CASE) -> Run:
    measured = {
        "cpu_us": cpu_us,
        "void": void,
        "disturbed": False,
        "kernel_share": 0.5,
        "foreign": 0.0,
    }
    return Run(case.workload.name, peer, round_number, measured)


def test_a_ratio_compares_what_ran_in_the_same_round():
    runs = [
        run("troupe", 0, 8),
        run("c_floor", 0, 4),
        run("troupe", 1, 30),
        run("c_floor", 1, 10),
    ]

    ratio = report.summarise(CASE, runs)["troupe"]["ratio"]

    assert ratio == {"median": 2.5, "min": 2.0, "max": 3.0}


def test_void_runs_are_counted_and_have_no_part_in_a_summary():
    runs = [run("troupe", 0, 8), run("troupe", 1, 99, void=True), run("c_floor", 0, 4)]

    summary = report.summarise(CASE, runs)["troupe"]

    assert (summary["runs"], summary["void"], summary["cost"]["max"]) == (2, 1, 8)


def test_a_peer_that_is_far_from_its_known_ratio_is_marked():
    known = KNOWN[CASE.workload.name, "node_ws"]

    remarks = [
        report.summarise(CASE, [run("node_ws", 0, factor * known), run("c_floor", 0, 1)])[
            "node_ws"
        ]["remark"]
        for factor in (1.2, 1.3, 0.7)
    ]

    assert [remark.startswith("OFF") for remark in remarks] == [False, True, True]


def test_the_page_says_what_is_asked_what_it_costs_and_who_is_odd():
    runs = [
        *(run("troupe", number, 4) for number in range(2)),
        *(run("c_floor", number, 3) for number in range(2)),
        *(run("node_ws", number, 12) for number in range(2)),
    ]
    result = {
        "machine": {"cores": 2, "cpu": "a processor", "kernel": "6"},
        "note": "",
        "date": "2026-11-21",
        "rounds": 2,
        "servers": {"troupe": {}, "c_floor": {}, "node_ws": {}},
        "summary": {CASE.workload.name: report.summarise(CASE, runs)},
        "runs": [one.as_json() for one in runs],
    }

    text = figures(result, "2026-11-21-bench.json")

    assert "node_ws over Troupe's | 3.00x (3.00 to 3.00) | ≥ 1.2x reached |" in text
    assert "nchan over Troupe's | nothing | ≥ 1.1x NOT MEASURED |" in text
    assert f"| {CASE.workload.name} | 4.00 us | 1.33x (1.33 to 1.33) | 4.00x |" in text
    assert f"- {CASE.workload.name}: node_ws at 4.00, known as 2.08" in text


def test_a_table_has_a_row_for_each_server_that_ran():
    runs = [run("troupe", 0, 8), run("c_floor", 0, 4)]
    summary = {CASE.workload.name: report.summarise(CASE, runs)}

    text = report.table([CASE], summary)

    assert "2.00x (2.00 to 2.00)" in text
    assert "node_ws" not in text


def test_a_relative_cost_is_taken_from_the_cheapest_rounds():
    runs = [
        run("troupe", 0, 9),
        run("troupe", 1, 8),
        run("c_floor", 0, 5),
        run("c_floor", 1, 4),
    ]

    assert baseline.relative_costs([CASE], runs) == {CASE.workload.name: 2.0}


def test_what_has_no_program_in_c_is_compared_with_its_delivery():
    runs = [run("troupe", 0, 6, case=STORM), run("c_floor", 0, 4)]

    assert baseline.relative_costs([CASE, STORM], runs) == {STORM.workload.name: 1.5}


def test_memory_is_compared_as_it_is():
    case = Case(Idle(connections=10))
    idle = Run(case.workload.name, "troupe", 0, {"kib": 12.0, "void": False})

    assert baseline.relative_costs([case], [idle]) == {case.workload.name: 12.0}


@pytest.mark.parametrize(("cost", "is_dearer"), [(1.0, False), (1.24, False), (1.26, True)])
def test_what_costs_a_quarter_more_than_the_baseline_is_dearer(cost, is_dearer):
    assert bool(baseline.dearer({"a": cost}, {"a": 1.0})) is is_dearer


def test_the_baseline_has_every_case_of_the_quick_plan():
    assert set(baseline.read()) == {case.workload.name for case in QUICK_PLAN.cases}


@pytest.mark.parametrize("plan", [FULL_PLAN, QUICK_PLAN], ids=lambda plan: plan.name)
def test_a_plan_has_no_case_twice_and_the_yardstick(plan):
    names = [case.workload.name for case in plan.cases]

    assert len(names) == len(set(names))
    assert YARDSTICK.name in names


@pytest.mark.parametrize("size", [175, 1000, 50_000])
def test_a_delivery_has_the_size_that_is_asked_for(size):
    assert len(delivered_text(size)) == size
    assert len(phoenix_own("realtime:own-1", size)) == size


def test_the_page_has_the_figures_of_the_file_it_names():
    section = SECTION.search(PAGE.read_text())
    name = section["file"]

    assert section[0] == figures(json.loads((BENCH / "results" / name).read_text()), name)
