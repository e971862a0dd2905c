"""WebSocket frames as a server writes them.

Called by the fan-out and the connection when they turn a dialect's `Frame` into bytes for an outbox.
Only the server's direction is here (unmasked, unfragmented); what comes in is read by the WebSocket library.

**Source**: RFC 6455, sections 5.2 and 7.4.1, read 2026-11-21.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Self

from msgspec import Struct


class Opcode(IntEnum):
    """The opcodes this server sends by itself (RFC 6455, 5.2)."""

    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9


#: FIN and opcode 8: how every CLOSE frame begins (RFC 6455, 5.5.1).
CLOSE_FRAME: Final = b"\x88"
#: What a peer that closes without a code counts as (RFC 6455, 7.1.5); never sent.
ABNORMAL: Final = 1006


class CloseCode(IntEnum):
    """Every close code this server sends; `when` says in which situations.

    This is the table behind docs/reference/close-codes.md.

    **Source**: spec 1.6 for the situations; RFC 6455, 7.4.1, and the IANA registry for the numbers.
    """

    when: str

    def __new__(cls, code: int, when: str = "") -> Self:
        """Make a member, which is its number and knows its situations."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.when = when
        return member

    NORMAL = (
        1000,
        (
            "nothing came from the client for `--idle-timeout-s` seconds, "
            "it joined nothing for `--no-channel-timeout-s`, or its channel was closed (GoForward)"
        ),
    )
    GOING_AWAY = 1001, "a join found a limit that speaks against the whole connection"
    PROTOCOL_ERROR = 1002, "what came were no WebSocket frames as RFC 6455 has them"
    INVALID_DATA = 1007, "a text frame was not UTF-8"
    POLICY = (
        1008,
        (
            "the client reads too slowly, of which a `system` error tells, or floods a topic while it joins it; "
            "GoForward: it may not be in its channel, or not any more, as `system`/`error` says"
        ),
    )
    TOO_BIG = 1009, "a message had more than 5 000 000 bytes; GoForward: more than 512 KiB"
    INTERNAL_ERROR = 1011, "a bug in this server ended the connection, and no other one"
    SERVICE_RESTART = (
        1012,
        (
            "the server stops or restarts: each joined topic is told `Server requested disconnect` before it; "
            "without a word when the part of it that reads was restarted; GoForward: its channel failed"
        ),
    )


class Frame(Struct, frozen=True, gc=False):
    """One WebSocket frame of a dialect, not yet framed."""

    opcode: Opcode
    payload: bytes

    def wire(self) -> bytes:
        """Return header and payload as they are sent."""
        return header(self.opcode, len(self.payload)) + self.payload


#: By opcode and size: most of what is sent is short.
_SHORT_HEADERS: Final = tuple(
    tuple(bytes((0x80 | opcode, size_bytes)) for size_bytes in range(126))
    for opcode in range(16)
)


def header(opcode: Opcode, size_bytes: int) -> bytes:
    """Return the header of an unmasked, final frame: 2, 4 or 10 bytes, lengths big-endian."""
    if size_bytes < 126:
        return _SHORT_HEADERS[opcode][size_bytes]
    first = 0x80 | opcode
    if size_bytes < 0x10000:
        return bytes((first, 126, size_bytes >> 8, size_bytes & 0xFF))
    return bytes((first, 127)) + size_bytes.to_bytes(8, "big")


def close(code: CloseCode, reason: str = "") -> bytes:
    """Return a CLOSE frame as it is sent; `reason` is cut to the 123 bytes that fit, at a character."""
    text = reason.encode()[:123].decode(errors="ignore").encode()
    payload = int(code).to_bytes(2, "big") + text
    return header(Opcode.CLOSE, len(payload)) + payload


def next_boundary(data: bytes | memoryview, offset: int) -> int:
    """Return the offset of the first frame in `data` that begins at or after `offset`.

    `data` must begin with a frame and hold whole frames of the kind this file writes.
    """
    at = 0
    while at < offset:
        length = data[at + 1] & 0x7F
        if length == 126:
            at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        elif length == 127:
            at += 10 + int.from_bytes(data[at + 2 : at + 10], "big")
        else:
            at += 2 + length
    return at
