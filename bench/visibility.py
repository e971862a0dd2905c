"""Row security: how many rows can be judged in a second, for how many identities?

Runs a Postgres of its own and asks it as the server does, in this process; prints tables and writes them as JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import machine
import trio
from attrs import frozen
from harness import BENCH, REPOSITORY
from peers.catalogue import troupe_versions

# The parts of the project that are measured without a server around them.
sys.path.insert(0, str(REPOSITORY))

from actors.db.driver import TrioConnection, connect
from actors.db.pool import Pool
from actors.db.visibility import DatabaseVisibility
from actors.realtime.change_ports import Question
from actors.realtime.ports import Identity
from protocol.changes.model import Change, Kind, Table, TypeFacts
from tests.support import postgres
from tests.support.changes import INT4, TEXT, make_change, make_table

ROWS = 10_000
USERS = 500
SCHEMA = f"""
    create role authenticated;
    create schema auth;
    grant usage on schema auth to public;
    create function auth.uid() returns uuid language sql stable as $$
        select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
    create table own (id int primary key, owner uuid, body text);
    insert into own select n, ('00000000-0000-0000-0000-' || lpad((n % {USERS})::text, 12, '0'))::uuid, 'x'
        from generate_series(1, {ROWS}) n;
    create table members (room int, member uuid, primary key (room, member));
    insert into members select id, owner from own;
    create table shared as select * from own;
    alter table shared add primary key (id);
    create policy own on own using ((select auth.uid()) = owner);
    create policy shared on shared using (
        exists (select from members where room = shared.id and member = auth.uid()));
    alter table own enable row level security;
    alter table shared enable row level security;
    grant select on own, shared, members to authenticated;
    analyze;
"""
IDENTITIES = (1, 100, 500)
BATCHES = (1, 10, 100)
#: What Supabase publishes for 500 clients under row security, in changes per second, and ten times that.
PUBLISHED_PER_S = 40
GOALS = {"changes_per_s": 10.0 * PUBLISHED_PER_S, "latency_p95_ms": 30.0}
MORE_IS_BETTER = {"changes_per_s"}
#: As many changes as a rows actor takes at once.
TAKEN = 128
UUID = TypeFacts(2950, "uuid")


@frozen
class Setting:
    """Whom to ask about which rows."""

    database: postgres.PostgresServer
    visibility: DatabaseVisibility
    tables: dict[str, Table]
    options: argparse.Namespace


def main() -> None:
    options = _parse()
    with postgres.running_server() as database:
        database.execute(SCHEMA)
        judged, sustained = trio.run(measure, database, options)
    result = {
        "workload": "visibility",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "judged": judged,
        "sustained": sustained,
        "goals": GOALS,
        # Two cores are busy at 2: what waits for them makes the latencies, not the processor times.
        "load_average": os.getloadavg(),
        "machine": machine.describe(),
        "server": troupe_versions(),
    }
    print(
        f"{'policy':8}{'identities':>12}{'rows':>6}{'ms/question':>13}{'server CPU ms':>15}"
        f"{'Postgres CPU ms':>17}{'rows x identities/s':>21}"
    )
    for run in judged:
        print(
            f"{run['policy']:8}{run['identities']:12}{run['rows']:6}{run['ms']:13.2f}"
            f"{run['server_cpu_ms']:15.2f}{run['postgres_cpu_ms']:17.2f}{run['pairs_per_s']:21,.0f}"
        )
    for name, figures in sustained.items():
        for figure, value in figures.items():
            print(f"{name + ' ' + figure:48}{value:10.4g}{_verdict(figure, value)}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


async def measure(
    database: postgres.PostgresServer, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    pool = Pool(database.conninfo())
    visibility = DatabaseVisibility.open(pool)
    try:
        async with await connect(database.conninfo()) as connection:
            tables = {name: await _table(connection, name) for name in ("own", "shared")}
        setting = Setting(database, visibility, tables, options)
        judged = [
            await measure_questions(setting, policy, identities, rows)
            for policy in tables
            for identities in IDENTITIES
            for rows in BATCHES
        ]
        sustained = {
            f"{policy}, {channels} channel(s),": await measure_stream(setting, policy, channels)
            for policy in tables
            for channels in (1, USERS)
        }
    finally:
        visibility.close()
        pool.close()
    return judged, sustained


async def measure_questions(
    setting: Setting, policy: str, identities: int, rows: int
) -> dict[str, Any]:
    """Ask the same question again and again, and take the median."""
    changes = tuple(_changes(setting.tables[policy], rows))
    questions = [Question(identity, changes) for identity in _identities(identities)]

    async def ask() -> None:
        await setting.visibility.check(questions)

    for _ in range(5):
        await ask()
    times_s = []
    before = _cpu_s(setting.database)
    until = time.perf_counter() + setting.options.seconds
    while time.perf_counter() < until:
        times_s.append(await _timed(ask))
    took_s = statistics.median(times_s)
    server_s, postgres_s = _cpu_s(setting.database, since=before)
    return {
        "policy": policy,
        "identities": identities,
        "rows": rows,
        "ms": took_s * 1000,
        "server_cpu_ms": server_s / len(times_s) * 1000,
        "postgres_cpu_ms": postgres_s / len(times_s) * 1000,
        "pairs_per_s": identities * rows / took_s,
    }


async def measure_stream(setting: Setting, policy: str, channels: int) -> dict[str, float]:
    """Let 500 identities, on one channel or each on its own, follow a stream of changes as rows actors do."""
    identities = list(_identities(USERS))
    groups = [identities[start::channels] for start in range(channels)]
    table = setting.tables[policy]

    async def ask(group: list[Identity], changes: tuple[Change, ...]) -> None:
        await setting.visibility.check([Question(identity, changes) for identity in group])

    async def ask_all(changes: tuple[Change, ...]) -> None:
        async with trio.open_nursery() as nursery:
            for group in groups:
                nursery.start_soon(ask, group, changes)

    stream = _changes(table, 1 << 30)
    latencies_s: list[float] = []
    pause_s = 1 / PUBLISHED_PER_S
    began = time.perf_counter()
    waiting: list[tuple[float, Change]] = []
    due = began
    while due - began < setting.options.stream:
        now = time.perf_counter()
        while due <= now:
            waiting.append((due, next(stream)))
            due += pause_s
        if not waiting:
            await trio.sleep(due - now)
            continue
        taken, waiting = waiting[:TAKEN], waiting[TAKEN:]
        await ask_all(tuple(change for _, change in taken))
        latencies_s += (time.perf_counter() - at for at, _ in taken)
    count, began, before = 0, time.perf_counter(), _cpu_s(setting.database)
    while time.perf_counter() - began < setting.options.stream:
        await ask_all(tuple(next(stream) for _ in range(TAKEN)))
        count += TAKEN
    took_s = time.perf_counter() - began
    server_s, postgres_s = _cpu_s(setting.database, since=before)
    return {
        "changes_per_s": count / took_s,
        "server_cpu_ms_per_change": server_s / count * 1000,
        "postgres_cpu_ms_per_change": postgres_s / count * 1000,
        "latency_p50_ms": statistics.median(latencies_s) * 1000,
        "latency_p95_ms": statistics.quantiles(latencies_s, n=20)[18] * 1000,
    }


def _identities(count: int) -> Iterator[Identity]:
    for number in range(count):
        claims = {"sub": f"00000000-0000-0000-0000-{number:012d}", "role": "authenticated"}
        yield Identity("authenticated", json.dumps(claims).encode(), 0.0)


def _changes(table: Table, count: int) -> Iterator[Change]:
    for number in range(count):
        yield make_change(Kind.INSERT, table, new=(str(number % ROWS + 1), None, "x"))


async def _table(connection: TrioConnection, name: str) -> Table:
    cursor = await connection.execute("select %s::regclass::oid::bigint", (name,))
    ((oid,),) = await cursor.fetchall()
    return make_table({"id": INT4, "owner": UUID, "body": TEXT}, name=name, oid=oid)


def _cpu_s(
    database: postgres.PostgresServer, since: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float]:
    """Return the processor time of this process and of all sessions of Postgres, in seconds."""
    process = int((database.directory / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    sessions_ns = sum(
        int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) for child in children
    )
    return time.process_time() - since[0], sessions_ns / 1e9 - since[1]


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def _verdict(name: str, value: float) -> str:
    goal = GOALS.get(name)
    if goal is None:
        return ""
    is_reached = value >= goal if name in MORE_IS_BETTER else value <= goal
    return f"{goal:10g}  {'reached' if is_reached else 'MISSED'}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="how long each question is repeated"
    )
    parser.add_argument(
        "--stream", type=float, default=5.0, metavar="SECONDS", help="length of each stream"
    )
    default_output = (
        BENCH / "results" / time.strftime("%Y-%m-%d-visibility.json", time.gmtime())
    )
    parser.add_argument(
        "--output", type=Path, default=default_output, help="JSON file to write"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
