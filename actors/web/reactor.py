"""The reactor: one task reads all WebSockets, so that no message has to wake a task before it is dealt with.

The sockets are in an inner epoll, which is itself waited for: what is ready is read, split and dealt with in one turn.
A turn does one kind of work at a time: it reads from all, deals with what was read, and then sends what is answered.
System calls in between would cost each message a quarter more: they throw our code out of the processor's caches.
Neighbours: transports are entered by `tcp.py`, and what they bring goes to the sockets of `websocket.py`.

Truth: none; `Sockets`, the table of who is read, outlives it. Rank 3, takes no messages.
An exception of one socket is charged to that socket. A crash of the reactor itself is rung 3 for all that it read:
each is told CLOSE 1012 and ended, and the next incarnation begins with those that come then.

**Invariants**
- After about 2 ms of work everybody else gets a turn; a socket with more to do than a turn holds goes on in the next.
- What is answered in a turn is sent before anybody else has one.
- Who is paused is not in the epoll, for that would report a hang-up again and again.
"""

from __future__ import annotations

import select
from time import perf_counter
from typing import TYPE_CHECKING, Final, Never

import trio

from actors.core.signals import Stopping
from actors.core.spec import ChildSpec, Restart
from protocol.frames import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.core.inbox import Inbox
    from actors.web.reading import Consumer

#: How long the reactor works before it lets others have a turn.
SLICE_S: Final = 0.002
#: Sockets that are read before the first of them is dealt with.
#: Trade-off: so many reads are in memory at a time; most of what more would save is saved.
SOCKETS_PER_TURN: Final = 64
#: How often it looks for sockets that are silent for too long: they are closed up to so much later.
SWEEP_S: Final = 1.0


class SocketReading:
    """One socket that the reactor reads; see `reading.Reading`."""

    __slots__ = (
        "_sockets",
        "consumer",
        "descriptor",
        "heard_at",
        "idle_s",
        "is_busy",
        "is_stopped",
        "read",
    )

    def __init__(
        self,
        sockets: Sockets,
        descriptor: int,
        read: Callable[[], bytes | None],
        consumer: Consumer,
        idle_s: float,
    ) -> None:
        self._sockets = sockets
        self.descriptor = descriptor
        #: Returns what there is without waiting: None if nothing came, empty at the end.
        self.read = read
        self.consumer = consumer
        self.idle_s = idle_s
        #: When bytes came last, or could not because it was paused (seconds, trio clock).
        self.heard_at = 0.0
        #: Whether it is to go on with what was read before.
        self.is_busy = False
        #: Whether nobody wants what was read any more.
        self.is_stopped = False
        self.resume()

    def pause(self) -> None:
        self._sockets.remove(self)

    def resume(self) -> None:
        self.heard_at = trio.current_time()
        self._sockets.add(self)

    def stop(self) -> None:
        self.is_stopped = True
        self._sockets.remove(self)


class Sockets:
    """The table of who is read; outlives the incarnations of the reactor."""

    def __init__(self) -> None:
        #: Who is read; the reactor looks there, and nobody else changes it.
        self.by_descriptor: dict[int, SocketReading] = {}
        #: Level-triggered; waited for by the reactor.
        self.epoll = select.epoll()
        #: The reactor's, while it runs.
        self._nursery: trio.Nursery | None = None
        #: What is to be started by the next incarnation.
        self._waiting: list[Callable[[], Awaitable[None]]] = []

    def start_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run something that must not fail in a task of the reactor, and cancel it with that."""
        if self._nursery is None:
            self._waiting.append(work)
        else:
            self._nursery.start_soon(work)

    def open_for_tasks(self, nursery: trio.Nursery) -> None:
        """Start tasks in `nursery` from now on."""
        self._nursery = nursery
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            nursery.start_soon(work)

    def close_for_tasks(self) -> None:
        """Start no tasks until there is another nursery."""
        self._nursery = None

    def add(self, reading: SocketReading) -> None:
        """Let a socket be read; once only, until it is removed."""
        self.epoll.register(reading.descriptor, select.EPOLLIN)
        self.by_descriptor[reading.descriptor] = reading

    def remove(self, reading: SocketReading) -> None:
        """Let a socket be read no more; to be called before it is closed. Idempotent."""
        if self.by_descriptor.get(reading.descriptor) is reading:
            del self.by_descriptor[reading.descriptor]
            self.epoll.unregister(reading.descriptor)

    def all(self) -> tuple[SocketReading, ...]:
        """Return all who are read."""
        return tuple(self.by_descriptor.values())


def has_reactor() -> bool:
    """Whether this system has what the reactor needs; elsewhere every socket is read by a task of its own."""
    return hasattr(select, "epoll")


def reactor_spec(sockets: Sockets) -> ChildSpec[Never]:
    """Return how a reactor is started, again and again."""
    return ChildSpec(
        name="reactor", factory=lambda: Reactor(sockets), rank=3, restart=Restart.PERMANENT
    )


class Reactor:
    """The actor; see the module's text."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._busy: list[SocketReading] = []

    async def run(self, inbox: Inbox[Never]) -> None:
        """Read until told to stop."""
        try:
            async with trio.open_nursery() as nursery:
                self._sockets.open_for_tasks(nursery)
                nursery.start_soon(self._read)
                nursery.start_soon(self._sweep)
                inbox.ready()
                async for signal in inbox:
                    if isinstance(signal, Stopping):
                        break
                nursery.cancel_scope.cancel()
        finally:
            self._sockets.close_for_tasks()
            for reading in self._sockets.all():
                reading.consumer.refuse(CloseCode.SERVICE_RESTART)

    async def _read(self) -> None:
        sockets, readings = self._sockets, self._sockets.by_descriptor
        while True:
            if self._busy:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(sockets.epoll)
            turn: list[tuple[SocketReading, bytes | None]] = [(one, None) for one in self._busy]
            self._busy.clear()
            now = trio.current_time()
            for descriptor, _ in sockets.epoll.poll(0, SOCKETS_PER_TURN):
                reading = readings.get(descriptor)
                if reading is None or reading.is_busy:
                    continue
                data = reading.read()
                if data is not None:
                    reading.heard_at = now
                    turn.append((reading, data))
            await self._deal_with(turn)

    async def _deal_with(self, turn: list[tuple[SocketReading, bytes | None]]) -> None:
        """Hand over what was read, or have gone on with what was read before; then send what is answered."""
        sent = 0
        slice_end = perf_counter() + SLICE_S
        for count, (reading, data) in enumerate(turn, 1):
            self._hand_over(reading, data)
            if perf_counter() >= slice_end:
                _flush(turn[sent:count])
                sent = count
                await trio.lowlevel.checkpoint()
                slice_end = perf_counter() + SLICE_S
        _flush(turn[sent:])

    def _hand_over(self, reading: SocketReading, data: bytes | None) -> None:
        """Let the consumer have what was read, or go on; what that fails with is charged to it."""
        reading.is_busy = False
        if reading.is_stopped:
            return
        if data == b"":
            reading.stop()
        consumer = reading.consumer
        try:
            if not (consumer.go_on() if data is None else consumer.consume(data)):
                reading.is_busy = True
                self._busy.append(reading)
        except Exception as error:  # noqa: BLE001  # charged to whoever is read
            reading.stop()
            consumer.fail(error)

    async def _sweep(self) -> None:
        """Say goodbye to those who were silent for too long."""
        while True:
            await trio.sleep(SWEEP_S)
            now = trio.current_time()
            for reading in self._sockets.all():
                if now - reading.heard_at >= reading.idle_s:
                    reading.consumer.refuse(CloseCode.NORMAL)


def _flush(turn: list[tuple[SocketReading, bytes | None]]) -> None:
    for reading, _ in turn:
        try:
            reading.consumer.flush()
        except Exception as error:  # noqa: BLE001  # charged to whoever is read
            reading.stop()
            reading.consumer.fail(error)
