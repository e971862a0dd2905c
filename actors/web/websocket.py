"""WebSockets, accepted; the only file that imports trio_websocket.

`Upgrade` stands for a socket whose client asks for a WebSocket: made by the HTTP exchange (`exchange.py`),
offered to an endpoint (`supabase.py`), and entered by the connection actor that carries the client on.
`WebSocket` is what that actor gets, the `Socket` of `actors.realtime.ports`.

Ownership of the transport moves when the context is entered; until then the exchange has it and closes it in the end.
The library reads and does the handshake; what is written is pushed to the outbox, by it and by us.
No extension is accepted, so permessage-deflate is declined.

**Source**: RFC 6455, sections 4.2, 5.5.1 and 7.4.1, read 2026-11-21; trio-websocket 0.12.2 and wsproto 1.3.2.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Self

import trio
import trio_websocket
from attrs import asdict, evolve

from actors.realtime.errors import SocketClosed
from actors.web.endpoint import NO_LIMITS
from actors.web.outbox import ABNORMAL, Outbox
from actors.web.stream import OutboxStream, Replay
from actors.web.transport import RECEIVE_BYTES, linger
from protocol.frames import CloseCode, close

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from actors.web.endpoint import SocketLimits
    from actors.web.options import WebSocketOptions
    from actors.web.outbox import OutboxCap
    from actors.web.transport import Transport

#: The library reports these when the peer broke the protocol, and leaves telling the peer to us.
_OURS_TO_SEND = frozenset((CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA))


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
        self._options = options
        self._nursery = nursery
        self._outbox = Outbox(
            transport, options.outbox, cap, start=nursery.start_soon, on_end=self._end
        )
        self._stream = OutboxStream(
            transport,
            self._outbox,
            replay=replay,
            idle_s=options.idle_s,
            on_idle=partial(self._refuse, CloseCode.NORMAL),
            on_end=self._abandon_handshake,
        )
        self._handshake = trio.CancelScope()
        self._connection: trio_websocket.WebSocketConnection
        self._ended_with: int | None = None

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    def tell_if_slow(self, farewell: Callable[[], bytes]) -> None:
        self._outbox.tell_if_slow(farewell)

    async def receive(self) -> str | bytes:
        if self._ended_with is not None:
            raise SocketClosed(self._ended_with)
        try:
            message = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise SocketClosed(self._code_of(closed.reason)) from None
        if self._is_too_big(message):
            self._refuse(CloseCode.TOO_BIG)
            raise SocketClosed(CloseCode.TOO_BIG)
        return message

    async def close(self, code: CloseCode, reason: str = "") -> None:
        self._outbox.push(close(code, reason))
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await self._connection.get_message()

    async def accept(self) -> bool:
        """Complete the handshake in time, or return False."""
        # wrap_server_stream waits for ever for a head that does not come or is none.
        self._handshake.deadline = trio.current_time() + self._options.handshake_within_s
        with self._handshake:
            request = await trio_websocket.wrap_server_stream(
                self._nursery,
                self._stream,
                # One, so that a peer whose messages nobody takes feels it in its TCP window.
                message_queue_size=1,
                max_message_size=self._options.max_message_bytes,
                receive_buffer_size=RECEIVE_BYTES,
            )
            self._connection = await request.accept()
            await self._outbox.wait_drained()
            self._stream.open()
        return not self._handshake.cancelled_caught and not self._outbox.is_ended

    async def finish(self, error: BaseException | None) -> None:
        """See that the peer gets a CLOSE frame if it is there; `error` is what ended the owner."""
        is_expected = error is None or isinstance(error, SocketClosed)
        code = self._farewell_code() if is_expected else CloseCode.INTERNAL_ERROR
        self._outbox.push(close(code))
        await self._outbox.wait_drained()

    def leave(self) -> None:
        """End the tasks of this socket; nothing is written any more."""
        self._outbox.discard()
        self._nursery.cancel_scope.cancel()

    def _end(self, code: int) -> None:
        """Let `receive` raise `SocketClosed(code)` at once; the first code counts."""
        if self._ended_with is None:
            self._ended_with = code
        self._stream.end()

    def _refuse(self, code: CloseCode) -> None:
        self._outbox.push(close(code))
        self._end(code)

    def _abandon_handshake(self) -> None:
        self._handshake.cancel()

    def _farewell_code(self) -> CloseCode:
        code = self._code_of(self._connection.closed)
        return CloseCode(code) if code in _OURS_TO_SEND else CloseCode.NORMAL

    def _code_of(self, reason: trio_websocket.CloseReason | None) -> int:
        if self._ended_with is not None:
            return self._ended_with
        return reason.code if reason is not None else ABNORMAL

    def _is_too_big(self, message: str | bytes) -> bool:
        # The library counts characters, and only text that is not ASCII is longer in bytes.
        if isinstance(message, bytes) or message.isascii():
            return False
        return len(message.encode()) > self._options.max_message_bytes


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

    def open_socket(self, limits: SocketLimits = NO_LIMITS) -> Self:
        """Return the context, whose socket has these limits in place of the port's; for `Opening.open_socket`."""
        given = {name: value for name, value in asdict(limits).items() if value is not None}
        self._options = evolve(self._options, **given)
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
