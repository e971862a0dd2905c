"""Summaries of runs: medians, spread, and ratios to the C program that does the same.

A ratio compares two servers within one round, where the machine was the same; the median of these ratios is what
may be quoted, and its range says how far to trust it.
Void runs are counted and otherwise ignored.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen
from cases import Case
from generator import Measured
from known import EXPLAINED, KNOWN, TOLERANCE

REFERENCE = "c_floor"

Spread = dict[str, float]

HEADINGS = (
    f"  {'':19}{'CPU us or KiB':>24}{'kernel':>8}{'per s':>10}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
    f"{'void':>6}{'disturbed':>11}   against the C floor"
)


@frozen
class Run:
    """One run of one case, of one server, in one round."""

    case: str
    peer: str
    round_number: int
    measured: Measured

    @property
    def cost(self) -> float:
        """Return the memory or the processor time of one unit."""
        return float(self.measured["kib" if "kib" in self.measured else "cpu_us"])

    @property
    def is_void(self) -> bool:
        return bool(self.measured["void"])

    def as_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "peer": self.peer,
            "round": self.round_number,
            **self.measured,
        }


def spread(values: Iterable[float]) -> Spread | None:
    """Return the median and what it lies between; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return {
        "median": round(statistics.median(ordered), 4),
        "min": round(ordered[0], 4),
        "max": round(ordered[-1], 4),
    }


def summarise(case: Case, runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the runs of a case say about each server that took part."""
    own = [run for run in runs if run.case == case.workload.name]
    ran = {run.peer for run in own}
    return {peer: _summarise_peer(case, peer, own) for peer in case.peers if peer in ran}


def _summarise_peer(case: Case, peer: str, runs: Sequence[Run]) -> dict[str, Any]:
    all_of_it = [run for run in runs if run.peer == peer]
    valid = [run for run in all_of_it if not run.is_void]
    summary: dict[str, Any] = {
        "runs": len(all_of_it),
        "void": len(all_of_it) - len(valid),
        "disturbed": sum(bool(run.measured["disturbed"]) for run in valid),
        "cost": spread(run.cost for run in valid),
    }
    for quantity in (
        "kernel_share",
        "per_s",
        "latency_p50_us",
        "latency_p95_us",
        "latency_p99_us",
        "delivered",
        "grown_kib",
        "left_behind_bytes",
        "slow_cut",
        "took_s",
    ):
        values = [run.measured[quantity] for run in valid if quantity in run.measured]
        if values:
            summary[quantity] = spread(values)
    if peer != REFERENCE and REFERENCE in case.peers:
        summary["ratio"] = ratios(valid, [run for run in runs if run.peer == REFERENCE])
        summary["remark"] = remark(case.workload.name, peer, summary["ratio"])
    return summary


def ratios(runs: Sequence[Run], references: Sequence[Run]) -> Spread | None:
    """Return how many times the reference's cost, round by round; a reference's void runs have no part in it."""
    costs = {run.round_number: run.cost for run in references if not run.is_void}
    pairs = [(run.cost, costs[run.round_number]) for run in runs if run.round_number in costs]
    return spread(cost / reference for cost, reference in pairs if reference)


def remark(case: str, peer: str, ratio: Spread | None) -> str:
    known = KNOWN.get((case, peer))
    if known is None or ratio is None:
        return ""
    if abs(ratio["median"] / known - 1) <= TOLERANCE:
        return f"known as {known:.2f}"
    explained = EXPLAINED.get((case, peer), "not comparable with other machines")
    return f"OFF: known as {known:.2f}, more than {TOLERANCE:.0%} away: {explained}"


def progress(run: Run) -> str:
    latency = run.measured.get("latency_p50_us")
    return (
        f"round {run.round_number}  {run.case:56} {run.peer:18}{run.cost:9.2f}"
        f"{'' if latency is None else f'  p50 {latency / 1000:.2f} ms'}{_state(run.measured)}"
    )


def _state(measured: Measured) -> str:
    if measured["void"]:
        return "  VOID: the load generator was the bottleneck"
    share = measured["foreign"]
    return f"  disturbed: others used {share:.0%} of a core" if measured["disturbed"] else ""


def table(cases: Sequence[Case], summary: dict[str, Any]) -> str:
    lines = []
    for case in cases:
        name = case.workload.name
        if not summary[name]:
            continue
        lines += ["", f"{name}: per {case.workload.unit}; median (lowest to highest)"]
        lines += [HEADINGS]
        lines += [_row(peer, one) for peer, one in summary[name].items()]
    return "\n".join(lines)


def _row(peer: str, summary: dict[str, Any]) -> str:
    cost = summary["cost"]
    if cost is None:
        return f"  {peer:19}no valid run: the load generator was the bottleneck"
    said = f"{cost['median']:.2f} ({cost['min']:.2f} to {cost['max']:.2f})"
    void, disturbed = (f"{summary[name]}/{summary['runs']}" for name in ("void", "disturbed"))
    kernel = summary["kernel_share"]["median"]
    rate = _median(summary, "per_s", "{:10.0f}", 10)
    latencies = "".join(
        _median(summary, f"latency_p{share}_us", "{:9.2f}", 9, 1000) for share in (50, 95, 99)
    )
    return (
        f"  {peer:19}{said:>24}{kernel:8.0%}{rate}{latencies}{void:>6}{disturbed:>11}"
        f"   {_ratio_text(summary)}{_extras(summary)}"
    )


def _median(
    summary: dict[str, Any], name: str, form: str, width: int, divisor: float = 1
) -> str:
    if name not in summary:
        return " " * width
    return form.format(summary[name]["median"] / divisor)


def _ratio_text(summary: dict[str, Any]) -> str:
    ratio = summary.get("ratio")
    if not ratio:
        return ""
    said = f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})"
    return f"{said}  {summary['remark']}".rstrip()


def _extras(summary: dict[str, Any]) -> str:
    said = []
    if "delivered" in summary:
        said.append(f"delivered {summary['delivered']['min']:.1%}")
    if summary.get("slow_cut", {}).get("max"):
        said.append("the slow one was cut")
    return "  ".join(said)
