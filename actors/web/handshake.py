"""The handshake of a WebSocket: trio-websocket answers the request, and is let go of.

The only file that imports trio-websocket; used by `websocket.py`.
The exchange has read and judged the request (`exchange.upgrade_problem`), and what came behind its head is not for the
library: so it gets a head with nothing but the client's key. wsproto reads that at once, for it is all there, and the
library accepts what wsproto found; its own reader, a task that would wait for more, is not started.
No extension is accepted, so compression is declined, and no subprotocol.

**Source**: RFC 6455, sections 1.3 and 4.2.2, read 2026-11-21; trio-websocket 0.12.2.
"""

from __future__ import annotations

import sys
from typing import Final

import trio
from trio_websocket import WebSocketConnection, WebSocketRequest
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request
from wsproto.utilities import RemoteProtocolError

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

_HEAD: Final = (
    b"GET / HTTP/1.1\r\nHost:\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


async def switching_protocols(key: bytes) -> bytes:
    """Return the response to a request with this `Sec-WebSocket-Key`; empty if the library does not accept it."""
    read = WSConnection(ConnectionType.SERVER)
    try:
        read.receive_data(_HEAD % key)
    except RemoteProtocolError:
        return b""
    stream = _Written()
    connection = WebSocketConnection(stream, read)
    for event in read.events():
        if isinstance(event, Request):
            await WebSocketRequest(connection, event).accept()
    return stream.data


class _Written(trio.abc.Stream):
    """Keeps what the library writes; it is not asked for anything else."""

    def __init__(self) -> None:
        self.data = b""

    @override
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return b""

    @override
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    @override
    async def wait_send_all_might_not_block(self) -> None:
        pass

    @override
    async def aclose(self) -> None:
        pass
