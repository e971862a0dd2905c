"""What a request to upgrade is answered: what trio-websocket answers it, byte for byte."""

from __future__ import annotations

import base64

import trio
import trio_websocket
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from actors.web.handshake import switching_protocols
from tests.support.web import KEY as SAMPLE
from tests.support.web import WebSocketPeers, text, upgrade_head

#: RFC 6455, section 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

keys = st.binary(min_size=16, max_size=16).map(base64.b64encode)


async def by_trio_websocket(key: bytes) -> bytes:
    """Return what the library answers to a request with this key, which asks for an extension and a subprotocol."""
    asks = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: phoenix\r\n"
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await client.send_all(upgrade_head(extra=asks).replace(SAMPLE, key))
        request = await trio_websocket.wrap_server_stream(nursery, server)
        await request.accept()
        answer = await client.receive_some()
        nursery.cancel_scope.cancel()
    return bytes(answer)


@given(keys)
def test_the_answer_is_that_of_trio_websocket(key):
    assert switching_protocols(key) == trio.run(by_trio_websocket, key)


def test_the_answer_is_that_of_the_standard_and_agrees_on_nothing_else():
    head, end, rest = switching_protocols(KEY).partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")

    assert status == b"HTTP/1.1 101 Switching Protocols"
    assert {name.lower(): value for name, _, value in (f.partition(b": ") for f in fields)} == {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-accept": ACCEPT,
    }
    assert (end, rest) == (b"\r\n\r\n", b"")


async def test_the_first_frame_that_is_pushed_comes_behind_the_answer(autojump_clock):
    peers = WebSocketPeers()

    async with peers.open_socket() as socket:
        socket.outbox.push(text("first"))
        await peers.receive_101()
        assert await peers.client.event() == "first"
