"""The stream under the WebSocket library: its bytes go out through the outbox, in order with ours.

Made by `websocket.py` for `trio_websocket`, which believes that it owns a connection.
It sees the head of the request once more, and what the client sends only after its answer was written:
bytes that arrive glued to a handshake would be lost in it.
Closing the stream closes nothing: the socket belongs to the context of `websocket.py`, which has a farewell to deliver.

**Invariants**
- Once the library passed a CLOSE frame the stream is broken and at its end:
  that ends the reading task in every state, where wsproto would fail on a ping behind the frame.
- The idle limit runs only while bytes are waited for, so a connection that is parked by us is never called idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import field, frozen

from actors.web.outbox import CLOSE_FRAME
from actors.web.transport import RECEIVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.web.outbox import Outbox
    from actors.web.transport import Transport


@frozen
class Replay:
    """What was read before the library: the head of the request, and what came right behind it."""

    head: bytes = field(repr=False)
    early: bytes = field(default=b"", repr=False)


class OutboxStream(trio.abc.Stream):
    """See the module's text.

    `replay.early` is given out after `open` only.
    `on_idle` is called when the client was silent for `idle_s`; `on_end` once, when there is nothing more to read.
    """

    def __init__(
        self,
        transport: Transport,
        outbox: Outbox,
        *,
        replay: Replay,
        idle_s: float,
        on_idle: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._outbox = outbox
        self._head = replay.head
        self._early = replay.early
        self._idle_s = idle_s
        self._on_idle = on_idle
        self._on_end = on_end
        self._is_open = trio.Event()
        self._reading: trio.CancelScope | None = None
        self._is_ended = False

    @property
    def is_ended(self) -> bool:
        """Whether there is nothing more to read."""
        return self._is_ended

    def open(self) -> None:
        """Let the client's bytes through: the handshake is answered."""
        self._is_open.set()

    def end(self) -> None:
        """Let the reader find the end of the stream, now."""
        if not self._is_ended:
            self._is_ended = True
            self._is_open.set()
            if self._reading is not None:
                self._reading.cancel()
            self._on_end()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Push; what cannot arrive is of no interest here, since reading will tell."""
        await trio.lowlevel.checkpoint()
        self._outbox.push(bytes(data))
        if data[:1] == CLOSE_FRAME:
            self.end()
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        """Return: the outbox always takes."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; empty at the end."""
        if self._head:
            head, self._head = self._head, b""
            return head
        await self._is_open.wait()
        if self._early:
            early, self._early = self._early, b""
            return early
        if self._is_ended:
            return b""
        data = b""
        with trio.move_on_after(self._idle_s) as self._reading:
            data = await self._transport.receive_some(max_bytes or RECEIVE_BYTES)
        if not data:
            # When `end` cut the reading short, CLOSE has gone out and being idle changes nothing.
            if self._reading.cancelled_caught:
                self._on_idle()
            self.end()
        return data

    async def aclose(self) -> None:
        """End; the socket stays open for what is still to be sent."""
        await trio.lowlevel.checkpoint()
        self.end()
