"""Fan-out: encode once per encode key, send once per subscriber and batch.

Used by the channel for what is said on its topic, by the rows actor for row changes,
and by the relay for stored broadcasts.
Bytes go straight into the outboxes: no task is woken, so a delivery costs one system call and little else.
"""

from __future__ import annotations

import sys
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING

import trio

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

from protocol.events import PresenceDiff, TextBroadcast, UserBroadcast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from actors.realtime.messages import JoinKey, Publish
    from actors.realtime.ports import Outbox
    from actors.realtime.roster import Audience, Roster
    from protocol.events import Event

# Trade-off: 256 sends are about a millisecond; a larger stretch delays every other task of the node.
SENDS_PER_CHECKPOINT = 256


class Sends:
    """Bytes on their way to many outboxes.

    **Invariant**: whatever interrupts `flush`, a following `finish` sends what is left,
    so every subscriber gets each frame once and in order.
    It is interrupted between two stretches only, for a push never raises.
    """

    def __init__(self, sends: Iterator[tuple[Outbox, bytes]]) -> None:
        self._sends = sends

    async def flush(self) -> int:
        """Push everything, with a checkpoint now and then; return how many outboxes took their bytes."""
        taken = 0
        while stretch := tuple(islice(self._sends, SENDS_PER_CHECKPOINT)):
            some_outbox, _ = stretch[0]
            taken += some_outbox.push_all(stretch)
            if len(stretch) == SENDS_PER_CHECKPOINT:
                await trio.lowlevel.checkpoint()
        return taken

    def finish(self) -> None:
        """Push what `flush` did not come to, without a checkpoint."""
        for outbox, data in self._sends:
            outbox.push(data)


def deliver_at_once(roster: Roster, message: Publish, limit: int) -> tuple[int, int] | None:
    """Send one broadcast to everybody who hears it but `message.skip`, without preparing anything.

    Return how many outboxes took it, and how many it was for;
    None if nothing was done, because more than `limit` are on the roster.
    """
    event, skip, sender = message.event, message.skip, message.sender
    sends = []
    for audience, outboxes in roster.outboxes_by_audience.items():
        limit -= len(outboxes)
        if limit < 0:
            return None
        if not audience.hears_broadcasts:
            continue
        receivers = list(outboxes.values())
        own = None if skip is None else outboxes.get(skip)
        if own is not None:
            receivers.remove(own)
        data = audience.encode_key.encode(event, sender) if receivers else b""
        if data:
            sends.append((data, receivers))
    # Encoded for all before anybody is sent to: an error there is nobody's half of a message.
    taken = received = 0
    for data, receivers in sends:
        received += len(receivers)
        for outbox in receivers:
            taken += outbox.push(data)
    return taken, received


class Delivery:
    """What a channel has prepared to send from one batch of its mailbox."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._frames: dict[Audience, list[bytes]] = {}
        self._skips: dict[JoinKey, set[int]] = {}
        self._count = 0
        self._sends = Sends(iter(()))
        self.size_bytes = 0
        #: Which of the events are presence diffs.
        self._diffs: set[int] = set()
        #: How many broadcasts and how many diffs went out, each once per receiver.
        self._received = [0, 0]

    def __len__(self) -> int:
        return self._count

    def add(self, event: Event, skips: Iterable[JoinKey] = (), sender: str = "") -> None:
        """Encode an event of user `sender` for everybody who is on the roster now but `skips`.

        A failure leaves what was added before intact.
        """
        audiences = self._roster.audiences()
        encoded = {key: key.encode(event, sender) for key in {a.encode_key for a in audiences}}
        for audience in audiences:
            frame = encoded[audience.encode_key] if _hears(audience, event) else b""
            self._frames.setdefault(audience, []).append(frame)
            self.size_bytes += len(frame)
        for skip in skips:
            self._skips.setdefault(skip, set()).add(self._count)
        if isinstance(event, PresenceDiff):
            self._diffs.add(self._count)
        self._count += 1

    def take_received(self) -> tuple[int, int]:
        """Return what went out since this was asked last: broadcasts and presence diffs, each once per receiver."""
        broadcasts, diffs = self._received
        self._received = [0, 0]
        return broadcasts, diffs

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
            for audience, group_frames in self._frames.items()
            for join in self._roster.outboxes(audience)
            if _kept(group_frames, self._skips.get(join, ()))
        ]
        self._clear()
        return reached

    def finish(self) -> None:
        """Send whatever `add` prepared or an interrupted `flush` left over; never waits."""
        if self._count:
            self._begin()
        self._sends.finish()

    def _begin(self) -> None:
        self._sends.finish()
        targets = self._targets(self._frames, self._skips, self._diffs)
        self._sends = Sends(chain.from_iterable(targets))
        self._clear()

    def _clear(self) -> None:
        self._frames, self._skips, self._diffs = {}, {}, set()
        self._count = self.size_bytes = 0

    def _targets(
        self,
        frames: dict[Audience, list[bytes]],
        skips: dict[JoinKey, set[int]],
        diffs: set[int],
    ) -> Iterator[Iterable[tuple[Outbox, bytes]]]:
        for audience, group_frames in frames.items():
            outboxes = self._roster.outboxes(audience)
            for publisher, own in skips.items():
                outbox = outboxes.pop(publisher, None)
                rest = _kept(group_frames, own)
                if outbox is not None and rest:
                    self._note(rest, diffs, 1)
                    yield ((outbox, b"".join(group_frames[i] for i in rest)),)
            joined = b"".join(group_frames)
            if joined:
                self._note(_kept(group_frames, ()), diffs, len(outboxes))
                yield self._pairs(outboxes, joined)

    def _pairs(
        self, outboxes: Mapping[JoinKey, Outbox], data: bytes
    ) -> Iterable[tuple[Outbox, bytes]]:
        # Pairs are made in C: whatever is done here in Python is paid once per delivery.
        return zip(outboxes.values(), repeat(data))

    def _note(self, sent: list[int], diffs: set[int], receivers: int) -> None:
        """Count what goes out: per batch, so that the quotas cost nothing per delivery."""
        told = len(diffs.intersection(sent))
        self._received[0] += (len(sent) - told) * receivers
        self._received[1] += told * receivers


class SharedDelivery(Delivery):
    """A delivery for a roster that somebody else may change while it is being sent."""

    def take(self) -> Iterator[tuple[Outbox, bytes]]:
        """Hand over what was added, for those who are on the roster now; who leaves meanwhile gets no more."""
        targets = tuple(self._targets(self._frames, self._skips, self._diffs))
        self._clear()
        return chain.from_iterable(targets)

    @override
    def _pairs(
        self, outboxes: Mapping[JoinKey, Outbox], data: bytes
    ) -> Iterable[tuple[Outbox, bytes]]:
        return (
            (outbox, data)
            for key, outbox in outboxes.items()
            if self._roster.get(key) is not None
        )


def _kept(frames: list[bytes], own: Collection[int]) -> list[int]:
    """Return which frames a subscriber gets: not those it sent itself, nor those its dialect cannot carry."""
    return [i for i, frame in enumerate(frames) if frame and i not in own]


def _hears(audience: Audience, event: Event) -> bool:
    match event:
        case PresenceDiff():
            return audience.hears_presence
        case TextBroadcast() | UserBroadcast():
            return audience.hears_broadcasts
        case _:
            return True
