"""Who reads a connected socket, and for whom: the ports between transports, the reactor and WebSockets.

A transport is read by the reactor (`reactor.py`), or by a task of its own (`TaskReading`) where there is none:
on systems without epoll, and for the memory transports of the tests.

**Invariant**: a consumer is called by one reader at a time; once paused, at most with what was read before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from protocol.frames import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    #: Runs something in a task.
    StartSoon = Callable[[Callable[[], Awaitable[None]]], None]


class Consumer(Protocol):
    """Who is handed what a transport brings; called synchronously, so it never waits.

    What it answers it keeps until `flush`, which follows in the same turn.
    """

    def consume(self, data: bytes) -> bool:
        """Take what was read, nothing at the end; False if it has more to do, which `go_on` does."""
        ...

    def go_on(self) -> bool:
        """Do some more of what is left to do; False if that is not all."""
        ...

    def flush(self) -> None:
        """Send what was answered."""
        ...

    def refuse(self, code: CloseCode) -> None:
        """Tell the peer that this is the end, and why."""
        ...

    def fail(self, error: Exception) -> None:
        """Be charged with what `consume` or `go_on` raised."""
        ...


class Reading(Protocol):
    """A transport that is being read."""

    def pause(self) -> None:
        """Read no more until `resume`; a peer is not silent meanwhile. Idempotent."""
        ...

    def resume(self) -> None: ...

    def stop(self) -> None:
        """Read no more; whoever wants what still comes may read the transport directly. Idempotent."""
        ...


class TaskReading:
    """Reads in a task of its own; a peer that sends nothing for `idle_s` is refused with 1000."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[bytes]],
        consumer: Consumer,
        *,
        idle_s: float,
        start: StartSoon,
    ) -> None:
        self._receive = receive
        self._consumer = consumer
        self._idle_s = idle_s
        self._scope = trio.CancelScope()
        self._may_read = trio.Event()
        self._may_read.set()
        start(self._run)

    def pause(self) -> None:
        # Somebody may wait for the event of an earlier pause.
        if self._may_read.is_set():
            self._may_read = trio.Event()

    def resume(self) -> None:
        self._may_read.set()

    def stop(self) -> None:
        self._scope.cancel()

    async def _run(self) -> None:
        with self._scope:
            try:
                while await self._read():
                    await self._may_read.wait()
            except Exception as error:  # noqa: BLE001  # charged to whoever is read
                self._consumer.fail(error)

    async def _read(self) -> bool:
        """Wait for bytes and hand them over; False if there will be no more."""
        data = b""
        with trio.move_on_after(self._idle_s) as waiting:
            data = await self._receive()
        if waiting.cancelled_caught:
            self._consumer.refuse(CloseCode.NORMAL)
            return False
        is_done = self._deal_with(data)
        while not is_done:
            await trio.lowlevel.checkpoint()
            is_done = self._deal_with(None)
        return bool(data)

    def _deal_with(self, data: bytes | None) -> bool:
        consumer = self._consumer
        try:
            return consumer.go_on() if data is None else consumer.consume(data)
        finally:
            consumer.flush()
