"""Writes the figures of a committed result into `docs/explanation/performance.md`, between its two marks.

    python bench/page.py bench/results/2026-11-21-bench.json

Called by hand after a measurement that is to be published; a test checks that page and file agree.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from harness import REPOSITORY

PAGE = REPOSITORY / "docs/explanation/performance.md"
SECTION = re.compile(
    r"<!-- figures of (?P<file>\S+) -->\n.*?<!-- end of figures -->", re.DOTALL
)


def figures(result: dict[str, Any], name: str) -> str:
    """Return the section for a result that is kept in `bench/results/<name>`."""
    machine = result["machine"]
    place = f"{machine['cores']} cores of {machine['cpu']}, kernel {machine['kernel']}"
    note = f"; {result['note']}" if result["note"] else ""
    lines = [
        f"<!-- figures of {name} -->",
        f"{result['date']}, {place}, {result['rounds']} round(s){note}.",
        f"All runs with their spread: [{name}](../../bench/results/{name}).",
        "",
        "| workload | server | cost | against C | per second | p50, p99 ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case, peers in result["summary"].items():
        lines += [_row(case, peer, one) for peer, one in peers.items() if one["cost"]]
    return "\n".join([*lines, "<!-- end of figures -->"])


def _row(case: str, peer: str, summary: dict[str, Any]) -> str:
    is_memory = case.startswith("memory")
    cost = f"{summary['cost']['median']:.2f} {'KiB' if is_memory else 'us'}"
    ratio = summary.get("ratio")
    against = (
        f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else ""
    )
    rate = f"{summary['per_s']['median']:,.0f}" if "per_s" in summary else ""
    shares = [
        summary[f"latency_p{share}_us"]["median"] / 1000
        for share in (50, 99)
        if _is_timed(summary)
    ]
    latency = ", ".join(f"{share:.2f}" for share in shares)
    return f"| {case} | {peer} | {cost} | {against} | {rate} | {latency} |"


def _is_timed(summary: dict[str, Any]) -> bool:
    return "latency_p50_us" in summary


def main() -> None:
    source = Path(sys.argv[1])
    section = figures(json.loads(source.read_text()), source.name)
    PAGE.write_text(SECTION.sub(lambda _: section, PAGE.read_text()))


if __name__ == "__main__":
    main()
