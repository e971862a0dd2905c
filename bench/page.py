"""Writes the figures of a committed result into `docs/explanation/performance.md`, between its two marks.

    python bench/page.py bench/results/2026-11-22-bench.json

Called by hand after a measurement that is to be published; a test checks that page and file agree.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import gates
from demands import DEMANDS
from gates import SUBJECT
from harness import REPOSITORY
from report import REFERENCE, Run, remark

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
        *_gates(result),
        "",
        *_costs(result),
        "",
        *_odd(result),
        f"![Costs against C, and how they grow](../../bench/results/{Path(name).stem}.png)",
    ]
    return "\n".join([*lines, "<!-- end of figures -->"])


def _gates(result: dict[str, Any]) -> list[str]:
    runs = [_run(one) for one in result["runs"]]
    return [
        "| asked | found | gate | aim |",
        "| --- | --- | --- | --- |",
        *(
            f"| {answer.asked} | {gates.found_text(answer)} | {gates.said(answer, 'gate')} "
            f"| {gates.said(answer, 'aim')} |"
            for answer in gates.answers(DEMANDS, result["summary"].keys(), runs)
        ),
    ]


def _run(kept: dict[str, Any]) -> Run:
    return Run(kept["case"], kept["peer"], kept["round"], kept)


def _costs(result: dict[str, Any]) -> list[str]:
    others = [name for name in result["servers"] if name not in {SUBJECT, REFERENCE}]
    against = [f"{name} / C" for name in ("Troupe", *others)]
    headings = ["workload", "Troupe", *against, "per second", "p50, p99 ms"]
    rows = [
        _row(case, peers, others)
        for case, peers in result["summary"].items()
        if peers.get(SUBJECT, {}).get("cost")
    ]
    return [_line(headings), _line(["---"] * len(headings)), *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(case: str, peers: dict[str, Any], others: list[str]) -> list[str]:
    own = peers[SUBJECT]
    unit = "KiB" if case.startswith("memory") else "us"
    ratio = own.get("ratio")
    against = (
        f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else ""
    )
    ratios = [peers.get(name, {}).get("ratio") for name in others]
    return [
        case,
        f"{own['cost']['median']:.2f} {unit}",
        against,
        *(f"{one['median']:.2f}x" if one else "" for one in ratios),
        f"{own['per_s']['median']:,.0f}" if "per_s" in own else "",
        ", ".join(
            f"{own[f'latency_p{share}_us']['median'] / 1000:.2f}"
            for share in (50, 99)
            if "latency_p50_us" in own
        ),
    ]


def _odd(result: dict[str, Any]) -> list[str]:
    """Name the servers that are far from what they are known with: they say little here."""
    found = []
    for case, peers in result["summary"].items():
        for peer, one in peers.items():
            said = remark(case, peer, one.get("ratio"))
            if said.startswith("OFF"):
                ratio = one["ratio"]["median"]
                found.append(f"- {case}: {peer} at {ratio:.2f}, {said.removeprefix('OFF: ')}")
    if not found:
        return []
    return ["Servers far from the ratio to C that they are known with:", "", *found, ""]


def main() -> None:
    source = Path(sys.argv[1])
    section = figures(json.loads(source.read_text()), source.name)
    PAGE.write_text(SECTION.sub(lambda _: section, PAGE.read_text()))


if __name__ == "__main__":
    main()
