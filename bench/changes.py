"""Row changes: how long from a write to the client, how many rows can be read in a second, and what idling costs?

Runs a Postgres of its own and one server, prints a table with the goals and writes everything measured as JSON.
"""

import argparse
import contextlib
import json
import statistics
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import psycopg
import trio
from attrs import frozen
from harness import BENCH, REPOSITORY, RunFailed, RunningServer, running_server
from machine import Cores
from peers.catalogue import JWT_SECRET, TROUPE_PATH, troupe_versions
from subscriber import Subscriber

# The parts of the project that are measured or used without a server around them.
sys.path.insert(0, str(REPOSITORY))

from actors.db.catalog import Catalog
from actors.db.pool import Pool
from protocol.changes import copyboth, pgoutput
from protocol.changes.model import Relation, Table
from protocol.changes.transactions import TransactionReader
from tests.support import postgres

SCHEMA = """
    create table bench (
        id int primary key, body text, amount numeric(12, 2), made_at timestamptz default now()
    );
    create publication supabase_realtime for table bench;
    create role anon;
    grant usage on schema public to anon;
    grant select on bench to anon;
"""
INSERT = "insert into bench values (%s, %s, 12.50)"
BODY = "x" * 60
#: Short, so that the log is empty and the durable slot at rest when idling is measured.
WINDOW_S = 3
#: The log's window, two rounds of housekeeping and a checkpoint's worth of patience.
SETTLE_S = 12
WAL_DATA_HEADER = struct.pack("!cqqq", b"w", 0, 0, 0)
SAMPLES_OF_DECODING = 5
#: Of statements, the server's own: log lines begin with the application's name.
SERVER_STATEMENT = b"troupe|"
GOALS = {
    "latency_p50_ms": 2.0,
    "latency_p99_ms": 10.0,
    "decoded_rows_per_s": 150_000.0,
    "idle_cpu_share": 0.01,
    "idle_statements": 0.0,
}
MORE_IS_BETTER = {"decoded_rows_per_s"}


@frozen
class Setting:
    """Where everything runs."""

    database: postgres.PostgresServer
    server: RunningServer
    cores: Cores
    options: argparse.Namespace

    @property
    def log(self) -> Path:
        return self.database.directory / "log"


def main() -> None:
    options = _parse()
    machine.raise_descriptor_limit(options.subscribers)
    cores = machine.choose_cores()
    with postgres.running_server(
        fsync="on", synchronous_commit="on", autovacuum="off", log_line_prefix="%a|"
    ) as database:
        database.execute(SCHEMA)
        measured = {"decoded_rows_per_s": measure_decoding(database, options.rows)}
        with running_server(_command(database), cores) as server:
            setting = Setting(database, server, cores, options)
            measured |= measure_latency(setting)
            measured |= measure_idling(setting)
    result = {
        "workload": "row changes",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "subscribers": options.subscribers,
        "measured": measured,
        "goals": GOALS,
        "machine": machine.describe(),
        "server": troupe_versions(),
    }
    print(table(measured))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def measure_latency(setting: Setting) -> dict[str, float]:
    """Insert row after row, each when the one before has arrived, and time its way.

    From just before the statement is sent, so its execution is in it, until the subscriber's bytes are read.
    """
    from_insert, from_commit = [], []
    with (
        psycopg.connect(setting.database.conninfo(), autocommit=True) as connection,
        Subscriber(setting.server.port, TROUPE_PATH) as subscriber,
    ):
        subscriber.subscribe("bench")
        for number in range(setting.options.warmup + setting.options.inserts):
            began = time.perf_counter()
            connection.execute(INSERT, (number, BODY))
            committed = time.perf_counter()
            subscriber.wait_for(b'"id":%d,' % number)
            arrived = time.perf_counter()
            if number >= setting.options.warmup:
                from_insert.append((arrived - began) * 1000)
                from_commit.append((arrived - committed) * 1000)
            time.sleep(setting.options.pause)
    return {
        "latency_p50_ms": statistics.median(from_insert),
        "latency_p99_ms": statistics.quantiles(from_insert, n=100)[98],
        "latency_from_commit_p50_ms": statistics.median(from_commit),
        "latency_from_commit_p99_ms": statistics.quantiles(from_commit, n=100)[98],
    }


def measure_decoding(database: postgres.PostgresServer, rows: int) -> float:
    """Return how many rows of one real stream are decoded in a second, best of some runs."""
    messages, described = record(database, rows)
    return max(
        rows / _timed(lambda: decode(messages, described)) for _ in range(SAMPLES_OF_DECODING)
    )


def record(
    database: postgres.PostgresServer, rows: int
) -> tuple[list[bytes], dict[int, Table]]:
    """Insert rows, and return the messages that logical replication makes of them."""
    with psycopg.connect(database.conninfo(), autocommit=True) as connection:
        connection.execute("select pg_create_logical_replication_slot('bench', 'pgoutput')")
        connection.execute(
            "insert into bench select -n, %s, 12.50 from generate_series(1, %s) n", (BODY, rows)
        )
        found = connection.execute(
            "select data from pg_logical_slot_get_binary_changes("
            "'bench', null, null, 'proto_version', '1', 'publication_names', 'supabase_realtime')"
        )
        messages = [WAL_DATA_HEADER + bytes(data) for (data,) in found]
        connection.execute("select pg_drop_replication_slot('bench')")
    return messages, _describe(database, messages)


def decode(messages: list[bytes], described: dict[int, Table]) -> None:
    """Do with each message what the stream does."""
    reader = TransactionReader()
    for data in messages:
        message = copyboth.decode(data)
        decoded = pgoutput.decode(message.payload)
        if reader.read(decoded) is None and isinstance(decoded, Relation):
            reader.define_table(described[decoded.oid])


def measure_idling(setting: Setting) -> dict[str, float]:
    """Let many subscribers wait for changes that do not come, and see what the server does meanwhile."""
    setting.database.execute(
        "alter system set log_statement = 'all'", "select pg_reload_conf()"
    )
    with contextlib.ExitStack() as stack:
        for _ in range(setting.options.subscribers):
            subscriber = stack.enter_context(Subscriber(setting.server.port, TROUPE_PATH))
            subscriber.subscribe("bench")
        time.sleep(SETTLE_S)
        settled_bytes = setting.log.stat().st_size
        before_s, began = _cpu_s(setting), time.monotonic()
        time.sleep(setting.options.idle)
        used_s, elapsed_s = _cpu_s(setting) - before_s, time.monotonic() - began
    log = setting.log.read_bytes()
    if not _statements(log[:settled_bytes]):
        raise RunFailed("the log shows no statement of the server at all")
    return {
        "idle_cpu_share": used_s / elapsed_s,
        "idle_statements": _statements(log[settled_bytes:]),
    }


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


def _describe(database: postgres.PostgresServer, messages: list[bytes]) -> dict[int, Table]:
    """Look up the tables of a recorded stream, as the server would."""
    relations = [
        decoded
        for data in messages
        if isinstance(decoded := pgoutput.decode(copyboth.decode(data).payload), Relation)
    ]

    async def ask() -> dict[int, Table]:
        pool = Pool(database.conninfo())
        try:
            return {
                relation.oid: await Catalog(pool).describe(relation) for relation in relations
            }
        finally:
            pool.close()

    return trio.run(ask)


def _statements(log: bytes) -> int:
    return sum(line.startswith(SERVER_STATEMENT) for line in log.splitlines())


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _cpu_s(setting: Setting) -> float:
    """Return the processor time of all threads of the server so far, in seconds."""
    tasks = Path(f"/proc/{setting.server.process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _command(database: postgres.PostgresServer) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", "0", "--jwt-secret", JWT_SECRET]
    options += ["--database-url", database.conninfo()]
    options += ["--change-log-window-s", str(WINDOW_S)]
    return [sys.executable, "-m", "actors.main", *options]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inserts", type=int, default=2000, help="whose latency is measured")
    parser.add_argument("--warmup", type=int, default=200, help="inserts before those")
    parser.add_argument(
        "--pause", type=float, default=0.002, metavar="SECONDS", help="between two inserts"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="to be decoded")
    parser.add_argument("--subscribers", type=int, default=1000, metavar="N", help="that idle")
    parser.add_argument("--idle", type=float, default=20.0, metavar="SECONDS")
    default_output = BENCH / "results" / time.strftime("%Y-%m-%d-changes.json", time.gmtime())
    parser.add_argument(
        "--output", type=Path, default=default_output, help="JSON file to write"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except RunFailed as error:
        raise SystemExit(f"no result: {error}") from None
