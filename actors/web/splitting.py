"""The splitter: from the bytes of one client to its messages, without waiting and without a library for the usual case.

Called by `websocket.py` with whatever was read; gives out one message after the other as it is asked for them.
A usual frame is a whole message: text or binary, final, masked, shorter than 64 KiB, its length as short as may be.
Everything else goes to wsproto (`rare_frames.py`), which also says what is wrong with it.

**Invariants**
- Messages, answers to pings and the end come out in the order of the bytes, however these were cut.
- A whole control frame between two messages is read by a wsproto of its own.
  Whatever else is not usual hands this client to one wsproto for good: where its frames end is then wsproto's to know.
- No more is kept than one frame below 64 KiB, or one message up to the limit, and what the last read brought behind it.

**Source**: RFC 6455, sections 5.2 and 5.3, read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.web.rare_frames import Control, RareFrames
from protocol.frames import CloseCode, close

if TYPE_CHECKING:
    from actors.web.rare_frames import Received

#: FIN and opcode 1, FIN and opcode 2.
_TEXT: Final = 0x81
_BINARY: Final = 0x82
#: FIN and opcodes 8 to 10.
_CONTROL: Final = (0x88, 0x89, 0x8A)
_PONG: Final = 0x8A
_IS_MASKED: Final = 0x80
_KEY_BYTES: Final = 4
#: A masked frame with nothing in it.
_LEAST: Final = 2 + _KEY_BYTES
#: Second bytes of masked frames: of the largest control frame, and of a frame whose length has two bytes of its own.
_LARGEST_CONTROL: Final = _IS_MASKED | 125
_TWO_BYTES: Final = _IS_MASKED | 126
#: A smaller length has to go without them.
_TWO_BYTES_FROM: Final = 126


class Splitter:
    """See the module's text; `limit_bytes` is the size of the largest message."""

    __slots__ = ("_at", "_data", "_is_ended", "_limit_bytes", "_rare")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        #: What was read and not given out begins at `_at`.
        self._data: bytes | bytearray = b""
        self._at = 0
        self._rare: RareFrames | None = None
        self._is_ended = False

    @property
    def has_more(self) -> bool:
        """Whether something may come out without a further read."""
        return self._rare is not None or self._at < len(self._data)

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        if self._rare is not None:
            self._rare.feed(data)
        elif self._at == len(self._data):
            self._data, self._at = data, 0
        else:
            # A bytearray, because a client may send its frame byte by byte.
            if isinstance(self._data, bytearray):
                del self._data[: self._at]
            else:
                self._data = bytearray(self._data[self._at :])
            self._at = 0
            self._data += data

    def take_whole(self, data: bytes) -> str | bytes | None:
        """Return the message of a read that is one usual frame and nothing else, None if it is not that.

        Then nothing was taken; `feed` takes it.
        """
        is_in_between = self._data or self._rare is not None or self._is_ended
        if is_in_between or len(data) < _LEAST or data[0] != _TEXT:
            return None
        second = data[1]
        if second == _TWO_BYTES:
            key_at, size, smallest = 4, data[2] << 8 | data[3], _TWO_BYTES_FROM
        else:
            key_at, size, smallest = 2, second - _IS_MASKED, 0
        if second > _TWO_BYTES or not smallest <= size <= self._limit_bytes:
            return None
        if size != len(data) - key_at - _KEY_BYTES:
            return None
        try:
            return unmasked(data, key_at, size).decode()
        except UnicodeDecodeError:
            return None

    def next_event(self) -> Received | None:
        """Return the next message or `Control`, or None if there is none yet; nothing comes after the end."""
        while self._rare is None and len(self._data) - self._at >= 2 and not self._is_ended:
            first, second = self._data[self._at], self._data[self._at + 1]
            if first in (_TEXT, _BINARY) and _IS_MASKED <= second <= _TWO_BYTES:
                return self._next_message(first, second)
            if first not in _CONTROL or not _IS_MASKED <= second <= _LARGEST_CONTROL:
                self._give_up()
                break
            end = self._at + 2 + _KEY_BYTES + second - _IS_MASKED
            if len(self._data) < end:
                return None
            frame = bytes(self._data[self._at : end])
            self._move_to(end)
            # Pongs, which are nothing to us, are passed over here.
            if first != _PONG:
                return self._control(frame)
        return None if self._rare is None else self._rare.next_event()

    def _next_message(self, first: int, second: int) -> Received | None:
        data = self._data
        key_at, size = self._at + 2, second - _IS_MASKED
        is_long = second == _TWO_BYTES
        if is_long:
            key_at += 2
            if len(data) < key_at:
                return None
            size = data[key_at - 2] << 8 | data[key_at - 1]
        if size > self._limit_bytes or (is_long and size < _TWO_BYTES_FROM):
            self._give_up()
            return self.next_event()
        end = key_at + _KEY_BYTES + size
        if len(data) < end:
            return None
        payload = unmasked(data, key_at, size)
        self._move_to(end)
        return payload if first == _BINARY else self._text(payload)

    def _text(self, payload: bytes) -> Received:
        try:
            return payload.decode()
        except UnicodeDecodeError:
            self._is_ended = True
            return Control(close(CloseCode.INVALID_DATA), CloseCode.INVALID_DATA)

    def _control(self, frame: bytes) -> Received | None:
        control = RareFrames(self._limit_bytes)
        control.feed(frame)
        event = control.next_event()
        self._is_ended = isinstance(event, Control) and event.ended_with is not None
        return event

    def _give_up(self) -> None:
        """Let wsproto read this client from here on."""
        self._rare = RareFrames(self._limit_bytes)
        self._rare.feed(bytes(self._data[self._at :]))
        self._move_to(len(self._data))

    def _move_to(self, at: int) -> None:
        if at == len(self._data):
            self._data, self._at = b"", 0
        else:
            self._at = at


def unmasked(data: bytes | bytearray, key_at: int, size: int) -> bytes:
    """Return the payload of `size` bytes that lies in `data` behind its masking key."""
    start = key_at + _KEY_BYTES
    keys = data[key_at:start] * (size // _KEY_BYTES + 1)
    masked = int.from_bytes(data[start : start + size], "little")
    return (masked ^ int.from_bytes(keys[:size], "little")).to_bytes(size, "little")
