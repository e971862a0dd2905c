"""What trio-websocket answers, and that it is gone afterwards; a contract with its releases."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.errors import SocketClosed
from actors.web.handshake import switching_protocols
from tests.support.web import WebSocketPeers, text

#: RFC 6455, section 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#: What no parser takes for the value of a header.
NO_VALUE = b"\0"


async def test_the_answer_is_that_of_the_standard_and_agrees_on_nothing_else(autojump_clock):
    head, end, rest = (await switching_protocols(KEY)).partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")

    assert status == b"HTTP/1.1 101 Switching Protocols"
    assert {name.lower(): value for name, _, value in (f.partition(b": ") for f in fields)} == {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-accept": ACCEPT,
    }
    assert (end, rest) == (b"\r\n\r\n", b"")


async def test_the_library_leaves_no_task_behind(autojump_clock):
    before = trio.lowlevel.current_statistics().tasks_living

    await switching_protocols(KEY)

    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_what_the_library_does_not_accept_is_not_waited_for(autojump_clock):
    assert await switching_protocols(NO_VALUE) == b""


async def test_a_client_whose_handshake_fails_hears_nothing_and_is_closed(autojump_clock):
    peers = WebSocketPeers(key=NO_VALUE)
    start = trio.current_time()

    with pytest.raises(SocketClosed):
        async with peers.open_socket():
            pytest.fail("there was no handshake")

    assert trio.current_time() - start <= 2
    assert peers.transport.is_closed


async def test_the_first_frame_that_is_pushed_comes_behind_the_answer(autojump_clock):
    peers = WebSocketPeers()

    async with peers.open_socket() as socket:
        socket.outbox.push(text("first"))
        await peers.receive_101()
        assert await peers.client.event() == "first"
