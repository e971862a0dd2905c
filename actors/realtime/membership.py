"""A membership: what a connection remembers of a topic it is subscribed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from actors.core.errors import ActorStopped
from actors.realtime.messages import Detach

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.messages import ChannelKey, ChannelMessage, JoinKey
    from actors.realtime.permissions import Permissions
    from actors.realtime.ports import Identity
    from actors.realtime.roster import Subscription
    from actors.realtime.topic_presence import TopicPresence
    from protocol.events import ClientRef, Event


@frozen
class Membership:
    """One subscription, from the side of its connection."""

    subscription: Subscription
    channel: Ref[ChannelMessage]
    channel_key: ChannelKey
    sub_topic: str
    ack: bool
    echo: bool
    presence: TopicPresence
    presence_key: str
    permissions: Permissions

    @property
    def key(self) -> JoinKey:
        """The entry in the channel's roster."""
        return self.subscription.key

    @property
    def number(self) -> int:
        """The number of the join."""
        return self.key.number

    @property
    def topic(self) -> str:
        """The topic as it was joined."""
        return self.subscription.encode_key.topic

    @property
    def identity(self) -> Identity:
        """Whom the subscription speaks for."""
        return self.subscription.identity

    @property
    def join_ref(self) -> ClientRef:
        """What the client calls the join."""
        return self.subscription.join_ref

    def encode(self, event: Event) -> bytes:
        """Return the WebSocket frame of an event for this subscription."""
        return self.subscription.encode(event)

    def speaking_with(self, permissions: Permissions) -> Membership:
        """Return this membership with another token; the channel is to be told of it."""
        old = self.subscription
        renewed = evolve(
            old,
            identity=permissions.question.identity,
            refreshes=old.refreshes + 1,
            hears_presence=old.hears_presence
            or (permissions.wants_presence and permissions.read.presence),
            hears_broadcasts=permissions.read.broadcast,
        )
        return evolve(self, subscription=renewed, permissions=permissions)

    async def detach(self, farewell: bytes) -> None:
        """Leave the channel; what is still queued for the client there comes before the farewell."""
        try:
            await self.channel.send(Detach(self.subscription, farewell))
        except ActorStopped:
            self.subscription.outbox.push(farewell)
