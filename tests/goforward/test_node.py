"""GoForward's WebSocket on a whole node over real sockets, without a database."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager

import trio

from tests.support.goforward import open_channel, path_of, user_token
from tests.support.running_node import running_node
from tests.support.tokens import SECRET
from tests.support.websocket import open_websocket

WITHIN_S = 20
MESSAGE_ID = re.compile(r"msg_[0-9]{13}_[0-9a-z]{6}")
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


@asynccontextmanager
async def node_of(**settings):
    """Run a node without a database and without back-offs."""
    quick = {"join_error_delay_s": 0.0, "connect_error_delay_s": 0.0, "jwt_secret": SECRET}
    with trio.fail_after(WITHIN_S):
        async with running_node(None, no_database=True, **quick, **settings) as node:
            yield node


async def test_a_broadcast_reaches_everybody_in_the_channel_its_sender_included():
    async with (
        node_of() as node,
        open_channel(node.port, "chat-room-1", "alice") as alice,
        open_channel(node.port, "chat-room-1", "bob") as bob,
    ):
        await alice.send("broadcast", "chat_message", message="Hello everyone!")

        for client in (alice, bob):
            message = await client.expect("message", "chat_message")
            assert message.keys() == {
                "id",
                "type",
                "event",
                "payload",
                "user_id",
                "timestamp",
            }
            assert message["payload"] == {"message": "Hello everyone!"}
            assert message["user_id"] == "alice"
            assert MESSAGE_ID.fullmatch(message["id"])
            assert TIMESTAMP.fullmatch(message["timestamp"])


async def test_a_ping_is_answered():
    async with node_of() as node, open_channel(node.port, "test-channel") as client:
        await client.send("ping", "ping")

        assert (await client.expect("pong", "pong"))["payload"] == {}


async def test_the_first_message_says_that_the_client_is_connected():
    async with node_of() as node:
        target = path_of("test-channel", token=user_token("alice"))
        async with open_websocket(node.port, target) as client:
            message = json.loads(await client.receive())

    assert (message["type"], message["event"]) == ("system", "connected")
    assert message["payload"] == {"channel": "test-channel"}
