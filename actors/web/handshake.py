"""The handshake of a WebSocket: trio-websocket answers the request, and is let go of.

The only file that imports trio-websocket; used by `websocket.py`.
The exchange has read and judged the request (`exchange.upgrade_problem`), and what came behind its head is not for the
library: so it gets a head with nothing but the client's key, and then the end of the stream, at which its task ends.
No extension is accepted, so compression is declined, and no subprotocol.

**Source**: RFC 6455, sections 1.3 and 4.2.2, read 2026-11-21; trio-websocket 0.12.2.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import trio
from trio_websocket import wrap_server_stream

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD: Final = (
    b"GET / HTTP/1.1\r\nHost: -\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


async def switching_protocols(key: bytes) -> bytes:
    """Return the response to a request with this `Sec-WebSocket-Key`; empty if the library does not accept it."""
    stream = _Stream(_HEAD % key)
    async with trio.open_nursery() as nursery:
        # The library waits for ever for a head that it accepts, once it has refused this one.
        stream.on_close = nursery.cancel_scope.cancel
        request = await wrap_server_stream(nursery, stream)
        await request.accept()
    return stream.written


class _Stream(trio.abc.Stream):
    """What the library reads, and keeps what it writes; `on_close` is called if it gives the client up."""

    def __init__(self, head: bytes) -> None:
        self._unread = head
        self.on_close: Callable[[], None]
        self.written = b""

    @override
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        head, self._unread = self._unread, b""
        return head

    @override
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    @override
    async def wait_send_all_might_not_block(self) -> None:
        pass

    @override
    async def aclose(self) -> None:
        self.written = b""
        self.on_close()
