"""WebSockets, accepted: what comes is handed to their owner message by message, what goes is pushed.

Made by `upgrade.py`; what the connection actor gets, the `Socket` of `actors.realtime.ports`.
Between its client and that: the handshake (`handshake.py`), who reads (`reading.py`), the splitter and the outbox.

**Invariants**
- Messages are handed out in their order, one at a time, and none while the owner is busy with one or has closed.
- What is pushed while messages are handed out leaves in one piece afterwards.
- The idle limit runs only while bytes are waited for, so a connection that is paused by its owner is never called idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from actors.realtime.errors import SocketClosed
from actors.web.handshake import switching_protocols
from actors.web.outbox import Outbox
from actors.web.rare_frames import Control
from actors.web.splitting import Splitter
from protocol.frames import ABNORMAL, CloseCode, close

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.realtime.ports import Receiver
    from actors.web.options import WebSocketOptions
    from actors.web.outbox_cap import OutboxCap
    from actors.web.reading import Reading, StartSoon
    from actors.web.transport import Transport

#: Messages of one client in one turn: as many as one of them may bring in a read, others get theirs in between.
EVENTS_PER_TURN: Final = 64


class WebSocket:
    """One WebSocket; made by entering an `Upgrade`, which gives it out once `accept` succeeded.

    A `Socket` for its owner, a `reading.Consumer` for whoever reads.
    """

    __slots__ = (
        "_ended",
        "_ended_with",
        "_is_closing",
        "_is_paused",
        "_options",
        "_outbox",
        "_reading",
        "_receiver",
        "_splitter",
        "_start",
        "_transport",
    )

    def __init__(
        self,
        transport: Transport,
        options: WebSocketOptions,
        cap: OutboxCap,
        start: StartSoon,
    ) -> None:
        self._transport = transport
        self._options = options
        self._start = start
        self._outbox = Outbox(
            transport, options.outbox, cap, start=self._start_guarded, on_end=self._end
        )
        self._splitter = Splitter(options.max_message_bytes)
        self._receiver: Receiver | None = None
        self._reading: Reading | None = None
        #: Until there is a receiver, and while it is busy.
        self._is_paused = True
        self._is_closing = False
        #: The close code, once there is nothing more to come.
        self._ended_with: int | None = None
        #: Made for who waits for that.
        self._ended: trio.Event | None = None

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    def tell_if_slow(self, farewell: Callable[[], bytes]) -> None:
        self._outbox.tell_if_slow(farewell)

    async def hand_to(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if self._ended_with is not None:
            receiver.note_end(self._ended_with)
        await self.resume()

    async def resume(self) -> None:
        if not self._is_paused:
            return
        self._is_paused = False
        while not self._go_on_alone():
            await trio.lowlevel.checkpoint()
        if self._is_paused or self._ended_with is not None:
            return
        if self._reading is not None:
            self._reading.resume()
        else:
            self._reading = self._transport.start_reading(
                self, idle_s=self._options.idle_s, start=self._start
            )

    async def close(self, code: CloseCode, reason: str = "") -> None:
        self._is_closing = True
        self._outbox.push(close(code, reason))
        await self.resume()
        if self._ended_with is None:
            self._ended = self._ended or trio.Event()
            await self._ended.wait()

    def consume(self, data: bytes) -> bool:
        if not data:
            self._end(ABNORMAL)
            return True
        self._outbox.cork()
        message = None if self._is_paused else self._splitter.take_whole(data)
        if message is None:
            self._splitter.feed(data)
            return self.go_on()
        self._hand_out(message)
        return True

    def go_on(self) -> bool:
        """Hand out some of what was read; False if there is more."""
        splitter, outbox = self._splitter, self._outbox
        outbox.cork()
        try:
            for _ in range(EVENTS_PER_TURN):
                if self._is_paused or self._ended_with is not None:
                    return True
                event = splitter.next_event()
                if event is None:
                    return True
                outbox.is_in_burst = outbox.is_in_burst or splitter.has_more
                if isinstance(event, Control):
                    self._obey(event)
                else:
                    self._hand_out(event)
            # Who is paused is gone on with by `resume`, and not by two at a time.
            return self._is_paused or not splitter.has_more
        finally:
            outbox.is_in_burst = False

    def flush(self) -> None:
        self._outbox.uncork()

    def refuse(self, code: CloseCode) -> None:
        self._outbox.push(close(code))
        self._end(code)

    def fail(self, error: Exception) -> None:
        if self._receiver is not None:
            self._receiver.fail(error)
        self._end(CloseCode.INTERNAL_ERROR)

    async def accept(self, key: bytes, early: bytes) -> bool:
        """Answer the request to upgrade and see the answer written; False if that was not done in time."""
        self._splitter.feed(early)
        response = await switching_protocols(key)
        if not response or not self._outbox.push(response):
            return False
        if self._outbox.queued_bytes:
            with trio.move_on_after(self._options.handshake_within_s):
                await self._outbox.wait_drained()
        return not self._outbox.is_ended and not self._outbox.queued_bytes

    async def finish(self, error: BaseException | None) -> None:
        """See that the peer gets a CLOSE frame if it is there; `error` is what ended the owner."""
        # It has nobody any more for what still comes while that is written.
        self._is_closing = True
        is_expected = error is None or isinstance(error, SocketClosed)
        self._outbox.push(close(CloseCode.NORMAL if is_expected else CloseCode.INTERNAL_ERROR))
        await self._outbox.wait_drained()

    def leave(self) -> None:
        """End the tasks of this socket; nothing is read or written any more."""
        if self._reading is not None:
            self._reading.stop()
        self._outbox.leave()
        # Both know this socket, as the outbox did.
        self._reading = self._receiver = None

    def _start_guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run something in a task that others may have a part in: what it fails with is charged to this socket."""

        async def run() -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # charged to this socket
                self.fail(error)

        self._start(run)

    def _go_on_alone(self) -> bool:
        """Go on outside of a reader's turn."""
        try:
            return self.go_on()
        finally:
            self.flush()

    def _obey(self, control: Control) -> None:
        self._outbox.push(control.reply)
        if control.ended_with is not None:
            self._end(control.ended_with)

    def _hand_out(self, message: str | bytes) -> None:
        if self._receiver is None or self._is_closing:
            return
        if not self._receiver.take(message):
            self._is_paused = True
            if self._reading is not None:
                self._reading.pause()

    def _end(self, code: int) -> None:
        """Note that nothing more will come; the first code counts."""
        if self._ended_with is not None:
            return
        self._ended_with = code
        if self._ended is not None:
            self._ended.set()
        if self._reading is not None:
            self._reading.stop()
        if self._receiver is not None:
            self._receiver.note_end(code)
