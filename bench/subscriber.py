"""One subscriber to row changes, on a blocking socket: it joins, and looks for words in what it is sent."""

import json
import socket
import struct
from typing import Self

from harness import RunFailed

DEADLINE_S = 10.0
JOIN_REF = "1"
SUBSCRIBED = b"Subscribed to PostgreSQL"
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Subscriber:
    """A connection for the length of a `with` block."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.socket.sendall(UPGRADE.format(path=path).encode())
        self.wait_for(b"\r\n\r\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.socket.close()

    def subscribe(self, table: str) -> None:
        """Join, and wait until changes of the table flow."""
        self.socket.sendall(_masked(join_text(table).encode()))
        self.wait_for(SUBSCRIBED)

    def wait_for(self, words: bytes) -> None:
        """Read until these bytes have come, and forget everything up to them.

        Raises:
            RunFailed: they do not come.
        """
        while words not in self._received:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                data = b""
            if not data:
                raise RunFailed(f"waited for {words!r}, got {self._received[-500:]!r}")
            self._received += data
        self._received = self._received.partition(words)[2]


def join_text(table: str) -> str:
    """Return the join of a client that wants all changes of a table."""
    binding = {"event": "*", "schema": "public", "table": table}
    config = {"config": {"postgres_changes": [binding]}}
    return json.dumps([JOIN_REF, JOIN_REF, "realtime:bench", "phx_join", config])


def _masked(text: bytes) -> bytes:
    """Return a frame of text as a client sends it; the mask of zeros leaves the text as it is."""
    if len(text) < 126:
        return bytes((0x81, 0x80 | len(text))) + bytes(4) + text
    return b"\x81" + struct.pack("!BH", 0x80 | 126, len(text)) + bytes(4) + text
