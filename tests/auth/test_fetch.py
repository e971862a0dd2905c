"""Fetching a JWKS over a real socket, from servers that behave and from those that do not."""

from __future__ import annotations

import zlib
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from structlog.testing import capture_logs

from actors.auth.fetch import HttpKeySet
from actors.auth.keys import MAX_KEY_SET_BYTES
from actors.auth.rotation import KeyRing, refresher_spec
from actors.auth.tokens import JwtVerifier
from actors.realtime.errors import Unavailable
from actors.telemetry.metrics import Metrics
from tests.support.signing import key_set, rsa_key
from tests.support.stage import stage

NOW = 1_800_000_000.0
OLD, NEW = rsa_key("old"), rsa_key("new", number=1)
DEADLINE_S = 20


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
async def deadline(nursery):
    async def end():
        await trio.sleep(DEADLINE_S)
        raise TimeoutError

    nursery.start_soon(end)


def answer(body: bytes, status="200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body


class WebServer:
    """Answers every request with the bytes of `said`; `requests` are the heads it received."""

    def __init__(self, port: int) -> None:
        self.said = answer(b'{"keys": []}')
        self.requests: list[bytes] = []
        self.asked, self._asked = trio.open_memory_channel[None](1000)
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/auth/v1/.well-known/jwks.json"

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            self.requests.append(await stream.receive_some())
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.answer(stream)
            self.asked.send_nowait(None)

    async def answer(self, stream: trio.SocketStream) -> None:
        await stream.send_all(self.said)

    async def publish(self, *keys) -> None:
        """Change the answer, and return when somebody who asks for it has made use of that."""
        self.said = answer(key_set(*keys).encode())
        with suppress(trio.WouldBlock):
            while True:
                self._asked.receive_nowait()
        # The first may have begun before; who asks a third time is done with the second.
        for _ in range(3):
            await self._asked.receive()


@asynccontextmanager
async def web_server(kind=WebServer):
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = kind(listener.socket.getsockname()[1])
        nursery.start_soon(partial(trio.serve_listeners, server.serve, [listener]))
        yield server
        nursery.cancel_scope.cancel()


async def test_the_answer_is_what_was_published():
    async with web_server() as server:
        server.said = answer(key_set(OLD).encode())

        assert await HttpKeySet(server.url)() == key_set(OLD).encode()
        assert server.requests[0].startswith(b"GET /auth/v1/.well-known/jwks.json HTTP/1.1")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (answer(b"no", "404 Not Found"), "the answer was 404"),
        (answer(b"no", "500 Internal Server Error"), "the answer was 500"),
        (answer(b"{}", "201 Created"), "the answer was 201"),
        (answer(b" " * (MAX_KEY_SET_BYTES + 1)), "it has more than 262144 bytes"),
        (answer(b" " * (20 * MAX_KEY_SET_BYTES)), "it has more than 262144 bytes"),
        (b"", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "RemoteProtocolError"),
        (b"SSH-2.0-OpenSSH\r\n", "RemoteProtocolError"),
    ],
    ids=["404", "500", "201", "large", "larger", "nothing", "torn", "not HTTP"],
)
async def test_every_other_answer_is_a_sentence_for_the_operator(said, advice):
    async with web_server() as server:
        server.said = said

        with pytest.raises(Unavailable) as caught:
            await HttpKeySet(server.url)()

        assert caught.value.advice == f"cannot fetch the JWKS at {where(server)}: {advice}"


def where(server) -> str:
    return "http://127.0.0.1/auth/v1/.well-known/jwks.json"


async def test_a_redirect_is_not_followed():
    async with web_server() as server:
        server.said = answer(b"", "302 Found", f"location: {server.root}/elsewhere")

        with pytest.raises(Unavailable, match="the answer was 302"):
            await HttpKeySet(server.url)()
        assert len(server.requests) == 1


async def test_nobody_listens():
    async with web_server() as server:
        url = server.url

    with pytest.raises(Unavailable, match="ConnectError"):
        await HttpKeySet(url)()


class Dripping(WebServer):
    async def answer(self, stream):
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(0.01)


async def test_a_server_that_drips_is_given_up_in_time():
    async with web_server(Dripping) as server:
        with pytest.raises(Unavailable, match=r"there was no answer within 0\.2 s"):
            await HttpKeySet(server.url, within_s=0.2)()


async def test_compression_is_not_asked_for_and_never_unfolded():
    async with web_server() as server:
        bomb = zlib.compress(b" " * 50_000_000)
        server.said = answer(bomb, "200 OK", "content-encoding: deflate")

        assert await HttpKeySet(server.url)() == bomb
        assert b"accept-encoding: identity" in server.requests[0].lower()


async def test_passwords_and_keys_of_the_address_are_not_said():
    async with web_server() as server:
        server.said = answer(b"no", "403 Forbidden")
        url = server.url.replace("http://", "http://user:hush@") + "?apikey=hush"

        with pytest.raises(Unavailable) as caught:
            await HttpKeySet(url)()

        assert "hush" not in caught.value.advice
        assert "hush" not in repr(HttpKeySet(url))


async def test_keys_rotate_over_http():
    async with web_server() as server:
        server.said = answer(key_set(OLD).encode())
        ring = KeyRing()
        verifier = JwtVerifier(None, lambda: NOW, ring)
        spec = refresher_spec(ring, HttpKeySet(server.url), 0.05, Metrics())
        with capture_logs() as logs:
            async with stage(spec):
                assert await verifier.verify(OLD.token({"role": "anon", "exp": NOW + 1}))
                await server.publish(OLD, NEW)

                assert await verifier.verify(NEW.token({"role": "anon", "exp": NOW + 1}))
        assert [line["event"] for line in logs] == ["keys.renewed"] * 2
