"""Fan-out: encode once per encode key, send once per subscriber and batch.

Used by the channel for broadcasts and by the rows actor for row changes.
Bytes go straight into the outboxes: no task is woken, so a delivery costs one system call and little else.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

import trio

from protocol.events import PresenceDiff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors.realtime.messages import JoinKey
    from actors.realtime.ports import Outbox
    from actors.realtime.roster import Audience, Roster
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
        self._frames: dict[Audience, list[bytes]] = {}
        self._skips: dict[JoinKey, set[int]] = {}
        self._count = 0
        self._sends = Sends(iter(()))
        self.size_bytes = 0

    def add(self, event: Event, skip: JoinKey | None) -> None:
        """Encode an event for everybody who is on the roster now; a failure leaves what was added before intact."""
        audiences = self._roster.audiences()
        encoded = {key: self._encode(event, key) for key in {a.encode_key for a in audiences}}
        for audience in audiences:
            is_deaf = isinstance(event, PresenceDiff) and not audience.hears_presence
            frame = b"" if is_deaf else encoded[audience.encode_key]
            self._frames.setdefault(audience, []).append(frame)
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
        self._frames, self._skips = {}, {}
        self._count = self.size_bytes = 0

    def _targets(
        self, frames: dict[Audience, list[bytes]], skips: dict[JoinKey, set[int]]
    ) -> Iterator[Iterable[tuple[Outbox, bytes]]]:
        for audience, group_frames in frames.items():
            outboxes = self._roster.outboxes(audience)
            for publisher, own in skips.items():
                outbox = outboxes.pop(publisher, None)
                rest = b"".join(f for i, f in enumerate(group_frames) if i not in own)
                if outbox is not None and rest:
                    yield ((outbox, rest),)
            joined = b"".join(group_frames)
            if joined:
                # Pairs are made in C: whatever is done here in Python is paid once per delivery.
                yield zip(outboxes.values(), repeat(joined))
