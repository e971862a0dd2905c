"""Sockets made of memory: a sink with a script, a connected pair, a listener.

They stand for `actors.web.transport` wherever a test is about time (virtual clock) or about what is written when.
A memory socket has a window: what the server may send before the client reads.
"""

from __future__ import annotations

from collections import deque

import trio
from trio.testing import memory_stream_one_way_pair

from actors.web.reading import TaskReading


class ScriptedSink:
    """A sink for an outbox that takes the given numbers of bytes, one per send, then everything.

    With `block` it takes nothing until `unblock`.
    """

    def __init__(self, *sizes: int) -> None:
        self.sizes = deque(sizes)
        self.written = bytearray()
        self.is_dead = False
        self.is_aborted = False
        self._room = trio.Event()
        self._room.set()

    def block(self) -> None:
        self._room = trio.Event()

    def unblock(self) -> None:
        self._room.set()

    def send_some(self, data):
        if self.is_dead:
            raise BrokenPipeError
        if not self._room.is_set():
            raise BlockingIOError
        size = min(self.sizes.popleft() if self.sizes else len(data), len(data))
        self.written += data[:size]
        return size

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._room.wait()

    def abort(self) -> None:
        self.is_dead = self.is_aborted = True
        self._room.set()


class MemoryClient(trio.abc.Stream):
    """The client's end of a memory socket, an ordinary trio stream."""

    def __init__(self, server: MemoryTransport) -> None:
        self._server = server

    async def send_all(self, data) -> None:
        await self._server.to_server.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await self._server.to_server.aclose()

    async def receive_some(self, max_bytes=None) -> bytes:
        return await self._server.read_as_client(max_bytes or 65536)

    async def receive_all(self) -> bytes:
        """Wait for everything up to the end of the stream."""
        data = bytearray()
        while chunk := await self.receive_some():
            data += chunk
        return bytes(data)

    async def aclose(self) -> None:
        self._server.is_left = True
        await self._server.to_server.aclose()
        self._server.wake()


class MemoryTransport:
    """The server's end of a memory socket."""

    def __init__(self, window: int = 1 << 20, on_close=lambda: None) -> None:
        self.peer = "192.0.2.1"
        self.window = window
        self.to_server, self._from_client = memory_stream_one_way_pair()
        self.is_left = False
        self.is_closed = False
        self.is_aborted = False
        self._is_ended = False
        self._to_client = bytearray()
        self._changed = trio.Event()
        self._on_close = on_close
        self._closed = trio.Event()
        self.client = MemoryClient(self)

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def read_as_client(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self._to_client or self._is_ended):
            await self._changed.wait()
        if self.is_aborted:
            raise trio.BrokenResourceError
        data = bytes(self._to_client[:max_bytes])
        del self._to_client[:max_bytes]
        self.wake()
        return data

    def send_some(self, data) -> int:
        if self.is_closed or self._is_ended or self.is_left:
            raise BrokenPipeError
        size = min(len(data), self.window - len(self._to_client))
        if not size:
            raise BlockingIOError
        self._to_client += data[:size]
        self.wake()
        return size

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while len(self._to_client) >= self.window:
            if self.is_closed or self.is_left:
                raise ConnectionAbortedError
            await self._changed.wait()

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            return await self._from_client.receive_some(max_bytes)
        except trio.ClosedResourceError:
            return b""

    def receive_nowait(self, max_bytes: int = 65536) -> None:
        """Say that nothing has come: whoever wants it has to wait."""

    start_soon = None

    def start_reading(self, consumer, *, idle_s, start):
        return TaskReading(self.receive_some, consumer, idle_s=idle_s, start=start)

    def send_eof(self) -> None:
        self._is_ended = True
        self.wake()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = self._is_ended = True
            self._from_client.close()
            self.wake()
            self._closed.set()
            self._on_close()

    def abort(self) -> None:
        if not self.is_closed:
            self.is_aborted = True
            self.close()

    async def wait_closed(self) -> None:
        await self._closed.wait()


class MemoryListener:
    """A listener whose clients call `connect`; `errors` are raised by the next accepts."""

    port = 8080

    def __init__(self) -> None:
        self.open_connections = 0
        self.errors: deque[OSError] = deque()
        self.is_closed = False
        self._connected, self._accepting = trio.open_memory_channel(100)

    def connect(self, window: int = 1 << 20) -> MemoryClient:
        transport = MemoryTransport(window, self._forget)
        self._connected.send_nowait(transport)
        return transport.client

    async def accept(self) -> MemoryTransport:
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.popleft()
        transport = await self._accepting.receive()
        self.open_connections += 1
        return transport

    def close(self) -> None:
        self.is_closed = True
        self._accepting.close()
        self._connected.close()

    def _forget(self) -> None:
        self.open_connections -= 1
