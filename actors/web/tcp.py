"""`Transport` and `Listener` over non-blocking TCP sockets of the operating system.

Made by `server.py`; what the rest of this floor sees of them is in `transport.py`.
With the reactor's `Sockets` a transport is read by it (`reactor.py`), without them by a task of its own (`reading.py`).
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import trio

from actors.web.reactor import SocketReading
from actors.web.reading import TaskReading
from actors.web.transport import RECEIVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.web.reactor import Sockets
    from actors.web.reading import Consumer, Reading, StartSoon
    from actors.web.transport import Transport

#: Above this the kernel would hide up to 4 MiB per slow client (Linux doubles what it is given).
SEND_BUFFER_BYTES: Final = 128 * 1024
#: How long sent bytes may stay unacknowledged before the kernel gives the peer up, in milliseconds.
USER_TIMEOUT_MS: Final = 30_000
#: `struct linger`: on, for no seconds; closing then resets the connection and forgets what is unsent.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class SocketTransport:
    """A `Transport` over a TCP socket, which it owns; with `sockets` the reactor can read it."""

    # A delivery finds everything it touches out of cache, so it is spared a frame and a bound method here.
    __slots__ = (
        "_is_closed",
        "_on_close",
        "_socket",
        "_sockets",
        "peer",
        "send_some",
    )

    def __init__(
        self,
        connected: socket.socket,
        peer: str,
        on_close: Callable[[], None],
        sockets: Sockets | None = None,
    ) -> None:
        connected.setblocking(False)
        self._socket = connected
        self.send_some: Callable[[bytes | memoryview], int] = connected.send
        self._on_close = on_close
        self._sockets = sockets
        self._is_closed = False
        self.peer = peer

    async def wait_writable(self) -> None:
        if self._is_closed:
            raise ConnectionAbortedError
        try:
            await trio.lowlevel.wait_writable(self._socket)
        except trio.ClosedResourceError:
            raise ConnectionAbortedError from None

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._is_closed:
            data = self.receive_nowait(max_bytes)
            if data is not None:
                return data
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                break
        return b""

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        try:
            return self._socket.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    @property
    def start_soon(self) -> StartSoon | None:
        return None if self._sockets is None else self._sockets.start_soon

    def start_reading(self, consumer: Consumer, *, idle_s: float, start: StartSoon) -> Reading:
        if self._sockets is None:
            return TaskReading(self.receive_some, consumer, idle_s=idle_s, start=start)
        descriptor = self._socket.fileno()
        return SocketReading(self._sockets, descriptor, self.receive_nowait, consumer, idle_s)

    def send_eof(self) -> None:
        if not self._is_closed:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:  # the peer was quicker
                return

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._on_close()

    def abort(self) -> None:
        if not self._is_closed:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close()


class SocketListener:
    """A `Listener` on a TCP port, open as soon as it exists; with `sockets` the reactor can read what it accepts."""

    def __init__(
        self, host: str, port: int, *, backlog: int, sockets: Sockets | None = None
    ) -> None:
        is_ipv6 = ":" in host
        self._socket = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            backlog=backlog,
            dualstack_ipv6=host == "::",
        )
        self._socket.setblocking(False)
        _set_options(self._socket)
        self._open_connections = 0
        self._sockets = sockets
        self.port: int = self._socket.getsockname()[1]

    @property
    def open_connections(self) -> int:
        return self._open_connections

    async def accept(self) -> Transport:
        await trio.lowlevel.checkpoint()
        while (accepted := self._accept_nowait()) is None:
            await trio.lowlevel.wait_readable(self._socket)
        connected, address = accepted
        try:
            transport = SocketTransport(connected, str(address[0]), self._forget, self._sockets)
        except OSError:
            connected.close()
            raise
        self._open_connections += 1
        return transport

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def _accept_nowait(self) -> tuple[socket.socket, Any] | None:
        try:
            return self._socket.accept()
        except (BlockingIOError, InterruptedError):
            return None

    def _forget(self) -> None:
        self._open_connections -= 1


def _set_options(listening: socket.socket) -> None:
    """Set what accepted sockets have too: they take over the options of the one that listens (Linux, BSD)."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
