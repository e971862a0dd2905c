"""A membership: what a connection remembers of a topic it is subscribed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import field, frozen

from actors.core.errors import ActorStopped
from actors.realtime.messages import Detach
from protocol.events import Closed, System

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.messages import ChannelMessage, JoinKey
    from actors.realtime.roster import Subscription
    from protocol.events import ClientRef, Event


@frozen
class Membership:
    """One subscription, from the side of its connection.

    `lifetime` is cancelled when it ends, for the tasks that go on for as long as it does.
    """

    subscription: Subscription
    channel: Ref[ChannelMessage]
    sub_topic: str
    ack: bool
    echo: bool
    lifetime: trio.CancelScope = field(factory=trio.CancelScope, eq=False)

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
    def join_ref(self) -> ClientRef:
        """What the client calls the join."""
        return self.subscription.join_ref

    def encode(self, event: Event) -> bytes:
        """Return the WebSocket frame of an event for this subscription."""
        return self.subscription.encode(event)

    def refusal(self, message: str) -> bytes:
        """Return what the client is told of an end that is final: why, and that it shall not come back by itself."""
        notice = System(self.join_ref, "system", False, message, self.sub_topic)
        return self.encode(notice) + self.encode(Closed(self.join_ref))

    async def detach(self, farewell: bytes) -> None:
        """Leave the channel; what is still queued for the client there comes before the farewell."""
        try:
            await self.channel.send(Detach(self.subscription, farewell))
        except ActorStopped:
            self.subscription.outbox.push(farewell)
