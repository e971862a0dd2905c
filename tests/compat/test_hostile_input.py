"""What no stock client sends: the running server answers in the words of the contract, and goes on."""

from __future__ import annotations

import random
import socket

import pytest
import trio

from tests.support.tokens import mint
from tests.support.websocket import Closed, open_websocket

TARGET = f"/realtime/v1/websocket?apikey={mint()}&vsn=2.0.0"
HEARTBEAT = '[null,"9","phoenix","heartbeat",{}]'
ALIVE = '[null,"9","phoenix","phx_reply",{"status":"ok","response":{}}]'


async def expect_alive(client) -> None:
    await client.send(HEARTBEAT)
    assert await client.receive() == ALIVE


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "nonsense",
        "{}",
        "[]",
        "[" * 5000,
        '[null,"1","realtime:x"]',
        '{"topic":"realtime:x","event":"e","payload":{},"ref":"1"}',
        b"",
        b"\x07unknown kind",
        b"\x03\xff\xff\xff\xff\xff\x01short",
        random.Random(1).randbytes(1000),
    ],
    ids=repr,
)
async def test_a_malformed_frame_is_dropped_and_the_connection_lives_on(server, frame):
    async with open_websocket(server.port, TARGET) as client:
        with trio.fail_after(10):
            await client.send(frame)
            await expect_alive(client)


async def test_pushes_to_topics_that_are_not_joined_are_unmatched(server):
    async with open_websocket(server.port, TARGET) as client:
        with trio.fail_after(10):
            await client.send('["1","1","realtime:elsewhere","broadcast",{}]')
            unmatched = '{"status":"error","response":{"reason":"unmatched topic"}}'
            expected = f'[null,"1","realtime:elsewhere","phx_reply",{unmatched}]'
            assert await client.receive() == expected
            await client.send('["1","2","phoenix:x","phx_join",{}]')
            expected = f'[null,"2","phoenix:x","phx_reply",{unmatched}]'
            assert await client.receive() == expected


async def test_a_frame_of_five_million_bytes_passes_and_one_byte_more_closes_with_1009(server):
    async with (
        open_websocket(server.port, TARGET) as client,
        open_websocket(server.port, TARGET) as other,
    ):
        with trio.fail_after(30):
            await client.send("x" * 5_000_000)
            await expect_alive(client)
            await client.send("x" * 5_000_001)
            with pytest.raises(Closed) as caught:
                await client.receive()
            await expect_alive(other)

    assert caught.value.code == 1009


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (
            b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: " + b"a" * 20_000 + b"\r\n\r\n",
            b"HTTP/1.1 431",
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100, b"HTTP/1.1 400"),
        (b"NONSENSE\r\n\r\n", b"HTTP/1.1 400"),
        (
            f"GET {TARGET} HTTP/1.1\r\nhost: x\r\n\r\n".encode(),
            b"HTTP/1.1 400",
        ),
        (f"POST {TARGET} HTTP/1.1\r\nhost: x\r\n\r\n".encode(), b"HTTP/1.1 400"),
        (b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 404"),
    ],
    ids=["large head", "TLS", "no HTTP", "no upgrade", "no GET", "no such page"],
)
async def test_a_bad_request_is_answered_with_its_status(server, request_bytes, answer):
    with trio.fail_after(20):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(request_bytes)
            assert (await stream.receive_some(100)).startswith(answer)


async def test_half_open_sockets_garbage_and_resets_leave_the_server_unharmed(server):
    rng = random.Random(2)
    silent = []
    for number in range(200):
        raw = socket.create_connection(("127.0.0.1", server.port))
        if number % 4 == 0:
            silent.append(raw)
            continue
        if number % 4 == 1:
            raw.sendall(rng.randbytes(500))
        elif number % 4 == 2:
            raw.sendall(f"GET {TARGET} HTTP/1.1\r\nupgrade: websocket\r\n".encode())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()

    try:
        async with open_websocket(server.port, TARGET) as client:
            with trio.fail_after(10):
                await expect_alive(client)
    finally:
        for raw in silent:
            raw.close()
