"""The acceptor: what it survives, how it stops, and a few clients over loopback sockets."""

from __future__ import annotations

import errno
import random
import socket

import pytest
import trio
import trio_websocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from actors.core.spec import ChildSpec
from actors.core.supervisor import Supervisor
from actors.web.app import site
from actors.web.options import WebOptions
from actors.web.outbox_cap import OutboxCap
from actors.web.server import Acceptor
from actors.web.supabase import SupabaseEndpoint, SupabaseOptions
from actors.web.tcp import SEND_BUFFER_BYTES, USER_TIMEOUT_MS, SocketListener
from protocol.frames import CloseCode, Frame, Opcode
from protocol.phoenix.dialect import negotiate
from tests.support.memory import MemoryListener
from tests.support.web import GOOD_TOKEN, FakeDoor, FakeVerifier, RawClient, echo, start_port

WITHIN_S = 10


async def wait_three_seconds(_request):
    await trio.sleep(3)
    return PlainTextResponse("waited")


APPLICATION = Starlette(routes=[Route("/wait", wait_three_seconds)])
WAIT = b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ECONNABORTED])
async def test_a_failed_accept_is_survived(nursery, autojump_clock, code):
    listener = MemoryListener()
    listener.errors.extend(OSError(code, "no") for _ in range(3))
    port = await start_port(nursery, APPLICATION, listener=listener)

    assert (await port.connect().get("/wait")).status == 200
    assert port.reports == []


async def test_a_crash_in_one_connection_leaves_the_others_alone(nursery, autojump_clock):
    async def crash(_request):
        raise ExceptionGroup("many", [ZeroDivisionError()])

    port = await start_port(nursery, APPLICATION, {"/socket": crash})
    other = port.connect()
    await other.send(WAIT)

    assert (await port.connect().get("/socket")).status == 500
    assert (await other.response()).body == b"waited"
    assert port.reports == []


class TestStopping:
    async def test_it_is_told_before_the_last_exchanges_end(self, nursery, autojump_clock):
        told: list[float] = []
        port = await start_port(
            nursery, APPLICATION, on_stopping=lambda: told.append(trio.current_time())
        )
        client = port.connect()
        await client.send(WAIT)
        await wait_all_tasks_blocked()
        assert told == []
        start = trio.current_time()
        await port.supervisor.stop_child(port.acceptor)

        assert told == [start]
        assert trio.current_time() > start

    async def test_an_exchange_in_flight_finishes_and_closes(self, nursery, autojump_clock):
        port = await start_port(nursery, APPLICATION)
        client = port.connect()
        await client.send(WAIT)
        await wait_all_tasks_blocked()
        nursery.start_soon(port.supervisor.stop_child, port.acceptor)
        response = await client.response()

        assert response.body == b"waited"
        assert response.headers["connection"] == "close"
        assert await client.is_at_end()

    async def test_an_idle_connection_ends_at_once(self, nursery, autojump_clock):
        port = await start_port(nursery, APPLICATION)
        client = port.connect()
        await client.get("/wait")
        start = trio.current_time()

        await port.supervisor.stop_child(port.acceptor)

        assert trio.current_time() - start < 0.1
        assert await client.is_at_end()
        assert port.listener.is_closed

    async def test_what_takes_too_long_is_cut_at_the_deadline(self, nursery, autojump_clock):
        async def wait_for_ever(_scope, _receive, _send):
            await trio.sleep_forever()

        port = await start_port(nursery, wait_for_ever)
        client = port.connect()
        await client.send(WAIT)
        await wait_all_tasks_blocked()
        start = trio.current_time()

        await port.supervisor.stop_child(port.acceptor)

        assert trio.current_time() - start == 5
        assert await client.is_at_end()


class Loopback:
    """A whole port on 127.0.0.1 with a door that runs `serve`."""

    def __init__(self, nursery, serve) -> None:
        self.door = FakeDoor(nursery, serve)
        self.ports: list[int] = []
        endpoint = SupabaseEndpoint(FakeVerifier(), self.door, negotiate, SupabaseOptions())
        self._site = site(supabase=endpoint)
        self.supervisor = Supervisor(random=random.Random(0), observe=lambda _report: None)

    async def start(self, nursery) -> Loopback:
        spec = ChildSpec(
            name="acceptor",
            factory=lambda: Acceptor(
                self._site,
                WebOptions(host="127.0.0.1", port=0),
                OutboxCap(1 << 30),
                on_listening=self.ports.append,
            ),
            rank=3,
        )
        await nursery.start(self.supervisor.run, spec)
        return self

    async def connect(self) -> RawClient:
        return RawClient(await trio.open_tcp_stream("127.0.0.1", self.ports[-1]))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.ports[-1]}/socket/websocket?apikey={GOOD_TOKEN}"


class TestLoopback:
    @pytest.fixture
    async def loopback(self, nursery):
        return await Loopback(nursery, echo).start(nursery)

    async def test_requests_are_answered(self, loopback):
        with trio.fail_after(WITHIN_S):
            client = await loopback.connect()
            assert (await client.get("/healthcheck")).body == b"ok"
            assert (await client.get("/healthcheck")).body == b"ok"
            await client.stream.aclose()

    async def test_a_websocket_client_is_served(self, loopback):
        with trio.fail_after(WITHIN_S):
            async with trio_websocket.open_websocket_url(loopback.url) as connection:
                for size in (1, 200, 70_000, 1_000_000):
                    await connection.send_message("x" * size)
                    assert await connection.get_message() == "x" * size

    async def test_many_connections_come_and_go(self, loopback):
        async def come_and_go():
            async with trio_websocket.open_websocket_url(loopback.url) as connection:
                await connection.send_message("hello")
                assert await connection.get_message() == "hello"

        with trio.fail_after(WITHIN_S):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(come_and_go)
            assert len(loopback.door.openings) == 50

    async def test_a_reset_by_the_client_is_noticed(self, loopback):
        with trio.fail_after(WITHIN_S):
            client = await loopback.connect()
            await client.upgrade(f"/socket/websocket?apikey={GOOD_TOKEN}")
            client.stream.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            client.stream.socket.close()
            assert await loopback.door.wait_ended() == 1006

    async def test_a_port_in_use_is_a_crash_that_says_which(self, nursery, loopback):
        with capture_logs() as logs, pytest.raises(OSError, match="in use"):
            await Acceptor(
                loopback._site,
                WebOptions(host="127.0.0.1", port=loopback.ports[0]),
                OutboxCap(1),
            ).run(None)

        (said,) = logs
        assert (said["event"], said["port"]) == ("port.unavailable", loopback.ports[0])
        assert "in use" in said["reason"]
        assert "--port" in said["advice"]


async def test_a_slow_reader_is_told_over_a_real_socket(nursery):
    frame = Frame(Opcode.TEXT, b"x" * 100_000).wire()
    overflowed = trio.Event()

    async def flood(socket):
        socket.tell_if_slow(lambda: Frame(Opcode.TEXT, b"system").wire())
        while socket.outbox.push(frame):
            await trio.lowlevel.checkpoint()
        overflowed.set()
        await socket.receive()

    loopback = await Loopback(nursery, flood).start(nursery)
    with trio.fail_after(WITHIN_S):
        client = await loopback.connect()
        await client.upgrade(f"/socket/websocket?apikey={GOOD_TOKEN}")
        await overflowed.wait()
        seen = [await client.event()]
        while isinstance(seen[-1], str):
            seen.append(await client.event())
        await client.stream.aclose()

    assert seen[-2:] == ["system", CloseCode.POLICY]
    assert set(seen[:-2]) == {"x" * 100_000}


async def test_what_is_accepted_has_the_options_of_the_port():
    listener = SocketListener("127.0.0.1", 0, backlog=1)
    with socket.create_connection(("127.0.0.1", listener.port)):
        with trio.fail_after(5):
            transport = await listener.accept()
        accepted = transport._socket
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        # Linux doubles it.
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER_BYTES
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            timeout_ms = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert timeout_ms == USER_TIMEOUT_MS
        transport.close()
    listener.close()
