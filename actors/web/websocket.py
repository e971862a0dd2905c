"""WebSockets, accepted: what comes is handed to their owner message by message, what goes is pushed.

`Upgrade` stands for a socket whose client asks for a WebSocket: made by the HTTP exchange (`exchange.py`),
offered to an endpoint (`supabase.py`), and entered by the connection actor that carries the client on.
`WebSocket` is what that actor gets, the `Socket` of `actors.realtime.ports`.
Between the two: the handshake (`handshake.py`), who reads (`reading.py`), the splitter and the outbox.

Ownership of the transport moves when the context is entered; until then the exchange has it and closes it in the end.

**Invariants**
- Messages are handed out in their order, one at a time, and none while the owner is busy with one or has closed.
- What is pushed while several messages are handed out leaves in one piece afterwards.
- The idle limit runs only while bytes are waited for, so a connection that is paused by its owner is never called idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import trio
from attrs import asdict, evolve

from actors.realtime.errors import SocketClosed
from actors.web.endpoint import NO_LIMITS
from actors.web.handshake import switching_protocols
from actors.web.outbox import ABNORMAL, Outbox
from actors.web.rare_frames import Control
from actors.web.splitting import Splitter
from actors.web.transport import linger
from protocol.frames import CloseCode, close

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from actors.realtime.ports import Receiver
    from actors.web.endpoint import SocketLimits
    from actors.web.options import WebSocketOptions
    from actors.web.outbox import OutboxCap
    from actors.web.reading import Reading, StartSoon
    from actors.web.transport import Transport

#: Messages of one client in one turn: as many as one of them may bring in a read, others get theirs in between.
EVENTS_PER_TURN: Final = 64


class WebSocket:
    """One WebSocket; made by entering an `Upgrade`, which gives it out once `accept` succeeded.

    A `Socket` for its owner, a `reading.Consumer` for whoever reads.
    """

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
        while not self.go_on():
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
        message = None if self._is_paused else self._splitter.take_whole(data)
        if message is None:
            self._splitter.feed(data)
            return self.go_on()
        self._hand_out(message)
        return True

    def go_on(self) -> bool:
        """Hand out some of what was read; False if there is more."""
        splitter = self._splitter
        is_corked = False
        try:
            for _ in range(EVENTS_PER_TURN):
                if self._is_paused or self._ended_with is not None:
                    return True
                event = splitter.next_event()
                if event is None:
                    return True
                if not is_corked and splitter.has_more:
                    is_corked = True
                    self._outbox.cork()
                if isinstance(event, Control):
                    self._obey(event)
                else:
                    self._hand_out(event)
            return not splitter.has_more
        finally:
            if is_corked:
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
        with trio.move_on_after(self._options.handshake_within_s):
            response = await switching_protocols(key)
            if response and self._outbox.push(response):
                await self._outbox.wait_drained()
                return not self._outbox.is_ended
        return False

    async def finish(self, error: BaseException | None) -> None:
        """See that the peer gets a CLOSE frame if it is there; `error` is what ended the owner."""
        is_expected = error is None or isinstance(error, SocketClosed)
        self._outbox.push(close(CloseCode.NORMAL if is_expected else CloseCode.INTERNAL_ERROR))
        await self._outbox.wait_drained()

    def leave(self) -> None:
        """End the tasks of this socket; nothing is read or written any more."""
        if self._reading is not None:
            self._reading.stop()
        self._outbox.discard()

    def _start_guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run something in a task that others may have a part in: what it fails with is charged to this socket."""

        async def run() -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # charged to this socket
                self.fail(error)

        self._start(run)

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


class Upgrade:
    """A client's wish for a WebSocket, and the context that fulfils it.

    `key` is its `Sec-WebSocket-Key`; `early` is what came right behind the head of its request.
    Entered once, by whoever owns the socket from then on.
    """

    def __init__(
        self,
        transport: Transport,
        options: WebSocketOptions,
        cap: OutboxCap,
        key: bytes,
        early: bytes = b"",
    ) -> None:
        self._transport = transport
        self._options = options
        self._cap = cap
        self._key = key
        self._early = early
        #: Made for who waits for that.
        self._claimed: trio.Event | None = None
        #: Whether the transport belongs to whoever entered the context.
        self.is_claimed = False
        self._is_revoked = False
        # Not `async with`, nor a stack of contexts, which would take kilobytes for as long as the client stays.
        #: A nursery of its own, if the transport does not run tasks.
        self._tasks: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._socket: WebSocket

    def open_socket(self, limits: SocketLimits = NO_LIMITS) -> Self:
        """Return the context, whose socket has these limits in place of the port's; for `Opening.open_socket`."""
        if limits is not NO_LIMITS:
            given = {name: value for name, value in asdict(limits).items() if value is not None}
            self._options = evolve(self._options, **given)
        return self

    async def wait_claimed(self) -> None:
        """Wait until somebody enters the context, but no longer than a handshake may take."""
        if self.is_claimed:
            return
        self._claimed = trio.Event()
        with trio.move_on_after(self._options.handshake_within_s):
            await self._claimed.wait()
        self._claimed = None

    def revoke(self) -> None:
        """Let nobody enter the context any more."""
        self._is_revoked = True

    async def __aenter__(self) -> WebSocket:
        """Complete the handshake.

        Raises:
            SocketClosed: it was not completed in time, or came too late.
        """
        if self._is_revoked:
            raise SocketClosed(ABNORMAL)
        self.is_claimed = True
        if self._claimed is not None:
            self._claimed.set()
        start = self._transport.start_soon
        if start is None:
            self._tasks = trio.open_nursery()
            start = (await self._tasks.__aenter__()).start_soon
        self._socket = WebSocket(self._transport, self._options, self._cap, start)
        is_open = False
        try:
            is_open = await self._socket.accept(self._key, self._early)
        finally:
            if not is_open:
                await self._leave()
        if not is_open:
            raise SocketClosed(ABNORMAL)
        return self._socket

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The owner's exception is kept from the nursery, which would wrap it in a group.
        try:
            await self._socket.finish(error)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """End the tasks of the socket, let what was sent arrive, and close."""
        try:
            self._socket.leave()
            try:
                if self._tasks is not None:
                    await self._tasks.__aexit__(None, None, None)
            finally:
                await linger(self._transport, within_s=self._options.linger_s)
        finally:
            self._transport.close()
