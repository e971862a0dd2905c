"""The outbox of one WebSocket: the only way to write to it, synchronous and in order.

Pushed to by the fan-out, by a connection's replies and, through `websocket.py`, by the answers to control frames.
As long as the socket takes everything a push is one system call and nothing is kept.
What the socket does not take is queued, and a drain task exists only while something is.

**Invariants**
- A frame whose first byte was sent is sent whole: its tail is never dropped.
- A CLOSE frame is pushed alone, and after it nothing more is written.
- `push` never waits and never raises.
- Queued bytes are counted in the `OutboxCap` until they are sent or dropped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from actors.web.transport import send_what_fits
from protocol.frames import ABNORMAL, CLOSE_FRAME, CloseCode, close, next_boundary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from actors.web.options import OutboxOptions
    from actors.web.outbox_cap import OutboxCap
    from actors.web.transport import Sink


class Outbox:
    """See the module's text.

    `start` starts the drain task in a nursery of the owner.
    `on_end` is told once of what the owner did not do itself: 1008 for a slow consumer, 1006 for a dead socket.
    It hears of that before the socket is closed, also behind the owner's own CLOSE; it never waits or raises.
    """

    # A fan-out finds each outbox out of cache: slots spare it the way through a second object.
    __slots__ = (
        "_cap",
        "_corked",
        "_drain_deadline",
        "_drain_scope",
        "_drained",
        "_dropped_bytes",
        "_farewell",
        "_is_draining",
        "_is_ended",
        "_offset",
        "_on_end",
        "_options",
        "_queue",
        "_queued_bytes",
        "_send_some",
        "_sink",
        "_start",
        "is_held",
        "is_in_burst",
    )

    def __init__(
        self,
        sink: Sink,
        options: OutboxOptions,
        cap: OutboxCap,
        *,
        start: Callable[[Callable[[], Awaitable[Any]]], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._sink = sink
        self._send_some = sink.send_some
        self._options = options
        self._cap = cap
        self._start = start
        self._on_end: Callable[[int], None] | None = on_end
        self._farewell: Callable[[], bytes] | None = None
        #: What was pushed while corked, None when that is not so.
        self._corked: list[bytes] | None = None
        #: A list, for an empty deque takes a kilobyte nearly; what was sent leaves it once per flush.
        self._queue: list[bytes] = []
        #: Bytes of the first queued entry that were sent.
        self._offset = 0
        self._queued_bytes = 0
        self._dropped_bytes = 0
        self._is_ended = False
        #: True while a push cannot simply send: it is corked, something is queued, or the outbox has ended.
        self.is_held = False
        #: Whether several messages of this client are being dealt with in one turn.
        self.is_in_burst = False
        self._is_draining = False
        self._drain_scope: trio.CancelScope | None = None
        self._drain_deadline = math.inf
        #: Set when nothing is queued any more, None until something was.
        self._drained: trio.Event | None = None

    @property
    def is_ended(self) -> bool:
        """Whether every further push will fail."""
        return self._is_ended

    @property
    def queued_bytes(self) -> int:
        """How much waits for the socket to take it."""
        return self._queued_bytes

    @property
    def dropped_bytes(self) -> int:
        """How much was queued and never sent."""
        return self._dropped_bytes

    def tell_if_slow(self, farewell: Callable[[], bytes]) -> None:
        """Set what a slow consumer is told before CLOSE 1008, as whole frames."""
        self._farewell = farewell

    def push(self, data: bytes) -> bool:
        """Send or queue whole frames; False if they will not arrive (see the port)."""
        if self.is_held or data[:1] == CLOSE_FRAME:
            return self._push_held(data)
        try:
            sent = self._send_some(data)
        except OSError as error:
            return self._note_unsent(data, error)
        return sent == len(data) or self._hold(data, sent)

    @staticmethod
    def push_all(pushes: Iterable[tuple[Outbox, bytes]]) -> int:
        """See the port; what `push` does for nearly all of them, without a call for each."""
        taken = 0
        for outbox, data in pushes:
            if outbox.is_held:
                taken += outbox.push(data)
                continue
            try:
                sent = outbox._send_some(data)  # noqa: SLF001  # all are of this class
            except OSError as error:
                taken += outbox._note_unsent(data, error)  # noqa: SLF001  # as above
            else:
                taken += sent == len(data) or outbox._hold(data, sent)  # noqa: SLF001  # as above
        return taken

    def cork(self) -> None:
        """Keep what is pushed until `uncork`, which is to come in the same turn: one system call instead of many."""
        if self._corked is None:
            self._corked = []
            self.is_held = True

    def uncork(self) -> None:
        """Send what was kept."""
        corked, self._corked = self._corked, None
        self.is_held = self._is_ended or bool(self._queue)
        if corked:
            self.push(corked[0] if len(corked) == 1 else b"".join(corked))

    async def wait_drained(self) -> None:
        """Wait until nothing is queued, be it sent or dropped; bounded once a CLOSE frame was pushed."""
        await trio.lowlevel.checkpoint()
        while self._queue and self._drained is not None:
            await self._drained.wait()

    def leave(self) -> None:
        """End, drop what is queued, and let go of the owner, who knows this outbox: a ring would outlive both."""
        self._discard()
        self._on_end = self._farewell = None
        # Nothing is queued any more, so no task is to be started.
        self._start = lambda _work: None

    def _discard(self) -> None:
        self._end()
        self._drop_queue()
        self._note_drained()
        if self._drain_scope is not None:
            self._drain_scope.cancel()

    def _push_held(self, data: bytes) -> bool:
        if self._corked is not None and not self._is_ended:
            if data[:1] != CLOSE_FRAME:
                self._corked.append(data)
                return True
            # This may end it: by one push too many, or at a dead socket.
            self.uncork()
        if self._is_ended:
            return False
        is_full = self._queued_bytes >= self._options.budget_bytes or self._cap.is_full
        if self._queue and is_full:
            self._overflow()
            return False
        self._queue.append(data)
        self._count(len(data))
        if data[:1] == CLOSE_FRAME:
            self._end()
        return self._is_draining or self._flush()

    def _note_unsent(self, data: bytes, error: OSError) -> bool:
        if isinstance(error, BlockingIOError):
            return self._hold(data, 0)
        self._die()
        return False

    def _hold(self, data: bytes, sent: int) -> bool:
        """Queue what the socket did not take of `data`, and have it drained; the rest of a push's answer."""
        self._queue.append(data)
        self._offset = sent
        self._count(len(data) - sent)
        self._wait_for_room()
        if self._cap.is_full:
            self._overflow()
            return False
        return True

    def _flush(self) -> bool:
        """Send from the queue until it is empty or the socket full, and have the rest drained; False if it is dead."""
        sent_entries = 0
        try:
            for data in self._queue:
                rest = memoryview(data)[self._offset :]
                sent = send_what_fits(self._sink, rest)
                self._count(-sent)
                if sent != len(rest):
                    self._offset += sent
                    self._wait_for_room()
                    return True
                sent_entries += 1
                self._offset = 0
        except OSError:
            self._die()
            return False
        finally:
            del self._queue[:sent_entries]
        self.is_held = self._is_ended
        self._note_drained()
        return True

    def _note_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()

    def _wait_for_room(self) -> None:
        self.is_held = True
        if not self._is_draining:
            self._is_draining = True
            self._drained = trio.Event()
            self._start(self._drain)

    async def _drain(self) -> None:
        try:
            with trio.CancelScope(deadline=self._drain_deadline) as self._drain_scope:
                while self._queue:
                    await self._sink.wait_writable()
                    self._flush()
        except OSError:
            self._die()
        finally:
            self._is_draining = False
            self._drain_scope = None
            # The time was up, or whoever drains had to stop.
            if self._queue:
                self._die()

    def _overflow(self) -> None:
        """Make a slow consumer of the connection: drop what was not begun, say why, close."""
        begun = self._queue[0] if self._offset else b""
        tail = begun[self._offset : next_boundary(begun, self._offset)]
        farewell = self._farewell() if self._farewell is not None else b""
        self._drop_queue()
        self._dropped_bytes -= len(tail)
        for data in (tail, farewell, close(CloseCode.POLICY, "reads too slowly")):
            if data:
                self._queue.append(data)
                self._count(len(data))
        self.is_held = True
        self._end()
        self._tell_end(CloseCode.POLICY)

    def _end(self) -> None:
        self._is_ended = self.is_held = True
        self._drain_deadline = trio.current_time() + self._options.drain_within_s
        if self._drain_scope is not None:
            self._drain_scope.deadline = self._drain_deadline

    def _die(self) -> None:
        self._discard()
        self._tell_end(ABNORMAL)
        self._sink.abort()

    def _tell_end(self, code: int) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(code)

    def _drop_queue(self) -> None:
        self._dropped_bytes += self._queued_bytes
        self._count(-self._queued_bytes)
        self._queue.clear()
        self._offset = 0

    def _count(self, size_bytes: int) -> None:
        self._queued_bytes += size_bytes
        self._cap.queued_bytes += size_bytes
