"""The stream under the WebSocket library while it shakes hands, and not longer.

Made by `websocket.py` for `trio_websocket`, which believes that it owns a connection.
It sees the head of the request once more, then nothing: what the client sends behind it is read by us (`splitting.py`).
What it writes goes out through the outbox, in order with ours. Closing the stream closes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import field, frozen

if TYPE_CHECKING:
    from actors.web.outbox import Outbox


@frozen
class Replay:
    """What was read before the library: the head of the request, and what came right behind it."""

    head: bytes = field(repr=False)
    early: bytes = field(default=b"", repr=False)


class HandshakeStream(trio.abc.Stream):
    """See the module's text."""

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
