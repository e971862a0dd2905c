"""Fan-out: encode once per encode key, send once per subscriber and batch.

Used by the channel for broadcasts and by the rows actor for row changes.
Bytes go straight into the outboxes: no task is woken, so a delivery costs one system call and little else.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors.realtime.messages import JoinKey
    from actors.realtime.ports import Outbox
    from actors.realtime.roster import Roster
    from protocol.dialect import EncodeKey
    from protocol.events import Event

# Trade-off: 256 sends are about a millisecond; a larger stretch delays every other task of the node.
SENDS_PER_CHECKPOINT = 256


class Sends:
    """Bytes on their way to many outboxes.

    **Invariant**: whatever interrupts `flush`, a following `finish` sends what is left,
    so every subscriber gets each frame once and in order.
    """

    def __init__(self, sends: Iterator[tuple[Outbox, bytes]]) -> None:
        self._sends = sends

    async def flush(self) -> int:
        """Push everything, with a checkpoint now and then; return how many outboxes took their bytes."""
        taken = 0
        for count, (outbox, data) in enumerate(self._sends, 1):
            taken += outbox.push(data)
            if count % SENDS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
        return taken

    def finish(self) -> None:
        """Push what `flush` did not come to, without a checkpoint."""
        for outbox, data in self._sends:
            outbox.push(data)


class Delivery:
    """What a channel has prepared to send from one batch of its mailbox."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._frames: dict[EncodeKey, list[bytes]] = {}
        self._skips: dict[JoinKey, set[int]] = {}
        self._count = 0
        self._sends = Sends(iter(()))
        self.size_bytes = 0
        #: Events that went out since the start, each once per subscriber whose dialect can carry it.
        self.received = 0

    def __len__(self) -> int:
        return self._count

    def add(self, event: Event, skip: JoinKey | None) -> None:
        """Encode an event for everybody who is on the roster now; a failure leaves what was added before intact."""
        frames = {key: self._encode(event, key) for key in self._roster.encode_keys()}
        for key, frame in frames.items():
            self._frames.setdefault(key, []).append(frame)
            self.size_bytes += len(frame)
        if skip is not None:
            self._skips.setdefault(skip, set()).add(self._count)
        self._count += 1

    async def flush(self) -> int:
        """Send what was added, in order; return the number of pushes that were taken.

        The roster must not change between `add` and the start of `flush`.
        """
        if not self._count:
            return 0
        self._begin()
        return await self._sends.flush()

    def discard(self) -> list[JoinKey]:
        """Forget what was added, and return whom it would have reached."""
        reached = [
            join
            for key, group_frames in self._frames.items()
            for join in self._roster.outboxes(key)
            if self._rest(group_frames, self._skips.get(join, set()))
        ]
        self._clear()
        return reached

    def finish(self) -> None:
        """Send whatever `add` prepared or an interrupted `flush` left over; never waits."""
        self._begin()
        self._sends.finish()

    @staticmethod
    def _encode(event: Event, key: EncodeKey) -> bytes:
        frame = key.dialect.encode(event, key.topic)
        return b"" if frame is None else frame.wire()

    def _begin(self) -> None:
        self._sends.finish()
        self._sends = Sends(chain.from_iterable(self._targets(self._frames, self._skips)))
        self._clear()

    def _clear(self) -> None:
        self._frames, self._skips = {}, {}
        self._count = self.size_bytes = 0

    @staticmethod
    def _rest(frames: list[bytes], own: set[int]) -> list[bytes]:
        """Return the frames but those that the subscriber sent itself, and those its dialect cannot carry."""
        return [frame for i, frame in enumerate(frames) if frame and i not in own]

    def _targets(
        self, frames: dict[EncodeKey, list[bytes]], skips: dict[JoinKey, set[int]]
    ) -> Iterator[Iterable[tuple[Outbox, bytes]]]:
        for key, group_frames in frames.items():
            outboxes = self._roster.outboxes(key)
            for publisher, own in skips.items():
                outbox = outboxes.pop(publisher, None)
                if outbox is not None and (rest := self._rest(group_frames, own)):
                    self.received += len(rest)
                    yield ((outbox, b"".join(rest)),)
            if rest := self._rest(group_frames, set()):
                self.received += len(rest) * len(outboxes)
                joined = b"".join(rest)
                # Pairs are made in C: whatever is done here in Python is paid once per delivery.
                yield zip(outboxes.values(), repeat(joined))
