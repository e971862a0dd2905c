"""Broadcasts that are stored in bursts reach every client once and in order, whatever crashes meanwhile.

A writer calls `realtime.send` with 1, 2, 3, … in transactions of many and of one, while the listener crashes twice,
the relay once, and Postgres is restarted.
`TROUPE_TESTS=long` sends 10 000.
"""

from __future__ import annotations

import json
import math
import random

import pytest
import trio

from actors.core.errors import Poisoned
from actors.core.spec import Intensity
from actors.db.driver import connect
from actors.db.janitor import KEPT
from actors.db.partitions import keep_partitions
from actors.db.schema import migrate
from tests.support.extent import is_long
from tests.support.memory_tenant import read_message
from tests.support.numbers import Follower, NumberWriter, push, target
from tests.support.postgres import fresh_database
from tests.support.running_node import running_node
from tests.support.websocket import open_websocket

TOTAL = 10_000 if is_long() else 500
SIZES = (1, 1, 1, 5, 20, 60) if not is_long() else (1, 5, 50, 200, 600)
FOLLOWERS = 4
#: Joins with a replay, of each version.
REPLAYS = 100 if is_long() else 10
DEADLINE_S = 600.0 if is_long() else 120.0
RECOVERY_S = 60.0
SEND = """
    with number as (select n from generate_series(%s::int, %s::int) n)
    select realtime.send(jsonb_build_object('n', n), 'number', 'numbers', false) from number
    where not exists (select from realtime.messages m where (m.payload ->> 'n')::int = n)
"""

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


class SendingWriter(NumberWriter):
    """Sends the numbers instead of inserting them."""

    insert = SEND


class BroadcastFollower(Follower):
    """Hears the numbers as broadcasts."""

    def join(self) -> str:
        return push(self.version, self.topic, "phx_join", {"config": {}}, "1")

    def _note(self, message) -> None:
        match message.event:
            case "phx_reply":
                super()._note(message)
                self.is_subscribed.set()
            case "number":
                self._count(json.loads(message.payload)["n"])
            case "broadcast":
                self._count(message.payload["payload"]["n"])
            case _:
                super()._note(message)


async def test_every_stored_broadcast_comes_once_and_in_order(durable_server, monkeypatch):
    monkeypatch.setattr("actors.node.ENDLESS", Intensity(math.inf, period=2.0))
    rng = random.Random(1)
    with fresh_database(durable_server, "sent") as database:
        async with await connect(database.conninfo) as connection:
            await migrate(connection)
            await keep_partitions(connection, KEPT)
        writer = SendingWriter(database.conninfo, rng, SIZES)
        async with trio.open_nursery() as nursery, running_node(database.conninfo) as node:
            followers = [
                BroadcastFollower("numbers", version, nursery.cancel_scope.cancel)
                for version in ("1.0.0", "2.0.0") * (FOLLOWERS // 2)
            ]
            for follower in followers:
                nursery.start_soon(follower.follow, node.port)
            with trio.fail_after(RECOVERY_S):
                for follower in followers:
                    await follower.is_subscribed.wait()
                await _wait_live(node)
            faults = [_crash(node, "listener"), _restart(durable_server)]
            faults += [_crash(node, "listener"), _crash(node, "relay")]
            for part, fault in enumerate(faults, 1):
                nursery.start_soon(fault)
                while writer.committed < TOTAL * part // len(faults):
                    left = TOTAL - writer.committed
                    await writer.commit(min(rng.choice(SIZES), left))
            with trio.move_on_after(RECOVERY_S):
                for follower in followers:
                    await follower.wait_heard(TOTAL)
            nursery.cancel_scope.cancel()
        writer.close()

    assert [follower.wrong for follower in followers] == [None] * FOLLOWERS
    assert {follower.last for follower in followers} == {TOTAL}
    # A crash may come while the stream is down anyway.
    assert node._metrics.source_reconnects._value.get() >= 1
    crashes = node._metrics.actor_crashes
    assert crashes["listener"]._value.get() == 2
    assert crashes["relay"]._value.get() == 1


class PrivateWriter(NumberWriter):
    """Sends the numbers to the private topic."""

    insert = SEND.replace("false", "true")


async def _replayed(port: int, version: str, writer: NumberWriter) -> list[int]:
    """Join with a replay while numbers are sent; return what is heard up to some number that is sent then."""
    heard: list[int] = []
    replay = {"private": True, "broadcast": {"replay": {"since": 0}}}
    async with open_websocket(port, target(version, "service_role")) as socket:
        await socket.send(push(version, "numbers", "phx_join", {"config": replay}, "1"))
        reply = read_message(version, await socket.receive())
        assert reply.payload["status"] == "ok", reply
        last = writer.committed + 20
        while not heard or heard[-1] < last:
            message = read_message(version, await socket.receive())
            is_binary = isinstance(message.payload, bytes)
            payload = json.loads(message.payload) if is_binary else message.payload["payload"]
            heard.append(payload["n"])
    return heard


async def test_replays_while_others_send_miss_and_repeat_nothing(durable_server):
    with fresh_database(durable_server, "replayed") as database:
        async with await connect(database.conninfo) as connection:
            await migrate(connection)
            await keep_partitions(connection, KEPT)
        writer = PrivateWriter(database.conninfo, random.Random(2), (1, 1, 1, 3))
        outcomes: dict[tuple[str, int], list[int]] = {}

        async def join_often(version: str) -> None:
            for time in range(REPLAYS):
                outcomes[version, time] = await _replayed(node.port, version, writer)

        async with trio.open_nursery() as nursery, running_node(database.conninfo) as node:
            await _wait_live(node)
            nursery.start_soon(writer.write, 0.005)
            async with trio.open_nursery() as joiners:
                for version in ("1.0.0", "2.0.0"):
                    joiners.start_soon(join_often, version)
            nursery.cancel_scope.cancel()
        writer.close()

    assert len(outcomes) == 2 * REPLAYS
    for heard in outcomes.values():
        assert heard == list(range(heard[0], heard[0] + len(heard)))
    assert any(heard[0] > 1 for heard in outcomes.values())


async def _wait_live(node) -> None:
    """Wait until the stream is there, as a client may by `replication_ready`."""
    async with open_websocket(node.port, target("2.0.0")) as socket:
        config = {"config": {"broadcast": {"replication_ready": True}}}
        await socket.send(push("2.0.0", "ready", "phx_join", config, "1"))
        while "Replication connection established" not in await socket.receive():
            pass


def _crash(node, name: str):
    async def crash() -> None:
        for supervisor in node.tree.supervisors():
            ref = supervisor.find(name)
            if ref is not None:
                supervisor.fail(ref, Poisoned("for a test"))

    return crash


def _restart(server):
    async def restart() -> None:
        await trio.to_thread.run_sync(server.stop)
        await trio.to_thread.run_sync(server.start)

    return restart
