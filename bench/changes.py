"""Row changes: how long from a write to the client, how many rows can be read in a second, and what idling costs?

And how many changes a second reach hundreds and thousands of clients: the rows of Supabase's own table.
Runs a Postgres of its own and one server, prints a table with the goals and Supabase's table, and writes everything
measured as JSON.
"""

import argparse
import json
import os
import time
from pathlib import Path

import machine
from harness import BENCH, RunFailed, running_server
from peers.catalogue import troupe_versions
from row_changes import crowds
from row_changes.decoding import measure_decoding
from row_changes.idling import measure_idling
from row_changes.latency import measure_latency
from row_changes.setting import Setting, command, postgres

SCHEMA = """
    create table bench (
        id int primary key, body text, amount numeric(12, 2), made_at timestamptz default now()
    );
    create publication supabase_realtime for table bench;
    create role anon;
    grant usage on schema public to anon;
    grant select on bench to anon;
"""
GOALS = {
    "latency_p50_ms": 2.0,
    "latency_p99_ms": 10.0,
    "decoded_rows_per_s": 150_000.0,
    "idle_cpu_share": 0.01,
    "idle_statements": 0.0,
}
#: Short, so that the log is empty and the durable slot at rest when idling is measured.
WINDOW_S = 3
MORE_IS_BETTER = {"decoded_rows_per_s"}
#: What a run of seconds instead of minutes takes; its figures are for seeing that it works.
QUICK = {
    "inserts": 200,
    "warmup": 50,
    "rows": 10_000,
    "subscribers": 100,
    "idle": 2.0,
    "seconds": 3.0,
}


def main() -> None:
    options = _parse()
    most = max(row.clients for row in crowds.ROWS)
    machine.raise_descriptor_limit(max(options.subscribers, most))
    cores = machine.choose_cores()
    # Postgres and the writers inherit it.
    os.sched_setaffinity(0, {cores.loadgen})
    measured: dict[str, float] = {}
    reached: list[crowds.Crowd] = []
    with postgres.running_server(
        fsync="on", synchronous_commit="on", autovacuum="off", log_line_prefix="%a|"
    ) as database:
        database.execute(SCHEMA, crowds.SCHEMA)
        if "one" in options.parts:
            measured |= measure_decoding(database, options.rows)
            window = ("--change-log-window-s", str(WINDOW_S))
            with running_server(command(database, *window), cores) as server:
                setting = Setting(database, server, cores, options)
                measured |= measure_latency(setting)
                measured |= measure_idling(setting)
        if "crowds" in options.parts:
            with running_server(command(database), cores) as server:
                reached = crowds.measure_crowds(Setting(database, server, cores, options))
    if measured:
        print(table(measured))
    if reached:
        print(crowds.table(reached))
    result = {
        "workload": "row changes",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "subscribers": options.subscribers,
        "measured": measured,
        "goals": GOALS,
        "crowds": [crowd.as_json() for crowd in reached],
        "machine": machine.describe(),
        "server": troupe_versions(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def table(measured: dict[str, float]) -> str:
    lines = [f"{'':30}{'measured':>12}{'goal':>12}"]
    for name, value in measured.items():
        goal = GOALS.get(name)
        verdict = "" if goal is None else f"{goal:12g}  {_verdict(name, value, goal)}"
        lines.append(f"{name:30}{value:12.4g}{verdict}")
    return "\n".join(lines)


def _verdict(name: str, value: float, goal: float) -> str:
    is_reached = value >= goal if name in MORE_IS_BETTER else value <= goal
    return "reached" if is_reached else "MISSED"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=("one", "crowds"),
        default=("one", "crowds"),
        help="one client, decoding and idling; or Supabase's table",
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes, to see that it works"
    )
    parser.add_argument("--inserts", type=int, default=2000, help="whose latency is measured")
    parser.add_argument("--warmup", type=int, default=200, help="inserts before those")
    parser.add_argument(
        "--pause", type=float, default=0.002, metavar="SECONDS", help="between two inserts"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="to be decoded")
    parser.add_argument("--subscribers", type=int, default=1000, metavar="N", help="that idle")
    parser.add_argument("--idle", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="of writing, for each row of the table"
    )
    default_output = BENCH / "results" / time.strftime("%Y-%m-%d-changes.json", time.gmtime())
    parser.add_argument(
        "--output", type=Path, default=default_output, help="JSON file to write"
    )
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(**QUICK)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except RunFailed as error:
        raise SystemExit(f"no result: {error}") from None
