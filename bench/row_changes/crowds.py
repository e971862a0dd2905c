"""Row changes to many clients: how many a second arrive, and how long after their commit?

The rows of Supabase's own table, each at ten times its published rate: 500 and 5000 clients without row security,
and 500 with it, of which one in five may see a row.
All clients of a row are on one topic and are played by one load generator, on a core that it shares with Postgres
and the writer.
A latency counts from just before the INSERT that is its own transaction, so its commit is in it.
"""

import contextlib
import math
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event

import jwt
import psycopg
from attrs import asdict, frozen
from generator import BUSY, EXHAUSTED, Client, Measured, running_load_generator
from peers.catalogue import FAR_FUTURE, JWT_SECRET
from subscriber import SUBSCRIBED, join_text

from row_changes.setting import Setting
from row_changes.spending import PARTS, spending

SCHEMA = """
    create table open_rows (id int primary key, team int, written_ns int8, body text);
    create table team_rows (id int primary key, team int, written_ns int8, body text);
    alter table team_rows enable row level security;
    create role authenticated;
    create policy teams on team_rows for select to authenticated
        using (team = (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'team')::int);
    grant usage on schema public to authenticated;
    grant select on open_rows, team_rows to authenticated;
    alter publication supabase_realtime add table open_rows, team_rows;
"""
INSERT = "insert into {} values (%s, %s, %s, %s)"
BODY = "x" * 60
TEAMS = 5
#: How much faster than Supabase's table a row must be.
FACTOR = 10
#: After so long without any message, those that are missing are lost.
PATIENCE_S = 10.0
#: For opening all connections, and for a server that lags far behind.
MARGIN_S = 300.0
MARKER = '"written_ns":'
#: What was written last takes its time to arrive.
FAST_ENOUGH = 0.95


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


#: The higher rate and the higher latency of each range published.
#: Source: supabase.com/docs/guides/realtime/benchmarks and the data behind it, read 2026-11-21.
ROWS = (Row(500, 64, 238), Row(5000, 10, 807), Row(500, 40, 618, has_row_security=True))


@frozen
class Crowd:
    """What was measured for one row of the table."""

    clients: int
    has_row_security: bool
    published_changes_per_s: float
    published_p95_ms: float
    changes_per_s: float
    messages_per_s: float
    delivered: float  # share of the messages that came
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us_per_message: float
    cpu_ms_per_change: dict[str, float]  # by who spent it
    measured: Measured

    @property
    def goal_changes_per_s(self) -> float:
        return FACTOR * self.published_changes_per_s

    @property
    def is_reached(self) -> bool:
        is_fast = self.changes_per_s >= FAST_ENOUGH * self.goal_changes_per_s
        return is_fast and self.delivered == 1.0 and self.p95_ms <= self.published_p95_ms

    @property
    def bottleneck(self) -> str:
        """Say which core was busy, if one was."""
        if self.measured["server_busy"] > EXHAUSTED:
            return "the server"
        if self.measured["server_core_busy"] > BUSY:
            return "other programs on the server's core"
        if self.measured["loadgen_core_busy"] > BUSY:
            share = self.measured["loadgen_busy"]
            return f"the core of reader ({share:.0%}), Postgres and writer"
        return "none"

    def as_json(self) -> dict[str, object]:
        said = {"goal_changes_per_s": self.goal_changes_per_s, "is_reached": self.is_reached}
        return {**asdict(self), **said, "bottleneck": self.bottleneck}


def measure_crowds(setting: Setting) -> list[Crowd]:
    return [measure(row, setting) for row in ROWS]


def measure(row: Row, setting: Setting) -> Crowd:
    """Let the clients of a row hear what is written for some seconds."""
    setting.database.execute(f"truncate {row.table}")
    seconds = setting.options.seconds
    per_s = row.changes_per_s * FACTOR
    count = int(per_s * seconds)
    options = {
        "join-reply": SUBSCRIBED.decode(),
        "connections": row.clients,
        "marker": MARKER,
        "expected": count * row.listeners,
        "measure": PATIENCE_S,
    }
    deadline_s = seconds + MARGIN_S
    with running_load_generator(
        "listen", _clients(row), options, setting.server, setting.cores, deadline_s
    ) as generator:
        generator.wait_joined()
        with (
            _writing(setting.database.conninfo(), row.table, per_s, count),
            spending(setting) as spent,
        ):
            measured = generator.result()
    span_s = max(measured["span_s"], seconds - 1 / per_s)
    return Crowd(
        clients=row.clients,
        has_row_security=row.has_row_security,
        published_changes_per_s=row.changes_per_s,
        published_p95_ms=row.p95_ms,
        changes_per_s=measured["counted"] / row.listeners / span_s,
        messages_per_s=measured["counted"] / span_s,
        delivered=measured["counted"] / options["expected"],
        p50_ms=measured.get("latency_p50_us", math.inf) / 1000,
        p95_ms=measured.get("latency_p95_us", math.inf) / 1000,
        p99_ms=measured.get("latency_p99_us", math.inf) / 1000,
        cpu_us_per_message=measured["server_cpu_s"] / max(measured["counted"], 1) * 1e6,
        cpu_ms_per_change=spent.per_change(measured["counted"] / row.listeners),
        measured=measured,
    )


def table(crowds: list[Crowd]) -> str:
    head = (
        "clients  row security  changes/s (goal)  messages/s  delivered  p50 ms"
        "  p95 ms (Supabase)  p99 ms  CPU us            bottleneck"
    )
    parts = [
        "clients  row security"
        + "".join(f"{part:>10}" for part in PARTS)
        + "  CPU ms per change"
    ]
    return "\n".join([head, *map(_line, crowds), "", *parts, *map(_parts, crowds)])


def _line(one: Crowd) -> str:
    return (
        f"{one.clients:7}  {'yes' if one.has_row_security else 'no':>12}"
        f"  {one.changes_per_s:7.1f} ({one.goal_changes_per_s:6.0f})  {one.messages_per_s:10.0f}"
        f"  {one.delivered:9.1%}  {one.p50_ms:6.1f}  {one.p95_ms:6.0f} ({one.published_p95_ms:8.0f})"
        f"  {one.p99_ms:6.0f}  {one.cpu_us_per_message:6.2f}"
        f"  {'reached' if one.is_reached else 'MISSED':8}  {one.bottleneck}"
    )


def _parts(one: Crowd) -> str:
    spent = "".join(f"{one.cpu_ms_per_change[part]:10.3f}" for part in PARTS)
    return f"{one.clients:7}  {'yes' if one.has_row_security else 'no':>12}{spent}"


def _clients(row: Row) -> list[Client]:
    """Return one client for each connection under row security, as each is somebody else; else one for all."""
    return [
        _client(row, number) for number in range(row.clients if row.has_row_security else 1)
    ]


def _client(row: Row, number: int) -> Client:
    claims = {"role": "authenticated", "exp": FAR_FUTURE, "sub": str(number)}
    key = jwt.encode({**claims, "team": number % TEAMS}, JWT_SECRET, algorithm="HS256")
    return Client(f"/realtime/v1/websocket?apikey={key}&vsn=2.0.0", (join_text(row.table),))


@contextlib.contextmanager
def _writing(conninfo: str, table: str, per_s: float, count: int) -> Iterator[None]:
    """Insert rows at a steady rate meanwhile, in a process of its own."""
    fork = multiprocessing.get_context("fork")
    connected = fork.Event()
    arguments = (conninfo, table, per_s, count, connected)
    writer = fork.Process(target=_write, args=arguments, daemon=True)
    writer.start()
    connected.wait(PATIENCE_S)
    try:
        yield
    finally:
        writer.kill()
        writer.join()


def _write(conninfo: str, table: str, per_s: float, count: int, connected: Event) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connected.set()
        began = time.monotonic()
        for number in range(count):
            pause_s = began + number / per_s - time.monotonic()
            if pause_s > 0:
                time.sleep(pause_s)
            row = (number, number % TEAMS, time.monotonic_ns(), BODY)
            connection.execute(INSERT.format(table), row)
        # What the session has used is read while it is there.
        time.sleep(MARGIN_S)
