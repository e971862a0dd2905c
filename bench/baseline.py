"""The relative costs that a change must not raise: kept in `baseline.json`, compared by `run.py --compare`.

A relative cost is Troupe's processor time over that of the C program in the same case, or over that of the C
program's delivery where it has no such case; memory is what it is, in KiB.
The lowest of the rounds counts: a disturbance makes things dearer, never cheaper.
"""

import json
from collections.abc import Sequence
from typing import Any

from cases import YARDSTICK, Case
from harness import BENCH
from report import REFERENCE, Run

FILE = BENCH / "baseline.json"
SUBJECT = "troupe"
#: How much dearer something may be than the baseline says.
ALLOWED = 0.25


def relative_costs(cases: Sequence[Case], runs: Sequence[Run]) -> dict[str, float]:
    """Return the relative cost of each case that could be measured."""
    found = {}
    for case in cases:
        name = case.workload.name
        cost = _lowest(runs, name, SUBJECT)
        if case.workload.unit == "connection":
            reference: float | None = 1.0
        else:
            has_floor = REFERENCE in case.peers
            reference = _lowest(runs, name if has_floor else YARDSTICK.name, REFERENCE)
        if cost is not None and reference:
            found[name] = round(cost / reference, 4)
    return found


def read() -> dict[str, float]:
    return dict(json.loads(FILE.read_text()))


def write(found: dict[str, float]) -> None:
    FILE.write_text(json.dumps(found, indent=1) + "\n")


def dearer(found: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """Return the cases that cost more than is allowed."""
    return [
        name
        for name, cost in found.items()
        if name in baseline and cost > baseline[name] * (1 + ALLOWED)
    ]


def table(found: dict[str, float], baseline: dict[str, float]) -> str:
    lines = ["", f"{'relative cost':58}{'now':>10}{'baseline':>10}{'change':>9}"]
    for name, cost in found.items():
        known: Any = baseline.get(name)
        if known is None:
            lines.append(f"{name:58}{cost:10.3f}{'none':>10}")
            continue
        change = cost / known - 1
        verdict = "" if change <= ALLOWED else f"  DEARER by more than {ALLOWED:.0%}"
        lines.append(f"{name:58}{cost:10.3f}{known:10.3f}{change:9.0%}{verdict}")
    return "\n".join(lines)


def _lowest(runs: Sequence[Run], case: str, peer: str) -> float | None:
    costs = [
        run.cost for run in runs if (run.case, run.peer, run.is_void) == (case, peer, False)
    ]
    return min(costs, default=None)
