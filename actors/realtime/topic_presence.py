"""What belongs to the presence of one channel: its tables, its actor, and how that is started.

Not an actor. The tables are made with the channel and are shared by three:
connections write tracks, the presence actor compares them with what was published, the channel publishes.
All of that happens in synchronous blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from actors.core.registry import Registry
from actors.core.spec import ChildSpec
from actors.realtime.messages import JoinKey, PresenceKey, PresenceMessage, TracksChanged
from actors.realtime.presence import PresenceActor

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.core.supervisor import Supervisor
    from actors.realtime.messages import ChannelKey, ChannelMessage
    from actors.realtime.tracks import Tracks
    from protocol.presence.published import Published

#: As for channels: connections (3) may wait for it, it waits for nobody.
RANK = 2
#: Its messages say nothing but "look", so their number bounds their bytes as well.
CAPACITY = 4096


@define(eq=False)
class TopicPresence:
    """The presence of one channel; `channel` is set by the channel when it begins, `actor` is the last one started."""

    key: ChannelKey
    tracks: Tracks
    published: Published[JoinKey]
    channel: Ref[ChannelMessage] | None = None
    actor: Ref[PresenceMessage] | None = None


class PresenceActors:
    """The presence actors of a tenant, started when something is tracked."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._registry: Registry[PresenceKey, PresenceMessage] = Registry(supervisor)

    def wake(self, topic: TopicPresence) -> None:
        """Have somebody look at the tracks of a topic, unless its channel is gone; never waits.

        A message that is refused is not missed: who has a full mailbox is about to look anyway.
        """
        if topic.channel is None or not topic.channel.alive:
            return
        key = PresenceKey(topic.key, topic.channel)
        topic.actor = self._registry.get_or_start(key, lambda key: _spec(key, topic))
        topic.actor.tell(TracksChanged())


def _spec(key: PresenceKey, topic: TopicPresence) -> ChildSpec[PresenceMessage]:
    return ChildSpec(
        name=key,
        factory=lambda: PresenceActor(key.channel, topic),
        rank=RANK,
        capacity=CAPACITY,
        heir=topic.tracks,
    )
