"""Each close code in its situation, for a client of a node and of one made of memory: the table of spec 1.6.

The situations are the same for both; in memory the clock is virtual, so waiting costs nothing there.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define
from wsproto import events

from actors.realtime.tenant import Limits
from actors.web.app import site
from actors.web.options import WebOptions, WebSocketOptions
from actors.web.supabase import SupabaseEndpoint, SupabaseOptions
from protocol.frames import CloseCode
from protocol.phoenix.dialect import negotiate
from tests.support.memory_tenant import open_stage
from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint
from tests.support.web import RawClient, start_port

WITHIN_S = 30.0
IDLE_S = 1.0


@define
class Venue:
    """Where a situation is played: `crash` and `stop` do that to the one connection there."""

    _connect: object
    _key: str
    crash: object
    stop: object

    async def client(self):
        """Return a client behind its handshake."""
        client = RawClient(await self._connect())
        response = await client.upgrade(f"/socket/websocket?vsn=2.0.0&apikey={self._key}")
        assert response.status == 101
        return client


@asynccontextmanager
async def memory():
    async with open_stage(limits=Limits(join_error_delay_s=5.0)) as stage:
        supervisor = stage.connections_supervisor
        endpoint = SupabaseEndpoint(
            stage.tenant.verifier, stage.connections, negotiate, SupabaseOptions()
        )
        served = site(supabase=endpoint)
        options = WebOptions(websocket=WebSocketOptions(idle_s=IDLE_S))

        def connection():
            return supervisor.find(supervisor.children()[0].name)

        async with trio.open_nursery() as nursery:
            port = await start_port(nursery, served.application, served.websockets, options)

            async def connect():
                return port.listener.connect()

            async def stop():
                nursery.start_soon(supervisor.stop_child, connection())

            yield Venue(connect, "anon", lambda: supervisor.poison(connection()), stop)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def node():
    settings = {"no_database": True, "jwt_secret": SECRET, "idle_timeout_s": IDLE_S}
    with trio.fail_after(WITHIN_S):
        async with running_node(None, **settings) as running, trio.open_nursery() as nursery:

            async def connect():
                return await trio.open_tcp_stream("127.0.0.1", running.port)

            async def stop():
                name = running.connections.children()[0].name
                ref = running.connections.find(name)
                nursery.start_soon(running.connections.stop_child, ref)

            yield Venue(connect, mint(), lambda: running.tree.crash_actor("conn_1"), stop)


async def push(client, *parts) -> None:
    await client.send_event(events.TextMessage(json.dumps(parts)))


async def join(client, topic, **config) -> None:
    await push(client, "1", "1", topic, "phx_join", {"config": config})


async def told_until_closed(client):
    """Return the messages and the code that come, in order."""
    seen = []
    while not isinstance(seen[-1] if seen else None, int):
        seen.append(await client.event())
    return [json.loads(message) for message in seen[:-1]], seen[-1]


async def be_silent(_venue, _client):
    """Nothing is to be done for that."""


async def send_unmasked(_venue, client):
    await client.send(b"\x81\x02hi")


async def send_no_utf8(_venue, client):
    await client.send(b"\x81\x81\0\0\0\0\xff")


async def flood_a_pending_join(_venue, client):
    # A private topic is refused, which takes its time, and until then pushes wait.
    await join(client, "realtime:room", private=True)
    for _ in range(65):
        await push(client, "1", None, "realtime:room", "broadcast", {})


async def send_too_much(_venue, client):
    size = 5_000_001
    head = bytes([0x82, 0xFF]) + size.to_bytes(8, "big") + b"\0\0\0\0"
    await client.send(head + bytes(size))


async def meet_a_bug(venue, _client):
    assert venue.crash()


async def be_there_when_it_stops(venue, client):
    for topic in ("realtime:a", "realtime:b"):
        await join(client, topic)
        reply = json.loads(await client.event())
        assert reply[3:] == [
            "phx_reply",
            {"status": "ok", "response": {"postgres_changes": []}},
        ]
    await venue.stop()


def goodbye(topic):
    said = {"extension": "system", "status": "ok", "message": "Server requested disconnect"}
    return [None, None, topic, "system", said]


SITUATIONS = [
    (CloseCode.NORMAL, be_silent, []),
    (CloseCode.PROTOCOL_ERROR, send_unmasked, []),
    (CloseCode.INVALID_DATA, send_no_utf8, []),
    (CloseCode.POLICY, flood_a_pending_join, []),
    (CloseCode.TOO_BIG, send_too_much, []),
    (CloseCode.INTERNAL_ERROR, meet_a_bug, []),
    (
        CloseCode.SERVICE_RESTART,
        be_there_when_it_stops,
        [goodbye("realtime:a"), goodbye("realtime:b")],
    ),
]
# A limit on joins is off by default: tests/transcripts/dialogues/max_joins_per_second_v2.txt.
# A client without channels: no_channel_v2.txt beside it; a slow reader: test_slow_consumer.py.
ELSEWHERE = {CloseCode.GOING_AWAY}


async def play(venue, situation, code, messages):
    client = await venue.client()
    async with client.stream:
        await situation(venue, client)

        assert await told_until_closed(client) == (messages, code)
        # A client that answers is let go, whatever the code.
        await client.send_event(events.CloseConnection(code))
        assert await client.is_at_end()


@pytest.mark.parametrize(("code", "situation", "messages"), SITUATIONS)
async def test_a_client_in_memory_is_told_why(autojump_clock, code, situation, messages):
    async with memory() as venue:
        await play(venue, situation, code, messages)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "situation", "messages"), SITUATIONS)
async def test_a_client_of_a_node_is_told_why(code, situation, messages):
    async with node() as venue:
        await play(venue, situation, code, messages)


def test_every_code_has_its_situation():
    assert {code for code, _, _ in SITUATIONS} | ELSEWHERE == set(CloseCode)
