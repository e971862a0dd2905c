"""What becomes of a broadcast that a client sends: checked, given to its channel, answered.

Called by the connection: in the turn that read the frame where nothing has to be waited for, and that is nearly always.
What waits is the publisher alone: a channel that is full slows it down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from actors.core.errors import ActorStopped
from actors.realtime.errors import Forbidden, Refused
from actors.realtime.messages import Publish
from actors.realtime.persisting import persist
from actors.realtime.quota import TOO_MANY_MESSAGES
from protocol import jsontext
from protocol.events import EMPTY_OBJECT, PushRefused, Reply, TextBroadcast, UserBroadcast

if TYPE_CHECKING:
    from actors.core.ref import Ref
    from actors.realtime.membership import Membership
    from actors.realtime.messages import ChannelMessage
    from actors.realtime.seat import Seat
    from actors.telemetry.metrics import DropReason, Metrics
    from protocol.commands import Broadcast, Persist

#: What is said of a broadcast that cannot be delivered, where clients read sentences.
FAULTS: Final[dict[DropReason, str]] = {
    "payload_size_exceeded": "The payload is too large",
    "payload_not_an_object": "The payload is not an object",
    "channel_busy": "The channel is too busy, try again later",
}


class Publisher:
    """Publishes for one connection; see the module's text."""

    __slots__ = ("_events", "_limits", "_metrics", "_outbox", "_seat")

    def __init__(self, seat: Seat, metrics: Metrics) -> None:
        self._seat = seat
        self._outbox = seat.outbox
        self._limits = seat.tenant.limits
        self._events = seat.tenant.quota.events
        self._metrics = metrics

    def publish_nowait(self, command: Broadcast, membership: Membership) -> bool:
        """Publish what is allowed, sound and within quotas; False if it is not that plain, and nothing was done."""
        events = self._events
        if (
            (membership.channel_key.is_private and not membership.permissions.known_broadcast)
            or (command.persist is not None and isinstance(command.message, UserBroadcast))
            or (events.limit and events.is_tripped)
            or self._fault(command.message) is not None
        ):
            return False
        channel, message = membership.channel, _message(command, membership)
        # At once if that changes nothing but the time it takes. What its client says in one go leaves in one piece
        # for each receiver, if it is queued; what its client is sent back comes behind the answer.
        if self._outbox.is_in_burst or (membership.ack and membership.echo):
            is_taken = channel.tell(message)
        else:
            is_taken = channel.tell_at_once(message)
        if not is_taken:
            return False
        if events.limit:
            events.count()
        self._metrics.broadcasts_accepted.count += 1
        if membership.ack:
            self._answer(command, membership)
        return True

    async def publish(
        self, command: Broadcast, membership: Membership, *, is_allowed: bool
    ) -> str | None:
        """Give a broadcast to its channel if policies allow it, and answer it if the client wants that.

        Waits for room in the channel, or for the database if the broadcast is to be stored.

        Return the literal text that ends the subscription if the tenant is over its quota, else None;
        the subscriptions of those who would hear it are ended by the channel.
        """
        if not is_allowed:
            # Source: spec 4.1, a broadcast that policies deny vanishes, and is not answered even with ack.
            self._metrics.broadcasts_dropped["denied"].inc()
            return None
        if command.persist is not None and isinstance(command.message, UserBroadcast):
            return await self._persist(command, command.message, command.persist, membership)
        is_tripped = self._events.is_tripped
        fault = self._fault(command.message)
        if fault is None:
            self._events.count()
            if not await self._park(membership.channel, _message(command, membership)):
                fault = "channel_busy"
        if is_tripped:
            return TOO_MANY_MESSAGES
        if fault is None:
            self._metrics.broadcasts_accepted.count += 1
        else:
            self._metrics.broadcasts_dropped[fault].inc()
            refused = PushRefused(command.ref, command.join_ref, fault, FAULTS[fault])
            self._seat.push(refused, command.topic)
        if membership.ack:
            self._answer(command, membership, fault)
        return None

    def _answer(
        self, command: Broadcast, membership: Membership, fault: DropReason | None = None
    ) -> None:
        """Tell the publisher, who wants to know, what became of a broadcast."""
        response = EMPTY_OBJECT if fault is None else jsontext.write(fault)
        reply = Reply(command.ref, command.join_ref, ok=fault is None, response=response)
        data = membership.subscription.encode_key.encode(reply)
        if data:
            self._outbox.push(data)

    async def _persist(
        self,
        command: Broadcast,
        message: UserBroadcast,
        wish: Persist,
        membership: Membership,
    ) -> str | None:
        """Store a broadcast, and answer as `publish` does; one that cannot be stored is not delivered either."""
        is_tripped = self._events.is_tripped
        tenant, permissions = self._seat.tenant, membership.permissions
        error: str | None = self._fault(message)
        if is_tripped:
            return TOO_MANY_MESSAGES
        if error is None:
            try:
                await persist(
                    message,
                    wish,
                    permissions.question,
                    tenant,
                    is_private=permissions.key.is_private,
                    skip=None if membership.echo else membership.key,
                )
            except Forbidden:
                self._metrics.broadcasts_dropped["denied"].inc()
                return None
            except Refused as refused:
                error = refused.reason
        if error is None:
            self._metrics.broadcasts_accepted.count += 1
        else:
            self._metrics.broadcasts_dropped["not_persisted"].inc()
        if membership.ack:
            # realtime-js shows the text of `error` to who wanted the broadcast stored.
            response = EMPTY_OBJECT if error is None else jsontext.write({"error": error})
            reply = Reply(command.ref, command.join_ref, ok=error is None, response=response)
            self._seat.push(reply, command.topic)
        return None

    def _fault(self, message: TextBroadcast | UserBroadcast) -> DropReason | None:
        """Return why a broadcast cannot be delivered to anybody, in the word its sender is told."""
        if len(message.payload) > self._limits.payload_bytes:
            return "payload_size_exceeded"
        # Clients look into the payload of every message without asking first whether it is an object.
        if isinstance(message, TextBroadcast) and not message.payload.startswith(b"{"):
            return "payload_not_an_object"
        return None

    async def _park(self, channel: Ref[ChannelMessage], message: Publish) -> bool:
        """Do not read on until the channel has room; say whether it took the message in time."""
        with trio.move_on_after(self._limits.park_s):
            try:
                await channel.send(message)
            except ActorStopped:
                return False
            return True
        return False


def _message(command: Broadcast, membership: Membership) -> Publish:
    """Return a broadcast as its channel takes it."""
    subscription = membership.subscription
    skip = None if membership.echo else subscription.key
    return Publish(command.message, skip, subscription.identity.user_id)
