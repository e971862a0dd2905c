"""The answer to a request to upgrade, which the exchange has judged already (`exchange.upgrade_problem`).

Used by `websocket.py`. No extension is accepted, so compression is declined, and no subprotocol.

**Source**: RFC 6455, sections 1.3 and 4.2.2, read 2026-11-21.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Final

#: What every server appends to the key of its client before it hashes it.
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def switching_protocols(key: bytes) -> bytes:
    """Return the head of the response to a request with this `Sec-WebSocket-Key`."""
    digest = sha1(key + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + b64encode(digest) + b"\r\n\r\n"
    )
