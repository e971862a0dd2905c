"""What Postgres keeps of its log for us: enough for a restart, no more than that, and never in the way of its own end.

`TROUPE_TESTS=long` writes 2 GB past us, and a million rows at once to us.
"""

from __future__ import annotations

import json
import random
import re
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import trio

from tests.support.extent import is_long
from tests.support.numbers import SCHEMA, Follower, NumberWriter
from tests.support.operating import Operator
from tests.support.postgres import fresh_database
from tests.support.running_node import running_node
from tests.support.server import running_server
from tests.support.tokens import mint
from tests.support.websocket import open_websocket

MIB = 1024 * 1024
WRITTEN_BYTES = 2048 * MIB if is_long() else 200 * MIB
#: A few segments and what was written since the last round of housekeeping.
RETAINED_BYTES = 64 * MIB
ON_DISK_BYTES = 160 * MIB
#: About 10 MB of rows; plain storage, or they would be compressed.
WRITE_UNPUBLISHED = (
    "insert into unpublished select repeat(md5(n::text), 60) from generate_series(1, 5000) n"
)
UNPUBLISHED = (
    "create table unpublished (body text)",
    "alter table unpublished alter column body set storage plain",
)
RETAINED = """
    select max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::bigint,
        (select sum(size) from pg_ls_waldir())::bigint
    from pg_replication_slots where database = current_database()
"""
ROWS_BEFORE, ROWS_MEANWHILE = 300, 100
SETTLED_WITHIN_S = 90.0
FAST_S = 2.0
LARGE_ROWS = 1_000_000 if is_long() else 50_000
#: The change log's 64 MB and as much again for the objects around them, chunks and outboxes.
LARGE_BYTES = 160 * MIB
DEADLINE_S = 600.0 if is_long() else 240.0

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def numbers(durable_server):
    """A database with an empty table of numbers."""
    with fresh_database(durable_server, "numbers") as database:
        database.execute(*SCHEMA)
        yield database


@asynccontextmanager
async def writing(numbers):
    """Write numbers in the background."""
    writer = NumberWriter(numbers.conninfo, random.Random(1), (1, 1, 10))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, 0.005)
            yield writer
            nursery.cancel_scope.cancel()
        await writer.settle()
    finally:
        writer.close()


async def wait_until(condition, within_s: float = SETTLED_WITHIN_S) -> None:
    """Look again and again, in a thread, until the condition holds."""
    with trio.fail_after(within_s):
        while not await trio.to_thread.run_sync(condition):  # noqa: ASYNC110  # nobody tells us
            await trio.sleep(0.02)


async def test_a_server_that_was_killed_reads_again_what_its_log_held(numbers, tmp_path):
    settings = {"REALTIME_DATABASE_URL": numbers.conninfo}
    with running_server(tmp_path, settings) as server:
        operator = Operator(server.url)

        def figure(name: str) -> int:
            found = re.search(rf"^realtime_{name} (\S+)", operator.metrics(), re.MULTILINE)
            return int(float(found[1])) if found else 0

        def received() -> int:
            return figure("changes_received_total")

        await wait_until(lambda: figure("source_live") == 1)
        async with writing(numbers) as writer:
            await wait_until(lambda: received() >= ROWS_BEFORE)
            await trio.to_thread.run_sync(server.stop, signal.SIGKILL)
            killed_at = writer.committed
            await wait_until(lambda: writer.committed >= killed_at + ROWS_MEANWHILE)
        await trio.to_thread.run_sync(server.start)

        await wait_until(lambda: received() >= writer.committed)
        assert received() == writer.committed


async def test_what_others_write_past_us_is_not_kept(numbers):
    numbers.execute(*UNPUBLISHED)
    retained, written = [], 0
    async with running_node(numbers.conninfo) as node:
        client = Follower("room", "2.0.0", lambda: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.follow, node.port)
            await client.is_subscribed.wait()
            with psycopg.connect(numbers.conninfo, autocommit=True) as connection:

                def write_past_us() -> int:
                    (before,) = connection.execute("select pg_current_wal_lsn()").fetchone()
                    connection.execute(WRITE_UNPUBLISHED)
                    connection.execute("truncate unpublished")
                    # A slot moves on only past a record of what runs, which a checkpoint writes.
                    connection.execute("checkpoint")
                    ahead = "select (pg_current_wal_lsn() - %s::pg_lsn)::bigint"
                    return connection.execute(ahead, (before,)).fetchone()[0]

                while written < WRITTEN_BYTES:
                    written += await trio.to_thread.run_sync(write_past_us)
                    retained.append(connection.execute(RETAINED).fetchone())

                def is_settled() -> bool:
                    connection.execute("checkpoint")
                    retained.append(connection.execute(RETAINED).fetchone())
                    lag, on_disk = retained[-1]
                    return lag <= RETAINED_BYTES and on_disk <= ON_DISK_BYTES

                await wait_until(is_settled)
            nursery.cancel_scope.cancel()

    assert written > RETAINED_BYTES, retained


async def test_postgres_stops_fast_while_we_stream(numbers):
    server = numbers.server
    async with running_node(numbers.conninfo) as node, trio.open_nursery() as nursery:
        client = Follower("room", "2.0.0", lambda: None)
        nursery.start_soon(client.follow, node.port)
        await client.is_subscribed.wait()
        async with writing(numbers) as writer:
            await client.wait_heard(20)
            try:
                # Raises when it takes longer.
                await trio.to_thread.run_sync(server.stop, signal.SIGINT, FAST_S)
            finally:
                await trio.to_thread.run_sync(server.start)
            await client.wait_heard(writer.committed + 1)
        nursery.cancel_scope.cancel()

    assert client.wrong is None


async def test_a_large_transaction_arrives_whole_in_order_and_in_bounded_memory(
    numbers, tmp_path
):
    numbers.execute(
        "create table large (n int primary key, body text)",
        "alter publication supabase_realtime add table large",
        "grant select on large to anon",
    )
    with running_server(tmp_path, {"REALTIME_DATABASE_URL": numbers.conninfo}) as server:
        status = Path(f"/proc/{server.process_id}/status")

        def resident_bytes() -> int:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1]) * 1024

        target = f"/realtime/v1/websocket?apikey={mint()}&vsn=2.0.0"
        binding = {"event": "*", "schema": "public", "table": "large"}
        config = {"config": {"postgres_changes": [binding]}}
        async with open_websocket(server.port, target) as socket:
            await socket.send(json.dumps(["1", "1", "realtime:large", "phx_join", config]))
            while "Subscribed to PostgreSQL" not in await socket.receive():
                pass
            before = peak = resident_bytes()
            write = "insert into large select n, repeat('x', 50) from generate_series(1, {}) n"
            await trio.to_thread.run_sync(numbers.execute, write.format(LARGE_ROWS))
            for number in range(1, LARGE_ROWS + 1):
                *_head, payload = json.loads(await socket.receive())
                assert "data" in payload, payload
                assert payload["data"]["record"]["n"] == number
                if number % 10_000 == 0:
                    peak = max(peak, resident_bytes())

    assert peak - before < LARGE_BYTES
