"""PresenceActor: works out who came to a topic and who went, and leaves it to the channel to tell.

It compares the tracks of the topic with what was published, for whoever changed; once per drained batch.
What it finds is noted in `Published`, where it is netted with what the channel has not come to yet.
Neighbours: woken by the connections that track (`tracker.py`); watches them, so that none leaves a ghost behind;
the channel and it watch each other.

Truth: none; tracks and what was published are heir tables. Rank 2. Overflow: REJECT, nothing is missed by it.
Recovery: rung 1, the next incarnation compares everything, so nobody sees a join or a leave that was none.
Beyond the limit rung 2, by the channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.core.signals import Stopping, Terminated
from actors.realtime.messages import PresenceChanged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.core.inbox import Inbox
    from actors.core.ref import Ref
    from actors.realtime.messages import ChannelMessage, JoinKey, PresenceMessage
    from actors.realtime.topic_presence import TopicPresence

BATCH = 64


class PresenceActor:
    """The actor of one topic's presence; see the module's text."""

    def __init__(self, channel: Ref[ChannelMessage], topic: TopicPresence) -> None:
        self._channel = channel
        self._topic = topic

    async def run(self, inbox: Inbox[PresenceMessage]) -> None:
        """Serve the topic as long as anybody tracks anything in it."""
        inbox.watch(self._channel)
        # Whatever was lost with an earlier incarnation, or with one that was given up, shows here.
        self._topic.tracks.mark_all_changed()
        self._compare(self._topic.published.owners(), inbox)
        while True:
            if not self._topic.tracks and inbox.retire():
                return
            async for message in inbox.batch(BATCH):
                if isinstance(message, Stopping):
                    return
                if isinstance(message, Terminated):
                    if message.ref is self._channel:
                        return
                    self._topic.tracks.drop(message.ref)
            self._compare((), inbox)

    def _compare(self, further: Iterable[JoinKey], inbox: Inbox[PresenceMessage]) -> None:
        """Note what is tracked now by whoever changed, and by some further joins; never waits."""
        tracks, published = self._topic.tracks, self._topic.published
        was_pending = published.is_pending
        changed = tracks.take_changed()
        for owner in set(changed.values()):
            # One that is gone already is signalled at once, and what it tracks is dropped then.
            if tracks.is_owner(owner):
                inbox.watch(owner)
            else:
                inbox.unwatch(owner)
        for join in (*further, *changed):
            track = tracks.get(join)
            published.note(join, None if track is None else track.meta)
        if published.is_pending and not was_pending:
            self._channel.tell(PresenceChanged())
