"""Who is told that changes flow hears whatever is written from then on, and nothing from before the join.

Fifty clients join, write at once, listen and leave again, each at its own pace.
`TROUPE_TESTS=long` plays 1000 rounds.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
import trio
from attrs import define, field

from actors.db.driver import connect
from tests.support.extent import is_long
from tests.support.memory_tenant import read_message
from tests.support.numbers import join, leave, target
from tests.support.postgres import fresh_database
from tests.support.running_node import running_node
from tests.support.websocket import open_websocket

ROUNDS = 1000 if is_long() else 40
SUBSCRIBERS = 50
#: Few enough subscribers hear of each row, that delivering is not what takes the time.
TABLES = tuple(f"notes_{number}" for number in range(10))
#: Half of the topics have two subscribers, who come and go independently of one another.
TOPICS = 25
ROUND_WITHIN_S = 30.0
#: In seconds, for all rounds (`tests/conftest.py`).
DEADLINE_S = 1200.0 if is_long() else 240.0

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@define
class Ledger:
    """The rows of one table: whose insert has begun, and whose has been confirmed, in that order."""

    begun: list[int] = field(factory=list)
    confirmed: list[int] = field(factory=list)


@define
class Subscriber:
    """One client with a connection to Postgres of its own."""

    number: int
    ledgers: dict[str, Ledger]
    ids: itertools.count[int]
    missed: set[int] = field(factory=set)
    too_old: set[int] = field(factory=set)
    rounds: int = 0

    async def play(self, port: int, conninfo: str) -> None:
        """Play all rounds."""
        version = "2.0.0" if self.number % 3 else "1.0.0"
        topic = f"room{self.number % TOPICS}"
        table = TABLES[self.number % len(TABLES)]
        ledger = self.ledgers[table]
        binding = {"event": "INSERT", "schema": "public", "table": table}
        async with (
            await connect(conninfo) as connection,
            open_websocket(port, target(version)) as socket,
        ):

            async def write() -> int:
                row = next(self.ids)
                ledger.begun.append(row)
                await connection.execute(f"insert into {table} values ({row})")
                ledger.confirmed.append(row)
                return row

            async def next_message():
                return read_message(version, await socket.receive())

            for number in range(1, ROUNDS + 1):
                with trio.fail_after(ROUND_WITHIN_S):
                    await write()
                    before = frozenset(ledger.confirmed)
                    await socket.send(join(version, topic, binding, ref=f"join{number}"))
                    while (message := await next_message()).event != "system":
                        assert message.event == "phx_reply", message
                    assert message.payload["status"] == "ok", message
                    begun = len(ledger.begun)
                    # Whatever began after the ok and is confirmed before this client writes comes before its row.
                    await trio.lowlevel.checkpoint()
                    due = set(ledger.begun[begun:]) & set(ledger.confirmed)
                    own = await write()
                    heard = set()
                    while own not in heard:
                        message = await next_message()
                        assert message.event == "postgres_changes", message
                        heard.add(message.payload["data"]["record"]["id"])
                    self.missed |= due - heard
                    self.too_old |= before & heard
                    await socket.send(leave(version, topic, ref=f"join{number}"))
                    while (await next_message()).event != "phx_close":
                        pass
                self.rounds = number


async def test_a_row_written_after_the_ok_arrives_and_none_from_before_the_join(
    durable_server,
):
    ledgers: dict[str, Ledger] = defaultdict(Ledger)
    ids = itertools.count(1)
    subscribers = [Subscriber(number, ledgers, ids) for number in range(SUBSCRIBERS)]
    with fresh_database(durable_server, "notes") as database:
        names = ", ".join(TABLES)
        database.execute(
            *(f"create table {table} (id int primary key)" for table in TABLES),
            f"create publication supabase_realtime for table {names}",
            "do $$ begin create role anon; exception when duplicate_object then null; end $$",
            f"grant usage on schema public to anon; grant select on {names} to anon",
        )
        async with running_node(database.conninfo) as node, trio.open_nursery() as nursery:
            for subscriber in subscribers:
                nursery.start_soon(subscriber.play, node.port, database.conninfo)

    assert [subscriber.rounds for subscriber in subscribers] == [ROUNDS] * SUBSCRIBERS
    assert not any(subscriber.missed for subscriber in subscribers)
    too_old = sum(len(subscriber.too_old) for subscriber in subscribers)
    assert too_old == 0
