"""What is asked of Troupe, and whether the runs show it.

A gate has to be reached, an aim is where it is to go. Most are ratios to another server within a round, where the
machine was the same; the median over the rounds is judged, or the worst round where one is one too many.
Void runs have no part in it. The demands themselves are in `demands.py`.
Called by `run.py` for the table and the file, and by `page.py` for the documentation.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

import report
from attrs import frozen
from report import REFERENCE, Run, Spread
from workloads.place import Workload

SUBJECT = "troupe"

Bound = Literal["at least", "at most"]
Verdict = Literal["reached", "missed", "not measured", ""]


@frozen
class Evidence:
    """The runs; those that are void do not count."""

    runs: Sequence[Run]

    def by_round(
        self, workload: Workload, peer: str = SUBJECT, quantity: str = "cost"
    ) -> dict[int, float]:
        """Return what each round found of a server; empty if none did."""
        return {
            run.round_number: run.cost if quantity == "cost" else float(run.measured[quantity])
            for run in self.runs
            if (run.case, run.peer, run.is_void) == (workload.name, peer, False)
        }


Find = Callable[[Evidence], Iterable[float]]


@frozen
class Demand:
    """`find` makes the figure of each round; `workloads` must have run for it, with `peer` beside Troupe."""

    asked: str
    workloads: tuple[Workload, ...]
    find: Find
    bound: Bound
    gate: float | None = None
    aim: float | None = None
    unit: str = "x"
    peer: str | None = None
    is_worst_judged: bool = False


@frozen
class Answer:
    """A demand, the figures of the rounds, and what they say of it."""

    asked: str
    bound: Bound
    unit: str
    found: Spread | None
    gate: float | None
    gate_verdict: Verdict
    aim: float | None
    aim_verdict: Verdict
    remark: str


def times_as_dear(workload: Workload, peer: str, quantity: str = "cost") -> Find:
    """The other server's figure over Troupe's: above one, Troupe is the better."""

    def find(evidence: Evidence) -> list[float]:
        return _quotients(
            evidence.by_round(workload, peer, quantity),
            evidence.by_round(workload, quantity=quantity),
        )

    return find


def share_of(workload: Workload, peer: str, quantity: str = "cost") -> Find:
    """Troupe's figure over the other server's: below one, Troupe is the better."""

    def find(evidence: Evidence) -> list[float]:
        return _quotients(
            evidence.by_round(workload, quantity=quantity),
            evidence.by_round(workload, peer, quantity),
        )

    return find


def figure(workload: Workload, quantity: str = "cost", factor: float = 1.0) -> Find:
    """Troupe's figure itself, times `factor`."""

    def find(evidence: Evidence) -> list[float]:
        return [factor * one for one in evidence.by_round(workload, quantity=quantity).values()]

    return find


def growth(small: Workload, large: Workload, reference: str | None = REFERENCE) -> Find:
    """What one costs among many over what it costs among fewer; over the same of `reference`, if there is one.

    The kernel and the processor's caches make a socket dearer among many others; the reference shows by how much.
    """

    def of(evidence: Evidence, peer: str) -> dict[int, float]:
        at_last, at_first = (evidence.by_round(workload, peer) for workload in (large, small))
        return {
            number: at_last[number] / at_first[number] for number in at_last.keys() & at_first
        }

    def find(evidence: Evidence) -> list[float]:
        own = of(evidence, SUBJECT)
        return (
            list(own.values())
            if reference is None
            else _quotients(own, of(evidence, reference))
        )

    return find


def above_highest(workload: Workload, usual: Workload, quantity: str) -> Find:
    """A figure over the highest that the usual workload had: up to one it is within the spread of that."""

    def find(evidence: Evidence) -> list[float]:
        highest = max(evidence.by_round(usual, quantity=quantity).values(), default=None)
        found = evidence.by_round(workload, quantity=quantity).values()
        return [one / highest for one in found] if highest else []

    return find


def above_usual(workload: Workload, usual: Workload, quantity: str) -> Find:
    """A figure less the median that the usual workload had."""

    def find(evidence: Evidence) -> list[float]:
        known = evidence.by_round(usual, quantity=quantity).values()
        found = evidence.by_round(workload, quantity=quantity).values()
        return [one - statistics.median(known) for one in found] if known else []

    return find


def answers(
    demands: Iterable[Demand], names: AbstractSet[str], runs: Sequence[Run]
) -> list[Answer]:
    """Answer each demand whose workloads have these names; one that nothing was found for is not measured."""
    return [
        _answer(demand, runs)
        for demand in demands
        if names >= {workload.name for workload in demand.workloads}
    ]


def _answer(demand: Demand, runs: Sequence[Run]) -> Answer:
    found = report.spread(demand.find(Evidence(runs)))
    return Answer(
        demand.asked,
        demand.bound,
        demand.unit,
        found,
        demand.gate,
        _verdict(demand, found, demand.gate),
        demand.aim,
        _verdict(demand, found, demand.aim),
        _remark(demand, runs),
    )


def _verdict(demand: Demand, found: Spread | None, limit: float | None) -> Verdict:
    if limit is None:
        return ""
    if found is None:
        return "not measured"
    worst = "min" if demand.bound == "at least" else "max"
    judged = found[worst if demand.is_worst_judged else "median"]
    is_reached = judged >= limit if demand.bound == "at least" else judged <= limit
    return "reached" if is_reached else "missed"


def _remark(demand: Demand, runs: Sequence[Run]) -> str:
    """Say so if the other server is far from the ratio to the C program that it is known with."""
    if demand.peer is None:
        return ""
    own = [run for run in runs if run.case == demand.workloads[0].name]
    peers, references = (
        [run for run in own if run.peer == one] for one in (demand.peer, REFERENCE)
    )
    valid = [run for run in peers if not run.is_void]
    said = report.remark(
        demand.workloads[0].name, demand.peer, report.ratios(valid, references)
    )
    return f"{demand.peer} is {said}" if said.startswith("OFF") else ""


def _quotients(above: dict[int, float], below: dict[int, float]) -> list[float]:
    return [above[number] / below[number] for number in above if below.get(number)]


def table(found: Sequence[Answer]) -> str:
    """Return a line for each demand, and at the end how many gates were not reached."""
    lines = ["", f"{'asked':64}{'found':>28}  {'gate':24}aim"]
    for answer in found:
        gate, aim = said(answer, "gate"), said(answer, "aim")
        lines.append(
            f"{answer.asked:64}{found_text(answer):>28}  {gate:24}{aim}  {answer.remark}".rstrip()
        )
    missed = sum(answer.gate_verdict in {"missed", "not measured"} for answer in found)
    asked = sum(answer.gate is not None for answer in found)
    lines.append(f"{asked - missed} of {asked} gates reached")
    return "\n".join(lines)


def found_text(answer: Answer) -> str:
    found, unit = answer.found, answer.unit
    if found is None:
        return "nothing"
    return f"{found['median']:.2f}{unit} ({found['min']:.2f} to {found['max']:.2f})"


def said(answer: Answer, kind: Literal["gate", "aim"]) -> str:
    """Return the limit and the verdict, in capitals where it is not a good one."""
    limit, verdict = (
        (answer.gate, answer.gate_verdict)
        if kind == "gate"
        else (answer.aim, answer.aim_verdict)
    )
    if limit is None:
        return ""
    sign = "≥" if answer.bound == "at least" else "≤"
    return (
        f"{sign} {limit:g}{answer.unit} {verdict if verdict == 'reached' else verdict.upper()}"
    )
