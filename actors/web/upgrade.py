"""A client that asks for a WebSocket: made by the HTTP exchange, offered to an endpoint, entered by who carries it on.

Made by `exchange.py`, offered to a door (`supabase.py`); the connection actor enters it and gets a `WebSocket`.
Ownership of the transport moves when the context is entered; until then the exchange has it and closes it in the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import trio
from attrs import asdict, evolve

from actors.realtime.errors import SocketClosed
from actors.web.endpoint import NO_LIMITS
from actors.web.transport import linger
from actors.web.websocket import WebSocket
from protocol.frames import ABNORMAL

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from actors.web.endpoint import SocketLimits
    from actors.web.options import WebSocketOptions
    from actors.web.outbox_cap import OutboxCap
    from actors.web.transport import Transport

#: Of trio's loop, in which who was told of a client has entered the context if nothing is wrong.
TURNS = 2


class Upgrade:
    """A client's wish for a WebSocket, and the context that fulfils it.

    `key` is its `Sec-WebSocket-Key`; `early` is what came right behind the head of its request.
    Entered once, by whoever owns the socket from then on.
    """

    __slots__ = (
        "_cap",
        "_claimed",
        "_early",
        "_is_revoked",
        "_key",
        "_options",
        "_socket",
        "_tasks",
        "_transport",
        "is_claimed",
    )

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
        for _ in range(TURNS):
            if self.is_claimed:
                return
            await trio.lowlevel.checkpoint()
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
