"""Two hundred clients on real sockets and a real Postgres, while their actors crash twenty times.

Nobody is disconnected, exactly the poison is lost, and order holds; without the heir the same play fails.
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio

from actors.auth.tokens import mint
from actors.core.errors import Poisoned
from actors.core.supervisor import Supervisor
from actors.realtime.messages import ChannelKey
from actors.settings import DEVELOPMENT_SECRET
from tests.support.memory_tenant import Heirless, find_rows, read_message
from tests.support.running_node import running_node
from tests.support.tripwire import lay_tripwire
from tests.support.websocket import open_websocket

if TYPE_CHECKING:
    from actors.node import Node

TOPICS = 10
CLIENTS = 200
BROADCASTS = 60
ROWS = 40
CRASHES = 20

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


class Listener:
    """A client that joins one topic and notes the numbers it hears, until it has heard enough or is cut off."""

    def __init__(self, number: int) -> None:
        self.topic = f"room{number % TOPICS}"
        self.version = "2.0.0" if number % 3 else "1.0.0"
        self.broadcasts: list[int] = []
        self.rows: list[int] = []
        self.others: list[str] = []
        self.is_subscribed = trio.Event()
        self.is_done = trio.Event()

    async def listen(self, port: int) -> None:
        async with open_websocket(port, target(self.version)) as socket:
            binding = {"event": "INSERT", "schema": "public", "table": "numbers"}
            await socket.send(
                frame(
                    self.version,
                    self.topic,
                    "phx_join",
                    {"config": {"postgres_changes": [binding]}},
                )
            )
            while True:
                message = read_message(self.version, await socket.receive())
                self.note(message)
                if len(self.broadcasts) >= BROADCASTS and len(self.rows) >= ROWS:
                    self.is_done.set()

    def note(self, message) -> None:
        match message.event:
            case "broadcast":
                self.broadcasts.append(message.payload["payload"]["n"])
            case "postgres_changes":
                self.rows.append(message.payload["data"]["record"]["n"])
            case "system":
                self.is_subscribed.set()
                self.others.append(message.payload["status"])
            case _:
                self.others.append(message.event)


def target(version):
    key = mint(DEVELOPMENT_SECRET, "anon", time.time() + 3600)  # noqa: TID251
    return f"/realtime/v1/websocket?apikey={key}&vsn={version}"


def frame(version, topic, event, payload):
    if version == "2.0.0":
        return json.dumps(["1", "1", f"realtime:{topic}", event, payload])
    body = {"topic": f"realtime:{topic}", "event": event, "payload": payload, "ref": "1"}
    return json.dumps({**body, "join_ref": "1"})


async def crash(node: Node, find, channel: ChannelKey, how: str) -> None:
    """Poison an actor's mailbox, fail it wherever it waits, or lay a tripwire into its fan-out."""
    supervisor = node.channels
    ref = find(supervisor, channel)
    if ref is None:
        return
    if how == "poison":
        # The few places of a mailbox may all be taken while an actor gathers rows.
        while not supervisor.poison(ref):
            await trio.lowlevel.checkpoint()
    elif how == "fail":
        supervisor.fail(ref, Poisoned("at a waiting point"))
    else:
        lay_tripwire(supervisor, channel, ref, at=lambda _subscription: True)


async def publish(port: int, topic: str, node: Node, crashes) -> None:
    """Publish the numbers on a topic, with crashes between them."""
    async with open_websocket(port, target("2.0.0")) as socket:
        await socket.send(frame("2.0.0", topic, "phx_join", {"config": {}}))
        await socket.receive()
        for number in range(BROADCASTS):
            body = {"type": "broadcast", "event": "n", "payload": {"n": number}}
            await socket.send(frame("2.0.0", topic, "broadcast", body))
            if number % 7 == 3 and (planned := next(crashes, None)):
                await crash(node, *planned)
            await trio.sleep(0.01)
        await trio.sleep_forever()


async def write_rows(conninfo: str, node: Node, crashes) -> None:
    async def insert(number):
        await trio.to_thread.run_sync(
            execute, conninfo, "insert into numbers values (%s)", number
        )

    for number in range(ROWS):
        await insert(number)
        if number % 4 == 1 and (planned := next(crashes, None)):
            await crash(node, *planned)


def execute(conninfo: str, statement: str, *values) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statement, values or None)


def plan(seed: int):
    """Return crashes of channels and of rows actors, two of each topic's pair, in random order."""
    rng = random.Random(seed)
    hows = ("poison", "fail", "tripwire")
    places = [(ChannelKey("default", False, f"room{n}"), hows[n % 3]) for n in range(TOPICS)]
    channels = [(Supervisor.find, *place) for place in places]
    rows = [(find_rows, *place) for place in places]
    rng.shuffle(channels)
    rng.shuffle(rows)
    return channels, rows


async def play(
    conninfo: str, seed: int, patience_s: float = 30.0
) -> tuple[Node, list[Listener]]:
    """Run the whole evening and return who heard what."""
    execute(
        conninfo,
        "create table numbers (n int primary key);"
        "create publication supabase_realtime for table numbers;"
        "do $$ begin create role anon; exception when duplicate_object then null; end $$;"
        "grant usage on schema public to anon; grant select on numbers to anon",
    )
    listeners = [Listener(number) for number in range(CLIENTS)]
    channels, rows = plan(seed)
    async with running_node(conninfo) as node, trio.open_nursery() as nursery:
        with trio.fail_after(60):
            for listener in listeners:
                nursery.start_soon(listener.listen, node.port)
            for listener in listeners:
                await listener.is_subscribed.wait()
        channel_crashes, row_crashes = iter(channels), iter(rows)
        for number in range(TOPICS):
            nursery.start_soon(publish, node.port, f"room{number}", node, channel_crashes)
        nursery.start_soon(write_rows, conninfo, node, row_crashes)
        with trio.move_on_after(patience_s):
            for listener in listeners:
                await listener.is_done.wait()
        nursery.cancel_scope.cancel()
    return node, listeners


def crashes_counted(node: Node) -> float:
    counters = node._metrics.actor_crashes
    return sum(counters[kind]._value.get() for kind in ("channel", "rows"))


@pytest.mark.parametrize("seed", [1, 2])
async def test_twenty_crashes_are_noticed_by_none_of_two_hundred_clients(database, seed):
    node, listeners = await play(database.conninfo, seed)

    assert crashes_counted(node) == CRASHES
    for listener in listeners:
        assert listener.broadcasts == list(range(BROADCASTS))
        assert listener.rows == list(range(ROWS))
        assert listener.others == ["phx_reply", "ok"]


async def test_without_the_heir_the_same_evening_is_a_disaster(database, monkeypatch):
    monkeypatch.setattr("actors.node.Channels", Heirless)

    _, listeners = await play(database.conninfo, 1, patience_s=4.0)

    assert any(listener.broadcasts != list(range(BROADCASTS)) for listener in listeners)
