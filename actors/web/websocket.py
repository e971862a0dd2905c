"""WebSockets, accepted; the only file that imports trio_websocket.

`Upgrade` stands for a socket whose client asks for a WebSocket: made by the HTTP exchange (`exchange.py`),
offered to an endpoint (`supabase.py`), and entered by the connection actor that carries the client on.
`WebSocket` is what that actor gets, the `Socket` of `actors.realtime.ports`.

Ownership of the transport moves when the context is entered; until then the exchange has it and closes it in the end.
The library does the handshake and is let go of; frames are read by the splitter, and all that is written is pushed.
No extension is accepted, so permessage-deflate is declined.

**Source**: RFC 6455, section 4.2, read 2026-11-21; trio-websocket 0.12.2.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

import trio
import trio_websocket

from actors.realtime.errors import SocketClosed
from actors.web.outbox import ABNORMAL, Outbox
from actors.web.rare_frames import Control
from actors.web.splitting import Splitter
from actors.web.stream import HandshakeStream
from actors.web.transport import linger
from protocol.frames import CloseCode, close

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from actors.web.options import WebSocketOptions
    from actors.web.outbox import OutboxCap
    from actors.web.stream import Replay
    from actors.web.transport import Transport


def handshake_head(key: bytes) -> bytes:
    """Return the head of a request to upgrade with this `Sec-WebSocket-Key`, and nothing else of the client's.

    The client's own head was judged by the exchange.
    wsproto crashes on some that h11 accepts, for instance on a Host that is not IDNA.
    """
    return (
        b"GET / HTTP/1.1\r\nHost: upgrade\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )


class WebSocket:
    """One WebSocket; made by entering an `Upgrade`, which gives it out once `accept` succeeded."""

    def __init__(
        self,
        transport: Transport,
        options: WebSocketOptions,
        cap: OutboxCap,
        *,
        replay: Replay,
        nursery: trio.Nursery,
    ) -> None:
        self._transport = transport
        self._options = options
        self._nursery = nursery
        self._replay = replay
        self._outbox = Outbox(
            transport, options.outbox, cap, start=nursery.start_soon, on_end=self._end
        )
        self._splitter = Splitter(options.max_message_bytes)
        self._reading: trio.CancelScope | None = None
        self._ended = trio.Event()
        self._ended_with = ABNORMAL

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    def tell_if_slow(self, farewell: Callable[[], bytes]) -> None:
        self._outbox.tell_if_slow(farewell)

    async def receive(self) -> str | bytes:
        while not self._ended.is_set():
            event = self._splitter.next_event()
            if event is None:
                await self._read()
            elif isinstance(event, Control):
                self._outbox.push(event.reply)
                if event.ended_with is not None:
                    self._end(event.ended_with)
            else:
                await trio.lowlevel.checkpoint()
                return event
        raise SocketClosed(self._ended_with)

    async def close(self, code: CloseCode, reason: str = "") -> None:
        self._outbox.push(close(code, reason))
        with suppress(SocketClosed):
            while True:
                await self.receive()

    async def accept(self) -> bool:
        """Complete the handshake in time, or return False."""
        # wrap_server_stream waits for ever for a head that does not come or is none.
        with trio.move_on_after(self._options.handshake_within_s) as handshake:
            async with trio.open_nursery() as nursery:
                stream = HandshakeStream(self._replay.head, self._outbox)
                request = await trio_websocket.wrap_server_stream(nursery, stream)
                await request.accept()
                # The library's task ends here; what it would have read is read by us.
                nursery.cancel_scope.cancel()
            await self._outbox.wait_drained()
        self._splitter.feed(self._replay.early)
        return not handshake.cancelled_caught and not self._outbox.is_ended

    async def finish(self, error: BaseException | None) -> None:
        """See that the peer gets a CLOSE frame if it is there; `error` is what ended the owner."""
        is_expected = error is None or isinstance(error, SocketClosed)
        self._outbox.push(close(CloseCode.NORMAL if is_expected else CloseCode.INTERNAL_ERROR))
        await self._outbox.wait_drained()

    def leave(self) -> None:
        """End the tasks of this socket; nothing is written any more."""
        self._outbox.discard()
        self._nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        if self._reading is not None:
            # Somebody reads already, and this one waits for the end.
            await self._ended.wait()
            return
        data = b""
        with trio.move_on_after(self._options.idle_s) as self._reading:
            data = await self._transport.receive_some()
        is_idle, self._reading = self._reading.cancelled_caught, None
        if data:
            self._splitter.feed(data)
        elif is_idle and not self._ended.is_set():
            self._outbox.push(close(CloseCode.NORMAL))
            self._end(CloseCode.NORMAL)
        else:
            self._end(ABNORMAL)

    def _end(self, code: int) -> None:
        """Let `receive` raise `SocketClosed(code)` at once; the first code counts."""
        if not self._ended.is_set():
            self._ended_with = code
            self._ended.set()
            if self._reading is not None:
                self._reading.cancel()


class Upgrade:
    """A client's wish for a WebSocket, and the context that fulfils it.

    Entered once, by whoever owns the socket from then on.
    """

    def __init__(
        self,
        transport: Transport,
        options: WebSocketOptions,
        cap: OutboxCap,
        replay: Replay,
    ) -> None:
        self._transport = transport
        self._options = options
        self._cap = cap
        self._replay = replay
        self._claimed = trio.Event()
        self._is_revoked = False
        self._cleanup: AsyncExitStack
        self._socket: WebSocket

    def open_socket(self) -> Self:
        """Return the context; for `Opening.open_socket`."""
        return self

    @property
    def is_claimed(self) -> bool:
        """Whether the transport belongs to whoever entered the context."""
        return self._claimed.is_set()

    async def wait_claimed(self) -> None:
        """Wait until somebody enters the context, but no longer than a handshake may take."""
        with trio.move_on_after(self._options.handshake_within_s):
            await self._claimed.wait()

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
        self._claimed.set()
        async with AsyncExitStack() as stack:
            stack.callback(self._transport.close)
            stack.push_async_callback(linger, self._transport, within_s=self._options.linger_s)
            nursery = await stack.enter_async_context(trio.open_nursery())
            self._socket = WebSocket(
                self._transport,
                self._options,
                self._cap,
                replay=self._replay,
                nursery=nursery,
            )
            stack.callback(self._socket.leave)
            if await self._socket.accept():
                self._cleanup = stack.pop_all()
                return self._socket
        raise SocketClosed(ABNORMAL)

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
            await self._cleanup.aclose()
