"""The WebSocket handshake; the only file that imports trio_websocket, which is let go of when it is done.

Called by `websocket.py`. The library believes that it owns a connection: what it reads is the head of the request
once more, and then nothing, since what the client sends behind it is ours to read (`splitting.py`).
What it writes goes out through the outbox, in order with ours. No extension is accepted, so compression is declined.

**Source**: RFC 6455, section 4.2, read 2026-11-21; trio-websocket 0.12.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio_websocket
from attrs import field, frozen

if TYPE_CHECKING:
    from actors.web.outbox import Outbox


@frozen
class Replay:
    """What was read before the handshake: the head of the request, and what came right behind it."""

    head: bytes = field(repr=False)
    early: bytes = field(default=b"", repr=False)


def handshake_head(key: bytes) -> bytes:
    """Return the head of a request to upgrade with this `Sec-WebSocket-Key`, and nothing else of the client's.

    The client's own head was judged by the exchange.
    wsproto crashes on some that h11 accepts, for instance on a Host that is not IDNA.
    """
    return (
        b"GET / HTTP/1.1\r\nHost: upgrade\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )


async def shake_hands(head: bytes, outbox: Outbox, *, within_s: float) -> bool:
    """Answer the request to upgrade and see the answer written; False if that was not done in time."""
    # wrap_server_stream waits for ever for a head that does not come or is none.
    with trio.move_on_after(within_s) as waiting:
        async with trio.open_nursery() as nursery:
            stream = HandshakeStream(head, outbox)
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            await request.accept()
            # The library's task ends here.
            nursery.cancel_scope.cancel()
        await outbox.wait_drained()
    return not waiting.cancelled_caught and not outbox.is_ended


class HandshakeStream(trio.abc.Stream):
    """The stream under the library; see the module's text."""

    def __init__(self, head: bytes, outbox: Outbox) -> None:
        self._head = head
        self._outbox = outbox

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Push; what cannot arrive is of no interest here, since reading will tell."""
        await trio.lowlevel.checkpoint()
        self._outbox.push(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Return: the outbox always takes."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002  # the head is bounded
        """Return the head, then wait to be cancelled."""
        await trio.lowlevel.checkpoint()
        if not self._head:
            await trio.sleep_forever()
        head, self._head = self._head, b""
        return head

    async def aclose(self) -> None:
        """Do nothing: the socket is ours."""
        await trio.lowlevel.checkpoint()
