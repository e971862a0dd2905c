"""A session of runs: what one case does wrong takes nothing from the others, and the end may come at any time."""

from __future__ import annotations

import json
import math
import random
import signal
import sys
from types import SimpleNamespace

import pytest
import run
from attrs import define, field, frozen
from cases import Case, Plan
from harness import RunFailed
from machine import Cores
from run import Servers, Session
from workloads.place import QUICK

MEASURED = {
    "cpu_us": 4.0,
    "void": False,
    "disturbed": False,
    "kernel_share": 0.5,
    "foreign": 0.0,
}


@frozen
class Fake:
    """A workload that measures the same always, or raises."""

    name: str
    error: BaseException | None = None
    unit: str = "thing"
    connections: int = 1

    def measure(self, _place):
        if self.error is not None:
            raise self.error
        return dict(MEASURED)


@define
class StopsAfter:
    """A workload during which somebody presses Ctrl-C, after so many runs."""

    runs: int
    name: str = "interrupted"
    unit: str = "thing"
    connections: int = 1
    done: list[int] = field(factory=list)

    def measure(self, _place):
        if len(self.done) == self.runs:
            raise KeyboardInterrupt
        self.done.append(1)
        return dict(MEASURED)


def plan(*cases, rounds=2) -> Plan:
    return Plan("fake", cases, QUICK, rounds)


def session(of, *, until_s=math.inf) -> Session:
    servers = Servers({"troupe": ("true",)})
    return Session(of, servers, Cores(0, 0), random.Random(1), until_s)


@pytest.mark.parametrize(
    "error", [RunFailed("lost a message"), OSError("gone"), KeyError("kib")]
)
def test_a_case_that_fails_takes_nothing_from_the_others(error):
    cases = (Case(Fake("good"), ("troupe",)), Case(Fake("bad", error), ("troupe",)))

    made = session(plan(*cases))
    made.run_rounds(cases, None)

    assert [one.case for one in made.runs] == ["good", "good"]
    assert made.failures == ["bad, troupe", "bad, troupe"]
    assert made.ended == "complete"


def test_an_interrupted_session_keeps_its_runs():
    case = Case(StopsAfter(runs=3), ("troupe",))

    made = session(plan(case, rounds=5))
    made.run_rounds((case,), None)

    assert (len(made.runs), made.ended) == (3, "interrupted")


def test_nothing_is_started_after_the_time_that_was_given():
    case = Case(Fake("good"), ("troupe",))

    made = session(plan(case), until_s=0.0)
    made.run_rounds((case,), None)

    assert (made.runs, made.ended) == ([], "out of time")


def test_a_case_may_have_rounds_of_its_own():
    cases = (
        Case(Fake("once"), ("troupe",), rounds=1),
        Case(Fake("usual"), ("troupe",)),
        Case(Fake("often"), ("troupe",), rounds=3),
    )

    counts = []
    for rounds in (None, 1):
        made = session(plan(*cases))
        made.run_rounds(cases, rounds)
        counts.append({case.workload.name: 0 for case in cases})
        for one in made.runs:
            counts[-1][one.case] += 1

    assert counts == [
        {"once": 1, "usual": 2, "often": 3},
        {"once": 1, "usual": 1, "often": 1},
    ]


def test_the_file_is_written_though_a_case_failed_and_the_rest_was_interrupted(
    monkeypatch, tmp_path
):
    cases = (
        Case(Fake("bad", RunFailed("lost a message")), ("troupe",)),
        Case(StopsAfter(runs=1), ("troupe",)),
    )
    output = tmp_path / "result.json"
    monkeypatch.setattr(run, "FULL_PLAN", plan(*cases, rounds=9))
    # What draws needs more than the tests have.
    monkeypatch.setitem(sys.modules, "plot", SimpleNamespace(draw=lambda *_: None))
    monkeypatch.setattr(sys, "argv", ["run.py", "--peers", "troupe", "--output", str(output)])

    usual = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            run.main()
    finally:
        signal.signal(signal.SIGTERM, usual)

    result = json.loads(output.read_text())
    assert "bad" in str(ended.value)
    assert (result["ended"], result["failures"][0]) == ("interrupted", "bad, troupe")
