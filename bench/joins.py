"""Private joins: how many users a second can be let in by policies, and how long does each wait?

Runs a Postgres of its own; asks its policies as the server does and one by one, in this process and in turns,
then starts Troupe and joins it over WebSockets at a steady rate. Prints a table and writes it as JSON.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import machine
import psycopg
import trio
from harness import BENCH, REPOSITORY
from peers.catalogue import troupe_versions

# The parts of the project that are measured without a server around them.
sys.path.insert(0, str(REPOSITORY))

from actors.db.driver import connect
from actors.db.janitor import KEPT
from actors.db.partitions import keep_partitions
from actors.db.policies import PostgresPolicies
from actors.db.pool import Pool
from actors.db.probes import LANES
from actors.db.schema import migrate
from actors.realtime.ports import Identity, PolicyQuestion
from tests.support import postgres
from tests.support.server import running_server
from tests.support.tokens import mint
from tests.support.websocket import open_websocket

ROOMS = 500
USERS = 20_000
SCHEMA = f"""
    create table public.members (room text, member uuid, primary key (room, member));
    insert into members select 'room:' || n % {ROOMS}, ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
        from generate_series(0, {USERS - 1}) n;
    grant select on members to authenticated;
    create policy members_read on realtime.messages for select to authenticated using (
        exists (select from members where room = (select realtime.topic()) and member = (select auth.uid())));
    create policy members_write on realtime.messages for insert to authenticated with check (
        exists (select from members where room = (select realtime.topic()) and member = (select auth.uid())));
    analyze members;
"""
#: Users who ask at the same time, each again with another token as soon as he is answered.
AT_A_TIME = 200
PACE_PER_S = 200
SOCKETS = 20
GOALS = {"rate_to_one_by_one": 3.0, "paced_max_ms": 1000.0, "server_max_ms": 1000.0}
MORE_IS_BETTER = {"rate_to_one_by_one"}

Ask = Callable[[PolicyQuestion], Awaitable[bool]]


def subject(number: int) -> str:
    return f"00000000-0000-4000-8000-{number % USERS:012d}"


def question(number: int) -> PolicyQuestion:
    """Return what is asked at a user's join; every token is another one, so no answer is known before."""
    claims = {"sub": subject(number), "role": "authenticated", "iat": number}
    identity = Identity("authenticated", json.dumps(claims).encode(), 4e9)
    return PolicyQuestion(f"room:{number % USERS % ROOMS}", identity, b"{}")


async def one_by_one(pool: Pool, asked: PolicyQuestion) -> bool:
    """Ask as upstream does: a transaction for each, one statement after the other."""
    claims = asked.identity.claims.decode()
    settings = {
        "realtime.topic": asked.sub_topic,
        "request.jwt.claims": claims,
        "request.jwt.claim.sub": json.loads(claims)["sub"],
        "request.jwt.claim.role": asked.identity.role,
        "request.headers": "{}",
        "role": asked.identity.role,
    }
    async with pool.connection() as connection:
        await connection.execute("begin")
        inserted = await connection.execute(
            "insert into realtime.messages (topic, extension) values (%s, 'broadcast'), (%s, 'presence') returning id",
            (asked.sub_topic, asked.sub_topic),
        )
        ids = [identifier for (identifier,) in await inserted.fetchall()]
        chosen = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        await connection.execute(
            f"select {chosen}", list(itertools.chain.from_iterable(settings.items()))
        )
        found = await connection.execute(
            "select extension from realtime.messages where id = any(%s)", (ids,)
        )
        rows = await found.fetchall()
        await connection.execute("rollback")
    return len(rows) == 2


async def saturate(ask: Ask, numbers: itertools.count[int], seconds: float) -> dict[str, float]:
    """Let users ask without a pause, and count."""
    latencies: list[float] = []
    began = time.perf_counter()

    async def users() -> None:
        while time.perf_counter() - began < seconds:
            asked = question(next(numbers))
            since = time.perf_counter()
            assert await ask(asked)
            latencies.append(time.perf_counter() - since)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_A_TIME):
            nursery.start_soon(users)
    rate = len(latencies) / (time.perf_counter() - began)
    return {"per_s": rate, **figures(latencies)}


async def pace(
    join: Callable[[int], Awaitable[None]], numbers: itertools.count[int], seconds: float
) -> dict[str, float]:
    """Let users come at a steady rate, whether or not those before them are in."""
    latencies: list[float] = []

    async def user(due: float) -> None:
        await join(next(numbers))
        latencies.append(time.perf_counter() - due)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(int(seconds * PACE_PER_S)):
            due = began + number / PACE_PER_S
            await trio.sleep(max(0.0, due - time.perf_counter()))
            nursery.start_soon(user, due)
    return figures(latencies)


def figures(latencies: list[float]) -> dict[str, float]:
    hundredths = statistics.quantiles(latencies, n=100)
    return {
        "p50_ms": hundredths[49] * 1000,
        "p99_ms": hundredths[98] * 1000,
        "max_ms": max(latencies) * 1000,
    }


async def measure_policies(conninfo: str, options: argparse.Namespace) -> dict[str, Any]:
    policies = PostgresPolicies(conninfo, timeout_s=2.0)
    pool = Pool(conninfo, LANES, wait_s=60.0)
    numbers = itertools.count()

    async def together(asked: PolicyQuestion) -> bool:
        grants = await policies.may_read(asked, presence=True)
        return grants.broadcast and grants.presence

    async def alone(asked: PolicyQuestion) -> bool:
        return await one_by_one(pool, asked)

    async def join(number: int) -> None:
        assert await together(question(number))

    rounds = [
        {
            "one_by_one": await saturate(alone, numbers, options.seconds),
            "together": await saturate(together, numbers, options.seconds),
        }
        for _ in range(options.rounds)
    ]
    paced = await pace(join, numbers, options.paced)
    policies.close()
    pool.close()
    ratios = [one["together"]["per_s"] / one["one_by_one"]["per_s"] for one in rounds]
    return {"rounds": rounds, "rate_to_one_by_one": statistics.median(ratios), "paced": paced}


async def measure_server(port: int, options: argparse.Namespace) -> dict[str, float]:
    """Join with a token of one's own each, over some sockets that are open already."""
    answered: dict[str, trio.Event] = {}
    numbers = itertools.count()
    tokens = [
        mint("authenticated", sub=subject(number), iat=number)
        for number in range(int(options.paced * PACE_PER_S))
    ]
    target = f"/realtime/v1/websocket?apikey={mint()}&vsn=2.0.0"

    async def listen(sockets: list[Any], task_status: trio.TaskStatus[None]) -> None:
        async with open_websocket(port, target) as socket:
            sockets.append(socket)
            task_status.started()
            while True:
                _, ref, _, event, payload = json.loads(await socket.receive())
                if event == "phx_reply":
                    assert payload["status"] == "ok", payload
                    answered[ref].set()

    async def join(number: int) -> None:
        ref = str(number)
        answered[ref] = trio.Event()
        config = {"private": True, "presence": {"enabled": True}}
        payload = {"config": config, "access_token": tokens[number]}
        topic = f"realtime:room:{number % ROOMS}"
        await sockets[number % SOCKETS].send(json.dumps([ref, ref, topic, "phx_join", payload]))
        await answered[ref].wait()

    sockets: list[Any] = []
    async with trio.open_nursery() as nursery:
        for _ in range(SOCKETS):
            await nursery.start(listen, sockets)
        result = await pace(join, numbers, options.paced)
        nursery.cancel_scope.cancel()
    return result


async def prepare(conninfo: str) -> None:
    async with await connect(conninfo) as connection:
        await migrate(connection)
        await keep_partitions(connection, KEPT)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(SCHEMA)


def main() -> None:
    options = parse()
    with (
        postgres.running_server(wal_level="logical") as database,
        tempfile.TemporaryDirectory() as folder,
    ):
        conninfo = database.conninfo()
        trio.run(prepare, conninfo)
        policies = trio.run(measure_policies, conninfo, options)
        with running_server(Path(folder), {"REALTIME_DATABASE_URL": conninfo}) as server:
            joined = trio.run(measure_server, server.port, options)
    measured = {
        "rate_to_one_by_one": policies["rate_to_one_by_one"],
        **{f"paced_{name}": value for name, value in policies["paced"].items()},
        **{f"server_{name}": value for name, value in joined.items()},
    }
    result = {
        "workload": "private joins",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "at_a_time": AT_A_TIME,
        "paced_per_s": PACE_PER_S,
        "rounds": policies["rounds"],
        "measured": measured,
        "goals": GOALS,
        "machine": machine.describe() | {"note": options.note},
        "server": troupe_versions(),
    }
    for way in ("one_by_one", "together"):
        for one in policies["rounds"]:
            shown = "  ".join(f"{name} {value:8.1f}" for name, value in one[way].items())
            print(f"{way:12} {shown}")
    for name, value in measured.items():
        print(f"{name:24}{value:10.4g}{verdict(name, value)}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def verdict(name: str, value: float) -> str:
    goal = GOALS.get(name)
    if goal is None:
        return ""
    is_reached = value >= goal if name in MORE_IS_BETTER else value <= goal
    return f"{goal:10g}  {'reached' if is_reached else 'MISSED'}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=3, help="comparisons, one after the other"
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="length of each of their halves"
    )
    parser.add_argument("--paced", type=float, default=10.0, help="seconds of the steady rate")
    parser.add_argument("--note", default="", help="what else the machine did, for the file")
    default_output = BENCH / "results" / time.strftime("%Y-%m-%d-joins.json", time.gmtime())
    parser.add_argument(
        "--output", type=Path, default=default_output, help="JSON file to write"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
