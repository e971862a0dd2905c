"""A small WebSocket client on a trio stream, read and written by wsproto; it never lingers when it is done."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)


class Closed(Exception):
    """The server closed the connection, with `code`, or 1006 without a word."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class WebSocketClient:
    """One client; `send` takes text or bytes, `receive` returns the next whole message."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._messages: deque[str | bytes] = deque()
        self._parts: list[str | bytes] = []
        self._close_code: int | None = None

    async def shake_hands(self, target: str, host: str = "localhost") -> None:
        request = Request(host=host, target=target)
        await self.stream.send_all(self._connection.send(request))
        is_accepted = False
        while not is_accepted:
            for event in await self._read():
                if isinstance(event, RejectConnection):
                    raise Closed(event.status_code)
                # A server that speaks first may do so in the same segment.
                is_accepted = is_accepted or isinstance(event, AcceptConnection)
                await self._take(event)

    async def send(self, message: str | bytes) -> None:
        kind = TextMessage if isinstance(message, str) else BytesMessage
        await self.stream.send_all(self._connection.send(kind(data=message)))

    async def receive(self) -> str | bytes:
        while not self._messages:
            if self._close_code is not None:
                raise Closed(self._close_code)
            await self._read_messages()
        return self._messages.popleft()

    async def _read_messages(self) -> None:
        for event in await self._read():
            await self._take(event)

    async def _take(self, event) -> None:
        match event:
            case TextMessage() | BytesMessage():
                self._parts.append(event.data)
                if event.message_finished:
                    first = self._parts[0]
                    empty = "" if isinstance(first, str) else b""
                    self._messages.append(empty.join(self._parts))
                    self._parts = []
            case CloseConnection():
                self._close_code = event.code
            case Ping():
                await self.stream.send_all(self._connection.send(event.response()))

    async def _read(self):
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise Closed(1006)
        self._connection.receive_data(data)
        return list(self._connection.events())


@asynccontextmanager
async def open_websocket(port: int, target: str):
    """Connect to a server on this machine, and let go of the socket at once at the end."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    client = WebSocketClient(stream)
    try:
        await client.shake_hands(target)
        yield client
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_websocket_at(address: str):
    """Connect to a server anywhere, given as `ws://…` or `wss://…`."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme == "wss":
        stream: trio.abc.Stream = await trio.open_ssl_over_tcp_stream(host, parts.port or 443)
    else:
        stream = await trio.open_tcp_stream(host, parts.port or 80)
    client = WebSocketClient(stream)
    try:
        await client.shake_hands(f"{parts.path}?{parts.query}", parts.netloc)
        yield client
    finally:
        await trio.aclose_forcefully(stream)
