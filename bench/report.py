"""Summaries of runs: medians, spread, and ratios between servers pair by pair.

A ratio compares two servers within one round, where the machine was the same; the median of these ratios is what
may be quoted, and its range says how far to trust it.
Void runs are counted and otherwise ignored.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

Run = dict[str, object]

# Others are compared with these, when they took part.
REFERENCES = ("node_ws", "c_floor")

# Quantities and whether more of it is better: a ratio above 1 is always in favour of the first server named.
QUANTITIES = {
    "server_us_per_delivery": False,
    "deliveries_per_s": True,
    "latency_p50_us": False,
    "latency_p99_us": False,
}

HEADINGS = (
    f"{'':13}{'CPU us/delivery':>24}{'kernel':>8}{'deliveries/s':>14}{'p50 ms':>8}{'p99 ms':>8}"
    f"{'busy':>6}{'void':>6}{'disturbed':>11}   CPU, p50 and p99 against others (above 1: better than it)"
)


def summarise(
    runs: Sequence[Run], peers: Sequence[str], modes: Sequence[str]
) -> dict[str, object]:
    return {mode: {peer: _summarise_peer(runs, peer, mode) for peer in peers} for mode in modes}


def _summarise_peer(runs: Sequence[Run], peer: str, mode: str) -> dict[str, object]:
    all_of_it = [run for run in runs if run["peer"] == peer and run["mode"] == mode]
    valid = _valid_by_round(runs, peer, mode)
    summary: dict[str, object] = {
        "runs": len(all_of_it),
        "void": len(all_of_it) - len(valid),
        "disturbed": sum(bool(run["disturbed"]) for run in valid.values()),
    }
    shares = ("kernel_share", "server_busy", "loadgen_core_busy", "foreign")
    for quantity in (*QUANTITIES, *shares):
        summary[quantity] = _spread(run[quantity] for run in valid.values())
    summary["ratio_to"] = {
        reference: _ratios(valid, _valid_by_round(runs, reference, mode))
        for reference in REFERENCES
        if reference != peer
    }
    return summary


def _valid_by_round(runs: Sequence[Run], peer: str, mode: str) -> dict[int, Run]:
    chosen = (run for run in runs if run["peer"] == peer and run["mode"] == mode)
    return {run["round"]: run for run in chosen if not run["void"]}


def _ratios(subject: dict[int, Run], reference: dict[int, Run]) -> dict[str, object]:
    rounds = sorted(subject.keys() & reference.keys())
    ratios = {}
    for quantity, more_is_better in QUANTITIES.items():
        pairs = [(subject[number][quantity], reference[number][quantity]) for number in rounds]
        ratios[quantity] = _spread(a / b if more_is_better else b / a for a, b in pairs)
    return ratios


def _spread(values: Iterable[float]) -> dict[str, float] | None:
    ordered = sorted(values)
    if not ordered:
        return None
    return {
        "median": round(statistics.median(ordered), 4),
        "min": round(ordered[0], 4),
        "max": round(ordered[-1], 4),
    }


def progress(run: Run) -> str:
    return (
        f"round {run['round']}  {run['mode']:8} {run['peer']:13}"
        f"{run['server_us_per_delivery']:8.2f} us/delivery {run['deliveries_per_s']:10.0f}/s"
        f"  cores {run['server_core_busy']:4.0%} {run['loadgen_core_busy']:4.0%}"
        f"{_remark(run)}"
    )


def _remark(run: Run) -> str:
    if run["void"]:
        return "  VOID: the load generator was the bottleneck"
    return (
        f"  disturbed: others used {run['foreign']:.0%} of a core" if run["disturbed"] else ""
    )


def table(result: dict[str, object]) -> str:
    lines = []
    for mode, peers in result["summary"].items():
        lines += ["", _title(mode, result), HEADINGS]
        lines += [_row(peer, summary) for peer, summary in peers.items()]
    return "\n".join(lines)


def _title(mode: str, result: dict[str, object]) -> str:
    return (
        f"{mode}: {result['subscribers']} subscribers, {result['delivered_bytes']} bytes,"
        f" {result['rounds']} rounds; medians (lowest to highest)"
    )


def _row(peer: str, summary: dict[str, object]) -> str:
    void, disturbed = (f"{summary[name]}/{summary['runs']}" for name in ("void", "disturbed"))
    if summary["void"] == summary["runs"]:
        return f"{peer:13}no valid run: the load generator was the bottleneck"
    cpu = summary["server_us_per_delivery"]
    spread = f"{cpu['median']:.2f} ({cpu['min']:.2f} to {cpu['max']:.2f})"
    ratios = "   ".join(
        f"{reference} {_ratio_text(ratio)}"
        for reference, ratio in summary["ratio_to"].items()
        if ratio["server_us_per_delivery"]
    )
    return (
        f"{peer:13}{spread:>24}{summary['kernel_share']['median']:8.0%}"
        f"{summary['deliveries_per_s']['median']:14.0f}"
        f"{summary['latency_p50_us']['median'] / 1000:8.2f}"
        f"{summary['latency_p99_us']['median'] / 1000:8.2f}"
        f"{summary['server_busy']['median']:6.0%}{void:>6}{disturbed:>11}   {ratios}"
    )


def _ratio_text(ratio: dict[str, dict[str, float]]) -> str:
    cpu = ratio["server_us_per_delivery"]
    p50, p99 = (ratio[name]["median"] for name in ("latency_p50_us", "latency_p99_us"))
    return f"{cpu['median']:.2f}x ({cpu['min']:.2f} to {cpu['max']:.2f}) {p50:.2f}x {p99:.2f}x"


def write(result: dict[str, object], output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
