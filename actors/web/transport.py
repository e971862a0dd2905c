"""Connected sockets and the listening one, as the rest of this floor needs them.

`Transport` and `Listener` are ports, so that the tests reach everything above through memory.
Here are also their implementations over non-blocking sockets of the operating system.
trio's own streams are not used: an outbox must be able to send without waiting (`outbox.py`).

**Invariants**
- What a peer does shows as an empty read or as an `OSError`, never as anything else.
- A transport is read by one task or reader, and waited on for writing by one task.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from actors.web.reactor import SocketReading
from actors.web.reading import TaskReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.web.reactor import Sockets
    from actors.web.reading import Consumer, Reading, StartSoon

#: What one read asks for at most.
RECEIVE_BYTES: Final = 64 * 1024
#: Above this the kernel would hide up to 4 MiB per slow client (Linux doubles what it is given).
SEND_BUFFER_BYTES: Final = 128 * 1024
#: How long sent bytes may stay unacknowledged before the kernel gives the peer up, in milliseconds.
USER_TIMEOUT_MS: Final = 30_000
#: `struct linger`: on, for no seconds; closing then resets the connection and forgets what is unsent.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Sink(Protocol):
    """The half of a `Transport` that an outbox writes to."""

    def send_some(self, data: bytes | memoryview, /) -> int:
        """Send what fits and return how many bytes that was; never waits.

        Raises:
            BlockingIOError: there is no room.
            OSError: otherwise, the connection is dead.
        """
        ...

    async def wait_writable(self) -> None:
        """Wait until there is room.

        Raises:
            OSError: the connection is dead or was closed here.
        """
        ...

    def abort(self) -> None:
        """Close and forget what is unsent. Idempotent, wakes whoever waits."""
        ...


class Transport(Sink, Protocol):
    """A connected byte stream; never TLS."""

    @property
    def peer(self) -> str:
        """The address of the other end, without its port."""
        ...

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        """Wait for bytes; empty when there will be none, for whatever reason."""
        ...

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        """Return what has come, None if that is nothing; otherwise as `receive_some`."""
        ...

    @property
    def start_soon(self) -> StartSoon | None:
        """What runs tasks for this transport, None if its user has to; such a task must not fail."""
        ...

    def start_reading(self, consumer: Consumer, *, idle_s: float, start: StartSoon) -> Reading:
        """Hand what comes to `consumer` until that is stopped; a peer that is silent for `idle_s` is refused with 1000.

        To be stopped before the transport is closed; `start` is for the task that this may need.
        """
        ...

    def send_eof(self) -> None:
        """Tell the peer that no more bytes will come; never raises."""
        ...

    def close(self) -> None:
        """Close; what the kernel holds is still delivered. Idempotent, wakes whoever waits."""
        ...


class Listener(Protocol):
    """A port that connections come in at."""

    @property
    def port(self) -> int: ...

    @property
    def open_connections(self) -> int:
        """How many accepted transports are not closed yet."""
        ...

    async def accept(self) -> Transport:
        """Wait for a connection.

        Raises:
            OSError: this one could not be accepted.
            trio.ClosedResourceError: the listener was closed.
        """
        ...

    def close(self) -> None: ...


def send_what_fits(sink: Sink, data: bytes | memoryview) -> int:
    """Send what fits, which may be nothing, and return how many bytes that was.

    Raises:
        OSError: the connection is dead.
    """
    try:
        return sink.send_some(data)
    except BlockingIOError:
        return 0


async def send_all(transport: Transport, data: bytes, *, within_s: float) -> None:
    """Send everything, waiting at most `within_s` each time there is no room.

    Raises:
        OSError: the connection is dead, or no room was made in time.
    """
    view = memoryview(data)
    await trio.lowlevel.checkpoint()
    while view := view[send_what_fits(transport, view) :]:
        with trio.move_on_after(within_s) as waiting:
            await transport.wait_writable()
        if waiting.cancelled_caught:
            raise TimeoutError


async def linger(transport: Transport, *, within_s: float) -> None:
    """Say that no more will come, and read what still arrives until the peer closes too.

    Closing a socket with unread input resets the connection, and the reset may overtake what was sent last.
    """
    transport.send_eof()
    with trio.move_on_after(within_s):
        while await transport.receive_some():
            pass


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
