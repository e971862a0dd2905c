"""Connected byte streams and what they come in at, as the rest of this floor needs them; ports, and what works on each.

`tcp.py` has them over sockets of the operating system; the tests reach everything above through memory.
trio's own streams are not used: an outbox must be able to send without waiting (`outbox.py`).

**Invariants**
- What a peer does shows as an empty read or as an `OSError`, never as anything else.
- A transport is read by one task or reader, and waited on for writing by one task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from actors.web.reading import Consumer, Reading, StartSoon

#: What one read asks for at most.
RECEIVE_BYTES: Final = 64 * 1024


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
