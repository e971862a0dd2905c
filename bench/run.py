"""Runs the benchmarks: Troupe and its peers in the same minutes, interleaved and in shuffled order.

Prints a table and what is asked of it, and writes every run with the summary as JSON and a plot of it.
Interrupted, or out of the time it was given, it makes the same of what there is by then.
With --compare it ends with status 1 when something has become dearer than `baseline.json` allows.
"""

import argparse
import json
import math
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import baseline
import gates
import machine
import report
from attrs import define, field, frozen
from cases import CURVES, FULL_PLAN, QUICK_PLAN, Case, Plan
from demands import DEMANDS
from harness import BENCH, RunFailed
from machine import Cores
from peers.catalogue import CATALOGUE
from report import Run
from workloads.place import Place

#: Before a case that looks dearer counts as dearer, it is measured so many times more.
SECOND_LOOKS = 2


@frozen
class Servers:
    """The commands of the servers that take part, prepared once."""

    commands: dict[str, tuple[str, ...]]

    @classmethod
    def prepared(cls, names: Sequence[str]) -> "Servers":
        return cls({name: tuple(CATALOGUE[name].prepare()) for name in names})


class OutOfTimeError(Exception):
    """The time that was given is over."""


@define
class Session:
    """All runs of one call. `until_s` is on the monotonic clock; what runs then is still run to its end."""

    plan: Plan
    servers: Servers
    cores: Cores
    random: random.Random
    until_s: float = math.inf
    runs: list[Run] = field(factory=list)
    failures: list[str] = field(factory=list)
    ended: str = "complete"

    def run_rounds(self, cases: Sequence[Case], rounds: int | None) -> None:
        """Run as many rounds as the plan and its cases say, or `rounds`, or until there is no more time."""
        each = {case.workload.name: rounds or case.rounds or self.plan.rounds for case in cases}
        try:
            for number in range(max(each.values())):
                self.run_round(
                    number, [one for one in cases if number < each[one.workload.name]]
                )
        except OutOfTimeError:
            self.ended = "out of time"
        except KeyboardInterrupt:
            self.ended = "interrupted"

    def run_round(self, number: int, cases: Sequence[Case]) -> None:
        """Run every case in shuffled order, and in each its servers in shuffled order.

        Raises:
            OutOfTimeError: not all of them.
        """
        for case in self.random.sample(cases, len(cases)):
            peers = [name for name in case.peers if name in self.servers.commands]
            for name in self.random.sample(peers, len(peers)):
                if time.monotonic() > self.until_s:
                    raise OutOfTimeError
                self._run(number, case, name)

    def _run(self, number: int, case: Case, peer: str) -> None:
        command = self.servers.commands[peer]
        place = Place(CATALOGUE[peer], command, self.cores, self.plan.pace)
        began_s = time.monotonic()
        try:
            measured = case.workload.measure(place)
        # Whatever it is, the others go on: what they measured is not to be lost with one of them.
        except Exception as error:  # noqa: BLE001
            self.failures.append(f"{case.workload.name}, {peer}")
            said = str(error) if isinstance(error, RunFailed) else repr(error)
            print(f"FAILED  {self.failures[-1]}: {said}", flush=True)
            return
        took = {"took_s": round(time.monotonic() - began_s, 2)}
        self.runs.append(Run(case.workload.name, peer, number, measured | took))
        print(report.progress(self.runs[-1]), flush=True)


def main() -> None:
    options = _parse()
    plan = QUICK_PLAN if options.quick else FULL_PLAN
    cases = [case for case in plan.cases if options.only in case.workload.name]
    if not cases:
        raise SystemExit(f"no case has {options.only!r} in its name")
    machine.raise_descriptor_limit(max(case.workload.connections for case in cases))
    servers = Servers.prepared(options.peers)
    until_s = time.monotonic() + 60 * options.minutes
    order = random.Random(options.seed)
    session = Session(plan, servers, machine.choose_cores(), order, until_s)
    # Whoever ends it in another way than from the keyboard gets the results as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session.run_rounds(cases, options.rounds)

    summary = {case.workload.name: report.summarise(case, session.runs) for case in cases}
    answers = gates.answers(DEMANDS, summary.keys(), session.runs)
    result = _result(session, summary, answers, options)
    _write(result, options.output)
    print(report.table(cases, summary))
    print(gates.table(answers))
    found = baseline.relative_costs(cases, session.runs)
    if options.write_baseline:
        baseline.write(found)
    if options.compare and not _is_as_cheap(session, cases, found):
        raise SystemExit(1)
    if session.failures or session.ended != "complete":
        raise SystemExit("\n".join([f"{session.ended}; no result:", *session.failures]))


def _is_as_cheap(session: Session, cases: Sequence[Case], found: dict[str, float]) -> bool:
    """Compare with the baseline; what looks dearer is measured again before it counts."""
    known = baseline.read()
    for _ in range(SECOND_LOOKS):
        suspects = baseline.dearer(found, known)
        if not suspects:
            break
        again = [case for case in cases if case.workload.name in suspects]
        session.run_round(1 + max(run.round_number for run in session.runs), again)
        found = baseline.relative_costs(cases, session.runs)
    print(baseline.table(found, known))
    return not baseline.dearer(found, known)


def _result(
    session: Session,
    summary: dict[str, Any],
    answers: Sequence[gates.Answer],
    options: argparse.Namespace,
) -> dict[str, Any]:
    return {
        "plan": session.plan.name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "rounds": options.rounds or session.plan.rounds,
        "ended": session.ended,
        "warmup_s": session.plan.pace.warmup_s,
        "measure_s": session.plan.pace.measure_s,
        "seed": options.seed,
        "note": options.note,
        "machine": machine.describe(),
        "servers": {name: CATALOGUE[name].versions() for name in session.servers.commands},
        "curves": {
            curve: {workload.name: place for place, workload in points.items()}
            for curve, points in CURVES.items()
        },
        "summary": summary,
        "gates": [attrs.asdict(answer) for answer in answers],
        "failures": session.failures,
        "runs": [run.as_json() for run in session.runs],
    }


def _write(result: dict[str, Any], output: Path) -> None:
    # Only the bench extra has matplotlib, and who looks for help needs none.
    from plot import draw  # noqa: PLC0415

    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    draw(result, output.with_suffix(".png"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="under three minutes, for comparing ratios"
    )
    parser.add_argument("--peers", nargs="+", choices=CATALOGUE, default=list(CATALOGUE))
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases with this in their name"
    )
    parser.add_argument("--rounds", type=int, help="instead of the plan's and its cases'")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="start nothing after so many minutes"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order of cases and servers")
    parser.add_argument(
        "--compare", action="store_true", help="fail if dearer than the baseline"
    )
    parser.add_argument("--write-baseline", action="store_true", help="make this the baseline")
    parser.add_argument("--note", default="", help="what else the machine did, for the file")
    default_output = BENCH / "results" / time.strftime("%Y-%m-%d-bench.json", time.gmtime())
    parser.add_argument(
        "--output", type=Path, default=default_output, help="JSON file to write"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
