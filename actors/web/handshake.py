"""The handshake of a WebSocket: what a request to upgrade is answered.

Used by `websocket.py`; the exchange has read and judged the request (`exchange.upgrade_problem`).
Of the answer only the token depends on the client, and that is wsproto's to make: no library has to read a head again.
No extension is accepted, so compression is declined, and no subprotocol.

**Source**: RFC 6455, sections 1.3 and 4.2.2, read 2026-11-21.
"""

from __future__ import annotations

from typing import Final

from wsproto.utilities import generate_accept_token

_HEAD: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


def switching_protocols(key: bytes) -> bytes:
    """Return the response to a request with this `Sec-WebSocket-Key`."""
    return _HEAD % generate_accept_token(key)
