"""Fluxbase's WebSocket on a whole node over real sockets, without a database: sizes of frames, and real tokens."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager

import pytest
import trio

from actors.web.fluxbase import FRAME_BYTES
from tests.support.fluxbase import open_fluxbase
from tests.support.goforward import user_token
from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint
from tests.support.websocket import Closed

WITHIN_S = 20
ROOM = "chat"


@asynccontextmanager
async def node_of(**settings):
    """Run a node without a database and without back-offs."""
    quick = {"join_error_delay_s": 0.0, "connect_error_delay_s": 0.0, "jwt_secret": SECRET}
    with trio.fail_after(WITHIN_S):
        async with running_node(None, no_database=True, **quick, **settings) as node:
            yield node


def broadcast_of(size: int) -> str:
    """Return a broadcast that has so many bytes."""
    message = {"type": "broadcast", "channel": ROOM, "event": "e", "messageId": "m"}
    empty = len(json.dumps({**message, "payload": ""}))
    return json.dumps({**message, "payload": "x" * (size - empty)})


async def read_to_the_end(client) -> None:
    while True:
        await client.next()


@pytest.mark.capability("FB-073")
async def test_a_frame_has_512_kilobytes_at_most():
    async with node_of() as node, open_fluxbase(node.port) as other:
        await other.subscribed(ROOM)
        async with open_fluxbase(node.port) as client:
            await client.subscribed(ROOM)
            await client.say_raw(broadcast_of(FRAME_BYTES))
            assert {(await client.next())["type"] for _ in range(2)} == {"ack", "broadcast"}
            await client.say_raw(broadcast_of(FRAME_BYTES + 1))
            with pytest.raises(Closed) as closed:
                await client.next()
        assert closed.value.code == 1009

        assert len((await other.next())["payload"]["broadcast"]["payload"]) > FRAME_BYTES - 200
        await other.say("broadcast", ROOM, event="still here")
        assert (await other.next())["payload"]["broadcast"]["event"] == "still here"


async def test_a_binary_frame_is_an_error_and_ends_nothing():
    async with node_of() as node, open_fluxbase(node.port) as client:
        await client.say_raw(b'{"type":"subscribe","channel":"chat"}')
        assert (await client.next())["type"] == "error"
        await client.subscribed(ROOM)


@pytest.mark.parametrize(
    "token",
    [
        mint("authenticated", sub="ann", expires_at=1),
        mint("authenticated", sub="ann", secret="x" * 32),
        mint("authenticated", sub="ann").rpartition(".")[0] + ".",
        "eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIiwiZXhwIjo5OTk5OTk5OTk5fQ.",
    ],
    ids=["expired", "other key", "no signature", "none"],
)
async def test_a_token_that_is_no_good_opens_nothing_and_ends_what_is_open(token):
    async with node_of() as node:
        with pytest.raises(Closed) as refused:
            async with open_fluxbase(node.port, token):
                pass
        assert refused.value.code == 401

        async with open_fluxbase(node.port, user_token("ann")) as client:
            await client.subscribed(ROOM)
            await client.say("access_token", token=token)
            assert (await client.next())["type"] == "error"
            with pytest.raises(Closed) as closed:
                await client.next()
        assert closed.value.code == 1008


async def test_a_token_that_expires_ends_the_connection():
    soon = mint("authenticated", sub="ann", expires_at=time.time() + 2)  # noqa: TID251
    async with node_of() as node, open_fluxbase(node.port, soon) as client:
        await client.subscribed(ROOM)
        assert "expired" in (await client.next())["error"]
        with pytest.raises(Closed) as closed:
            await client.next()
    assert closed.value.code == 1008


async def test_who_does_not_read_is_cut_and_the_others_are_not_held_up():
    settings = {"outbox_bytes": 100_000, "fluxbase_heartbeat_s": 0.05}
    async with (
        node_of(**settings) as node,
        open_fluxbase(node.port) as stalled,
        open_fluxbase(node.port) as reader,
        open_fluxbase(node.port) as writer,
    ):
        await stalled.subscribed(ROOM)
        await reader.subscribed(ROOM)
        for number in range(400):
            payload = {"n": number, "filling": "x" * 30_000}
            await writer.say("broadcast", ROOM, event="e", payload=payload)
            assert (await writer.next())["payload"]["broadcast"]["payload"]["n"] == number
            assert (await reader.next())["payload"]["broadcast"]["payload"]["n"] == number

        with pytest.raises(Closed) as closed:
            await read_to_the_end(stalled)
        assert closed.value.code in (1006, 1008)
