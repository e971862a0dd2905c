"""Limits of a whole node over real sockets: what its settings make of a client, and what is said while it stops."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest
import trio

from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint
from tests.support.websocket import Closed, open_websocket

WITHIN_S = 10


@asynccontextmanager
async def node_of(**settings):
    """Run a node without a database and without back-offs."""
    quick = {"join_error_delay_s": 0.0, "connect_error_delay_s": 0.0, "jwt_secret": SECRET}
    with trio.fail_after(WITHIN_S):
        async with running_node(None, no_database=True, **quick, **settings) as node:
            yield node


def connect(node):
    query = urlencode({"vsn": "2.0.0", "apikey": mint()})
    return open_websocket(node.port, f"/realtime/v1/websocket?{query}")


async def join(client, topic: str = "realtime:a") -> dict:
    """Join and return the payload of the reply."""
    await client.send(json.dumps(["1", "1", topic, "phx_join", {"config": {}}]))
    event = ""
    while event != "phx_reply":
        *_, event, payload = json.loads(await client.receive())
    return payload


async def is_let_in(node) -> bool:
    try:
        async with connect(node) as client:
            return (await join(client))["status"] == "ok"
    except Closed:
        return False


@pytest.mark.capability("M5-028", "AG-010")
async def test_a_broadcast_needs_no_database():
    async with node_of() as node, connect(node) as sender, connect(node) as receiver:
        for client in (sender, receiver):
            await join(client)
        payload = {"type": "broadcast", "event": "hello", "payload": {"x": 1}}
        await sender.send(json.dumps(["1", "2", "realtime:a", "broadcast", payload]))

        *_, event, heard = json.loads(await receiver.receive())

        assert (event, heard["payload"]) == ("broadcast", {"x": 1})


async def test_a_full_node_turns_the_next_client_away_until_one_leaves():
    async with node_of(max_concurrent_users=1) as node:
        async with connect(node) as first:
            assert (await join(first))["status"] == "ok"
            with pytest.raises(Closed) as refused:
                async with connect(node):
                    pass
            assert refused.value.code == 429
        # When the server learns that the first is gone is up to the kernel.
        while not await is_let_in(node):
            await trio.lowlevel.checkpoint()


async def test_a_suspended_node_turns_everybody_away():
    async with node_of(suspend=True) as node:
        with pytest.raises(Closed) as refused:
            async with connect(node):
                pass
        assert refused.value.code == 403


async def test_a_setting_reaches_the_joins():
    async with (
        node_of(limits="supabase", max_channels_per_client=1) as node,
        connect(node) as client,
    ):
        await join(client)

        assert (await join(client, "realtime:b"))["response"] == {
            "reason": "ChannelRateLimitReached: Too many channels"
        }


async def test_a_private_node_lets_nobody_into_a_public_channel():
    async with node_of(private_only=True) as node, connect(node) as client:
        assert (await join(client))["response"] == {
            "reason": "PrivateOnly: This project only allows private channels"
        }


async def test_a_frame_that_is_too_big_closes_with_1009():
    async with node_of() as node, connect(node) as client:
        await client.send("x" * 5_000_001)
        with pytest.raises(Closed) as closed:
            await client.receive()

        assert closed.value.code == 1009


async def test_a_node_that_stops_lets_nobody_join_any_more():
    # An exchange in flight keeps the port up for a while, and the clients with it.
    head = b"POST /healthcheck HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    async with (
        node_of() as node,
        connect(node) as client,
        await trio.open_tcp_stream("127.0.0.1", node.port) as pending,
        trio.open_nursery() as nursery,
    ):
        await pending.send_all(head)
        assert (await join(client))["status"] == "ok"
        nursery.start_soon(node.root.stop_child, node.root.find("acceptor"))
        reply = {"status": "ok"}
        while reply["status"] == "ok":
            reply = await join(client)

        assert reply["response"] == {
            "reason": "RealtimeRestarting: Realtime is restarting, please standby"
        }
