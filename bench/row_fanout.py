"""Row changes to many clients: how many a second arrive, and how long after their commit?

The rows of Supabase's own table, each at ten times its published rate: 500 and 5000 clients without row security,
and 500 with it, of which one in five may see a row. Prints a table to be read beside theirs, and writes it as JSON.
Runs a Postgres of its own and one server; all clients are on one topic, in this process.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import select
import statistics
import sys
import time
from pathlib import Path

import jwt
import machine
import psycopg
from attrs import asdict, frozen
from harness import BENCH, REPOSITORY, RunFailed, RunningServer, running_server
from peers.catalogue import FAR_FUTURE, JWT_SECRET, troupe_versions
from subscriber import Subscriber

sys.path.insert(0, str(REPOSITORY))

from tests.support import postgres

SCHEMA = """
    create table open_rows (id int primary key, team int, written_ns int8, body text);
    create table team_rows (id int primary key, team int, written_ns int8, body text);
    alter table team_rows enable row level security;
    create role authenticated;
    create policy teams on team_rows for select to authenticated
        using (team = (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'team')::int);
    grant usage on schema public to authenticated;
    grant select on open_rows, team_rows to authenticated;
    create publication supabase_realtime for table open_rows, team_rows;
"""
INSERT = "insert into {} values (%s, %s, %s, %s)"
BODY = "x" * 60
TEAMS = 5
#: How much faster than Supabase's table a row must be.
FACTOR = 10
DRAIN_S = 30.0
MARKER = b'"postgres_changes"'
WRITTEN = re.compile(rb'"written_ns":(\d+)')
#: More than one message of a row takes.
FRAME_BYTES = 1024
#: Between two rounds of reading: what came meanwhile is read at once, so the reader keeps up; it counts as latency.
READ_EVERY_S = 0.02
#: One client in so many has its messages timed.
TIMED = 10


@frozen
class Row:
    """One row of Supabase's table: clients, changes a second and the 95th percentile of the latency there."""

    clients: int
    changes_per_s: float
    p95_ms: float
    has_row_security: bool = False

    @property
    def table(self) -> str:
        return "team_rows" if self.has_row_security else "open_rows"

    @property
    def listeners(self) -> int:
        """How many clients may see a row."""
        return self.clients // TEAMS if self.has_row_security else self.clients


#: Source: supabase.com/docs/guides/realtime/benchmarks and the data behind it, read 2026-11-21.
ROWS = (Row(500, 64, 238), Row(5000, 10, 807), Row(500, 40, 618, has_row_security=True))


@frozen
class Result:
    """What was measured; `delivered` is the share of the messages that came."""

    clients: int
    has_row_security: bool
    goal_changes_per_s: float
    changes_per_s: float
    messages_per_s: float
    delivered: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    supabase_p95_ms: float
    cpu_us_per_message: float

    @property
    def is_reached(self) -> bool:
        # What was written last takes its time to arrive.
        is_fast = self.changes_per_s >= 0.95 * self.goal_changes_per_s
        return is_fast and self.delivered == 1.0 and self.p95_ms <= self.supabase_p95_ms


class Reader:
    """One client that counts the changes it is sent, and times them if it is to."""

    def __init__(self, subscriber: Subscriber, *, is_timed: bool) -> None:
        self.socket = subscriber.socket
        self._is_timed = is_timed
        self._tail = b""

    def read(self, latencies_ms: list[float]) -> int:
        """Read what is there; return how many changes came with it."""
        data = self._tail + self.socket.recv(1 << 18)
        if not data:
            raise RunFailed("the server closed a connection")
        arrived_ns = time.monotonic_ns()
        if not self._is_timed:
            # Shorter than the marker, so none is counted twice.
            self._tail = data[-len(MARKER) + 1 :]
            return data.count(MARKER)
        count = end = 0
        for found in WRITTEN.finditer(data):
            latencies_ms.append((arrived_ns - int(found[1])) / 1e6)
            count, end = count + 1, found.end()
        self._tail = data[end:][-FRAME_BYTES:]
        return count


def write(conninfo: str, table: str, per_s: float, count: int, begun) -> None:
    """Insert rows at a steady rate, each in a transaction of its own; runs in a process of its own."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        begun.set()
        began = time.monotonic()
        for number in range(count):
            pause_s = began + number / per_s - time.monotonic()
            if pause_s > 0:
                time.sleep(pause_s)
            row = (number, number % TEAMS, time.monotonic_ns(), BODY)
            connection.execute(INSERT.format(table), row)


def measure(
    row: Row, database: postgres.PostgresServer, server: RunningServer, seconds: float
) -> Result:
    """Let the clients of a row hear what is written for some seconds."""
    per_s = row.changes_per_s * FACTOR
    count = int(per_s * seconds)
    begun = multiprocessing.Event()
    arguments = (database.conninfo(), row.table, per_s, count, begun)
    writer = multiprocessing.Process(target=write, args=arguments, daemon=True)
    with contextlib.ExitStack() as stack:
        readers = [
            Reader(_subscribed(stack, server.port, row, number), is_timed=number % TIMED == 0)
            for number in range(row.clients)
        ]
        writer.start()
        begun.wait(DRAIN_S)
        before_s, began = _cpu_s(server), time.monotonic()
        latencies_ms: list[float] = []
        expected = count * row.listeners
        messages = _read(readers, expected, began + seconds + DRAIN_S, latencies_ms)
        elapsed_s, used_s = time.monotonic() - began, _cpu_s(server) - before_s
        writer.join()
    quantiles = statistics.quantiles(latencies_ms, n=100)
    return Result(
        clients=row.clients,
        has_row_security=row.has_row_security,
        goal_changes_per_s=per_s,
        changes_per_s=count / elapsed_s,
        messages_per_s=messages / elapsed_s,
        delivered=messages / expected,
        p50_ms=quantiles[49],
        p95_ms=quantiles[94],
        p99_ms=quantiles[98],
        supabase_p95_ms=row.p95_ms,
        cpu_us_per_message=used_s / max(messages, 1) * 1e6,
    )


def main() -> None:
    options = _parse()
    machine.raise_descriptor_limit(max(row.clients for row in ROWS))
    cores = machine.choose_cores()
    # Postgres and the writer inherit it.
    os.sched_setaffinity(0, {cores.loadgen})
    with postgres.running_server(fsync="on", synchronous_commit="on") as database:
        database.execute(SCHEMA)
        with running_server(_command(database), cores) as server:
            results = []
            for row in ROWS:
                results.append(measure(row, database, server, options.seconds))
                database.execute(f"truncate {row.table}")
    print(table(results))
    written = {
        "workload": "row changes to many clients",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": options.seconds,
        "results": [asdict(result) for result in results],
        "machine": machine.describe(),
        "server": troupe_versions(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(written, indent=1) + "\n")


def table(results: list[Result]) -> str:
    head = "clients  row security  changes/s (goal)  messages/s  delivered  p50 ms  p95 (Supabase)  p99 ms  CPU us"
    return "\n".join([head, *map(_line, results)])


def _line(one: Result) -> str:
    return (
        f"{one.clients:7}  {'yes' if one.has_row_security else 'no':>12}"
        f"  {one.changes_per_s:7.1f} ({one.goal_changes_per_s:6.0f})  {one.messages_per_s:10.0f}"
        f"  {one.delivered:9.1%}  {one.p50_ms:6.1f}  {one.p95_ms:5.0f} ({one.supabase_p95_ms:6.0f})"
        f"  {one.p99_ms:6.0f}  {one.cpu_us_per_message:6.2f}"
        f"  {'reached' if one.is_reached else 'MISSED'}"
    )


def _read(
    readers: list[Reader], expected: int, deadline: float, latencies_ms: list[float]
) -> int:
    """Read until so many changes have come, or the deadline has; return how many."""
    poll = select.epoll()
    by_descriptor = {reader.socket.fileno(): reader for reader in readers}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    messages = 0
    while messages < expected and time.monotonic() < deadline:
        for descriptor, _ in poll.poll(0.1):
            messages += by_descriptor[descriptor].read(latencies_ms)
        time.sleep(READ_EVERY_S)
    return messages


def _subscribed(stack: contextlib.ExitStack, port: int, row: Row, number: int) -> Subscriber:
    claims = {"role": "authenticated", "exp": FAR_FUTURE, "sub": str(number)}
    key = jwt.encode({**claims, "team": number % TEAMS}, JWT_SECRET, algorithm="HS256")
    path = f"/realtime/v1/websocket?apikey={key}&vsn=2.0.0"
    subscriber = stack.enter_context(Subscriber(port, path))
    subscriber.subscribe(row.table)
    return subscriber


def _cpu_s(server: RunningServer) -> float:
    """Return the processor time of all threads of the server so far, in seconds."""
    tasks = Path(f"/proc/{server.process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _command(database: postgres.PostgresServer) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", "0", "--jwt-secret", JWT_SECRET]
    return [
        sys.executable,
        "-m",
        "actors.main",
        *options,
        "--database-url",
        database.conninfo(),
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of writing, for each row")
    default_output = (
        BENCH / "results" / time.strftime("%Y-%m-%d-row-fanout.json", time.gmtime())
    )
    parser.add_argument(
        "--output", type=Path, default=default_output, help="JSON file to write"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except RunFailed as error:
        raise SystemExit(f"no result: {error}") from None
