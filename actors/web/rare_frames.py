"""What is rare in what clients send, read by wsproto: control frames, fragments, large frames, violations.

The only file that imports wsproto; used by the splitter (`splitting.py`), which carves the usual frames itself.
Also the words for what comes out of both.

**Source**: RFC 6455, sections 5.4, 5.5, 7.1.5 and 8.1, read 2026-11-21; wsproto 1.3.2.
"""

from __future__ import annotations

from io import BytesIO, StringIO
from typing import TypeAlias

from attrs import frozen
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from protocol.frames import CloseCode, close


@frozen
class Control:
    """Something other than a message: `reply` is to be written, whole frames or nothing.

    `ended_with` is the close code if that was the last, None after a ping.
    """

    reply: bytes
    ended_with: int | None = None


#: A text, a binary message, or what is neither.
Received: TypeAlias = str | bytes | Control


class RareFrames:
    """Reads the frames of one client from some frame on; `limit_bytes` is the size of the largest message."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._connection = Connection(ConnectionType.SERVER)
        #: The message in progress; not a list of parts, for a part may be a single byte.
        self._text = StringIO()
        self._binary = BytesIO()
        self._size_bytes = 0
        self._is_ended = False

    def feed(self, data: bytes) -> None:
        """Take what was read; what comes after the end is dropped."""
        if not self._is_ended:
            self._connection.receive_data(data)

    def next_event(self) -> Received | None:
        """Return the next message or `Control`, or None if there is none yet; nothing comes after the end."""
        while not self._is_ended:
            event = next(self._connection.events(), None)
            match event:
                case None:
                    return None
                case TextMessage() | BytesMessage():
                    received = self._take(event)
                    if received is not None:
                        return received
                case Ping():
                    return Control(self._connection.send(event.response()))
                case CloseConnection():
                    self._is_ended = True
                    return Control(self._answer(event), int(event.code))
                case _:  # pongs are nothing to us
                    pass
        return None

    def _take(self, part: TextMessage | BytesMessage) -> Received | None:
        """Add a part to the message in progress; return that once it is whole, or the refusal of a larger one."""
        data = part.data
        is_text = isinstance(data, str)
        if isinstance(data, str):
            self._text.write(data)
            self._size_bytes += len(data) if data.isascii() else len(data.encode())
        else:
            self._binary.write(data)
            self._size_bytes += len(data)
        if self._size_bytes > self._limit_bytes:
            self._is_ended = True
            reason = f"Exceeded maximum message size: {self._limit_bytes} bytes"
            return Control(close(CloseCode.TOO_BIG, reason), CloseCode.TOO_BIG)
        if not part.message_finished:
            return None
        message = self._text.getvalue() if is_text else self._binary.getvalue()
        self._text, self._binary, self._size_bytes = StringIO(), BytesIO(), 0
        return message

    def _answer(self, event: CloseConnection) -> bytes:
        if self._connection.state is ConnectionState.REMOTE_CLOSING:
            return self._connection.send(event.response())
        # wsproto reports a violation like a CLOSE frame of the client; who has to send one are we.
        return close(CloseCode(event.code))
