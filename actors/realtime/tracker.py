"""What becomes of a presence push: checked, written into the tracks of its topic, answered.

Called by the connection in the turn that read the frame; never waits.
One per connection: it alone writes and removes the tracks of that connection's joins.

**Source**: spec 5 for answers and texts; clients.md 4: a `track()` without a reply times out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from actors.realtime.messages import HearPresence
from actors.realtime.tracks import Track
from protocol.commands import PresenceAction
from protocol.errors import MalformedFrame
from protocol.events import EMPTY_OBJECT, Reply
from protocol.limits import FixedWindow
from protocol.presence.meta import REF_BYTES, Meta, are_same, readable, ref_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.realtime.membership import Membership
    from actors.realtime.messages import JoinKey
    from actors.realtime.seat import Seat
    from actors.realtime.topic_presence import TopicPresence
    from actors.telemetry.metrics import Metrics, PresenceFault
    from protocol.commands import PresencePush

TOO_LARGE: Final = "Track message size exceeded"
#: What a push that is refused is answered; the empty answer is upstream's, who says no more.
ANSWERS: Final[Mapping[PresenceFault, bytes]] = {
    "denied": EMPTY_OBJECT,
    "unknown_event": EMPTY_OBJECT,
    "not_an_object": b'{"reason":"Presence track payload must be a map"}',
    # The rest is ours. What is tracked by many travels in one message: what a client cannot read hides the others.
    "unreadable": b'{"reason":"Presence track payload is nested too deeply or has too large numbers"}',
    # Upstream does not bound what one client tracks in many channels, or many clients in one.
    "connection_full": b'{"reason":"This client tracks too much"}',
    "topic_full": b'{"reason":"Too much is tracked on this topic"}',
}


class Tracker:
    """Tracks for one connection; see the module's text."""

    __slots__ = ("_limits", "_metrics", "_seat", "_size_bytes", "_topics", "_windows")

    def __init__(self, seat: Seat, metrics: Metrics) -> None:
        self._seat = seat
        self._limits = seat.tenant.limits
        self._metrics = metrics
        #: The joins of this connection that track something, and where; made for the first.
        self._topics: dict[JoinKey, TopicPresence] | None = None
        #: What each join says of its presence is counted; made for the first as well.
        self._windows: dict[JoinKey, FixedWindow] | None = None
        self._size_bytes = 0

    def carry_out(
        self, push: PresencePush, membership: Membership, *, may_track: bool
    ) -> str | None:
        """Carry out a push and answer it; if it ends the subscription, return the literal text that says why."""
        self._metrics.presence_pushes.inc()
        end = self._count(membership.key)
        if end is not None:
            self._metrics.presence_refused["rate"].inc()
            return end
        if push.payload is not None and len(push.payload) > self._limits.payload_bytes:
            self._metrics.presence_refused["too_large"].inc()
            return TOO_LARGE
        is_denied = push.action is PresenceAction.TRACK and not may_track
        fault = "denied" if is_denied else self._act(push, membership)
        response = EMPTY_OBJECT
        if fault is not None:
            self._metrics.presence_refused[fault].inc()
            response = ANSWERS[fault]
        reply = Reply(push.ref, push.join_ref, ok=fault is None, response=response)
        self._seat.push(reply, push.topic)
        return None

    def show(self, payload: bytes, membership: Membership) -> None:
        """Let a join be present with what its user said elsewhere; what does not fit changes nothing."""
        fault = self._track(payload, membership)
        if fault is not None:
            self._metrics.presence_refused[fault].inc()

    def forget(self, join: JoinKey) -> None:
        """Let a join be absent that ends."""
        if self._windows is not None:
            self._windows.pop(join, None)
        self.untrack(join)

    def untrack(self, join: JoinKey) -> None:
        """Let a join be absent; one that is absent already stays so."""
        topic = None if self._topics is None else self._topics.pop(join, None)
        if topic is None:
            return
        track = topic.tracks.remove(join)
        if track is not None:
            self._size_bytes -= track.size_bytes
        self._seat.tenant.channels.presence_actors.wake(topic)

    def untrack_all(self) -> None:
        """Let all joins be absent: the connection ends."""
        for join in tuple(self._topics or ()):
            self.untrack(join)

    def _count(self, join: JoinKey) -> str | None:
        """Count a push; return the literal text that ends the subscription, None while it is within the quotas."""
        windows = self._windows = {} if self._windows is None else self._windows
        window = windows.setdefault(join, FixedWindow())
        return self._seat.tenant.quota.count_presence_push(window)

    def _act(self, push: PresencePush, membership: Membership) -> PresenceFault | None:
        match push.action:
            case PresenceAction.TRACK:
                return self._track(push.payload, membership)
            case PresenceAction.UNTRACK:
                self.untrack(membership.key)
            case PresenceAction.UNKNOWN:
                return "unknown_event"
            case PresenceAction.NOTHING:
                pass
        return None

    def _track(self, payload: bytes | None, membership: Membership) -> PresenceFault | None:
        """Let a join be present with a payload; the same one again changes nothing."""
        if payload is None:
            return "not_an_object"
        try:
            payload = readable(payload)
        except MalformedFrame:
            return "unreadable"
        self._seat.tenant.quota.presence.count()
        if not membership.subscription.hears_presence and membership.permissions.read.presence:
            # Who shows itself sees the others; if the channel is full, the next track asks again.
            membership.channel.tell(HearPresence(membership.key))
        old = membership.presence.tracks.get(membership.key)
        if old is not None and are_same(old.meta.payload, payload):
            old.seen_at = trio.current_time()
            return None
        return self._write(payload, old, membership)

    def _write(
        self, payload: bytes, old: Track | None, membership: Membership
    ) -> PresenceFault | None:
        topic, join, tenant = membership.presence, membership.key, self._seat.tenant
        ref = ref_from(tenant.random.randbytes(REF_BYTES))
        new = Track(
            Meta(membership.presence_key, payload, ref),
            self._seat.inbox.ref,
            trio.current_time(),
        )
        growth = new.size_bytes - (0 if old is None else old.size_bytes)
        if self._size_bytes + growth > self._limits.tracked_bytes_per_connection:
            return "connection_full"
        if topic.tracks.size_bytes + growth > self._limits.tracked_bytes_per_topic:
            return "topic_full"
        topic.tracks.write(join, new)
        self._topics = {} if self._topics is None else self._topics
        self._topics[join] = topic
        self._size_bytes += growth
        tenant.channels.presence_actors.wake(topic)
        return None
