"""A running port made of memory, fakes for what it asks, and clients that speak raw HTTP and WebSocket."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager

import trio
import wsproto
from attrs import define, evolve, field
from starlette.applications import Starlette
from wsproto import events
from wsproto.utilities import generate_accept_token

from actors.core.spec import ChildSpec
from actors.core.supervisor import Supervisor
from actors.realtime.errors import Refused, SocketClosed, Unauthorized
from actors.realtime.ports import Identity
from actors.web.endpoint import Site
from actors.web.options import WebOptions, WebSocketOptions
from actors.web.outbox_cap import OutboxCap
from actors.web.server import Acceptor
from actors.web.upgrade import Upgrade
from protocol.frames import Frame, Opcode
from tests.support.memory import MemoryListener, MemoryTransport

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD_TOKEN = "good.to.ken"


def upgrade_head(path: str = "/socket", extra: str = "") -> bytes:
    """Return the head of a request for a WebSocket; `extra` is whole header lines."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n{extra}\r\n"
    ).encode()


@define
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """Sends bytes as they are, reads responses, and WebSocket events after `upgrade`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = b""
        # One for each direction, so that a client may go on sending after a CLOSE frame.
        self._frames = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
        self._outgoing = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def get(self, path: str) -> Response:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        return await self.response()

    async def response(self, *, has_body: bool = True) -> Response:
        while b"\r\n\r\n" not in self._buffer:
            await self._fill()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        size = int(headers.get("content-length", 0)) if has_body else 0
        while len(self._buffer) < size:
            await self._fill()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return Response(int(first.split()[1]), headers, body)

    async def is_at_end(self) -> bool:
        """Wait for the end of the stream; False if anything comes before it."""
        return not self._buffer and not await self.stream.receive_some()

    async def upgrade(self, path: str = "/socket", early: bytes = b"") -> Response:
        await self.send(upgrade_head(path) + early)
        response = await self.response()
        if response.status == 101:
            assert (
                response.headers["sec-websocket-accept"] == generate_accept_token(KEY).decode()
            )
            self.accept_frames()
        return response

    def accept_frames(self) -> None:
        """Read what follows as WebSocket frames."""
        self._frames.receive_data(self._buffer)

    async def send_event(self, event) -> None:
        await self.send(self._outgoing.send(event))

    async def event(self):
        """Wait for the next WebSocket event: text or bytes as sent, a close as its code."""
        message = ""
        while True:
            for event in self._frames.events():
                match event:
                    case events.CloseConnection():
                        return int(event.code)
                    case events.TextMessage(message_finished=True):
                        return message + event.data
                    case events.TextMessage():
                        message += event.data
                    case events.BytesMessage() | events.Ping() | events.Pong():
                        return event
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._frames.receive_data(data)

    async def _fill(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError
        self._buffer += data


class FakeVerifier:
    """Knows one good token; the others are refused as `refusals` says."""

    def __init__(self) -> None:
        self.refusals: dict[str, Refused] = {}

    async def verify(self, token: str) -> Identity:
        if token == GOOD_TOKEN:
            return Identity("anon", b"{}", 2e9)
        malformed = Unauthorized("MalformedJWT", "The token provided is not a valid JWT")
        raise self.refusals.get(token, malformed)

    def seconds_left(self, identity: Identity) -> float:
        return identity.expires_at - 1e9


@define
class FakeDoor:
    """Runs `serve(socket)` for each client it admits, in a task of its own; `sockets` are those it opened."""

    nursery: trio.Nursery
    serve: object
    openings: list = field(factory=list)
    suspension: Exception | None = None
    fullness: Exception | None = None
    ended: list[int] = field(factory=list)
    _has_ended: trio.Event = field(factory=trio.Event)

    async def wait_ended(self) -> int:
        """Wait for the end of a socket and return its code."""
        await self._has_ended.wait()
        return self.ended[-1]

    def refuse_if_suspended(self) -> None:
        if self.suspension is not None:
            raise self.suspension

    def refuse_if_full(self) -> None:
        if self.fullness is not None:
            raise self.fullness

    def admit(self, opening) -> None:
        self.openings.append(opening)
        self.nursery.start_soon(self._run, opening)

    async def _run(self, opening) -> None:
        try:
            async with opening.open_socket() as socket:
                await self.serve(await receiving(socket))
        except SocketClosed as closed:
            self.ended.append(closed.code)
            self._has_ended.set()


class ReceivingSocket:
    """A socket whose owner waits for one message after the other, and is busy with each until it wants the next."""

    def __init__(self, socket) -> None:
        self._socket = socket
        self.outbox, self.close = socket.outbox, socket.close
        self.tell_if_slow = socket.tell_if_slow
        self._message: str | bytes | None = None
        self._code: int | None = None
        self._changed = trio.Event()

    def take(self, message) -> bool:
        self._message = message
        self._changed.set()
        return False

    def note_end(self, code) -> None:
        self._code = code
        self._changed.set()

    def fail(self, error) -> None:
        raise error

    async def receive(self) -> str | bytes:
        """Wait for the next message; raises SocketClosed at the end."""
        await self._changed.wait()
        if self._code is not None:
            raise SocketClosed(self._code)
        message, self._message = self._message, None
        self._changed = trio.Event()
        await self._socket.resume()
        return message


async def receiving(socket) -> ReceivingSocket:
    """Become the owner of a socket."""
    owner = ReceivingSocket(socket)
    await socket.hand_to(owner)
    return owner


async def echo(socket) -> None:
    """Push back every text until the socket ends."""
    while True:
        message = await socket.receive()
        socket.outbox.push(Frame(Opcode.TEXT, message.encode()).wire())


@define
class RunningPort:
    listener: MemoryListener
    supervisor: Supervisor
    acceptor: object
    reports: list

    def connect(self, window: int = 1 << 20) -> RawClient:
        return RawClient(self.listener.connect(window))


async def start_port(
    nursery: trio.Nursery,
    application=None,
    websockets=None,
    options: WebOptions | None = None,
    listener=None,
    on_stopping=lambda: None,
) -> RunningPort:
    """Start an acceptor under a supervisor of its own; the nursery's end stops it."""
    listener = listener or MemoryListener()
    site = Site(application or Starlette(), websockets or {})
    reports: list = []
    supervisor = Supervisor(random=random.Random(0), observe=reports.append)
    spec = ChildSpec(
        name="acceptor",
        factory=lambda: Acceptor(
            site,
            options or WebOptions(),
            OutboxCap(1 << 30),
            on_stopping=on_stopping,
            open_listener=lambda _options: listener,
        ),
        rank=3,
    )
    await nursery.start(supervisor.run, spec)
    return RunningPort(listener, supervisor, supervisor.find("acceptor"), reports)


def text(content: str) -> bytes:
    return Frame(Opcode.TEXT, content.encode()).wire()


class WebSocketPeers:
    """A memory socket with an upgrade at one end and a raw client at the other."""

    def __init__(
        self, *, window: int = 1 << 20, early: bytes = b"", key: bytes = KEY, **options
    ) -> None:
        self.transport = MemoryTransport(window)
        self.client = RawClient(self.transport.client)
        self.cap = OutboxCap(1 << 30)
        self.upgrade = Upgrade(
            self.transport, evolve(WebSocketOptions(), **options), self.cap, key, early
        )

    @asynccontextmanager
    async def open_socket(self):
        """Complete the handshake, and receive what the client sends."""
        async with self.upgrade.open_socket() as socket:
            yield await receiving(socket)

    async def receive_101(self) -> None:
        assert (await self.client.response()).status == 101
        self.client.accept_frames()
