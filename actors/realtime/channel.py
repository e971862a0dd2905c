"""ChannelActor: everything that is said on one topic goes through here, in order.

One per (tenant, privacy, topic). Takes messages in batches, encodes each event once per encode key,
and sends once per subscriber and batch (`fanout.py`). It never waits for a subscriber.
Neighbours: connections send it `Attach`, `Detach` and `Publish`; it starts the rows actor of its topic (`rows.py`).

Truth: none; the roster is an heir table. Rank 2. Overflow: REJECT, the publisher is parked.
Recovery: rung 1, the message in hand is lost; beyond the limit rung 2 (each connection tells its client).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.core.signals import Reason, Restarted, Stopping, Terminated
from actors.realtime.fanout import Delivery
from actors.realtime.messages import Attach, Detach, Publish, RowsKey, SubscriptionEnded
from actors.realtime.quota import TOO_MANY_MESSAGES

if TYPE_CHECKING:
    from actors.core.inbox import Inbox
    from actors.core.ref import Ref
    from actors.core.signals import Signal
    from actors.realtime.channels import Channels
    from actors.realtime.messages import ChannelKey, ChannelMessage
    from actors.realtime.quota import RateQuota
    from actors.realtime.roster import Roster, Subscription
    from actors.telemetry.metrics import Metrics

BATCH = 64
#: Bytes prepared for one group of subscribers before they are sent, although the batch is not over.
FLUSH_BYTES = 256 * 1024


class ChannelActor:
    """The actor of one topic; see the module's text."""

    def __init__(
        self,
        key: ChannelKey,
        roster: Roster,
        channels: Channels,
        events: RateQuota,
        metrics: Metrics,
    ) -> None:
        self._key = key
        self._roster = roster
        self._channels = channels
        self._events = events
        self._metrics = metrics
        self._delivery = Delivery(roster)

    async def run(self, inbox: Inbox[ChannelMessage]) -> None:
        """Serve the topic until nobody is subscribed to it."""
        if inbox.incarnation > 1 and not self._roster and inbox.retire():
            return
        while True:
            try:
                async for message in inbox.batch(BATCH):
                    if isinstance(message, Stopping):
                        return
                    await self._handle(message, inbox)
                await self._flush(inbox)
            finally:
                # Invariant: what was prepared before an error is sent before the error leaves.
                self._delivery.finish()
            if not self._roster and inbox.retire():
                return

    async def _handle(
        self, message: ChannelMessage | Signal, inbox: Inbox[ChannelMessage]
    ) -> None:
        match message:
            case Publish(event, skip):
                self._delivery.add(event, skip)
                if self._delivery.size_bytes >= FLUSH_BYTES:
                    await self._flush(inbox)
            case Attach():
                await self._flush(inbox)
                self._attach(message, inbox)
            case Detach(subscription, farewell):
                await self._flush(inbox)
                self._remove(subscription, inbox)
                subscription.outbox.push(farewell)
            case Terminated(ref, reason):
                await self._flush(inbox)
                self._let_go(ref, reason, inbox)
            case Restarted() | Stopping():
                pass

    async def _flush(self, inbox: Inbox[ChannelMessage]) -> None:
        """Send what was prepared; a tenant over its quota closes those who would receive it (as upstream does)."""
        if not self._delivery:
            return
        if self._events.is_tripped:
            self._close_receivers(inbox)
            return
        before = self._delivery.received
        self._metrics.deliveries.inc(await self._delivery.flush())
        self._events.count(self._delivery.received - before)

    def _close_receivers(self, inbox: Inbox[ChannelMessage]) -> None:
        """End the subscriptions that the prepared events were for, instead of sending them.

        **Source**: spec 8, and 12 number 23: receiving counts, so who only listens is closed too.
        """
        self._metrics.broadcasts_dropped["rate_limited"].inc(len(self._delivery))
        for key in self._delivery.discard():
            subscription = self._roster.get(key)
            if subscription is not None:
                self._end(subscription, inbox, TOO_MANY_MESSAGES)

    def _attach(self, message: Attach, inbox: Inbox[ChannelMessage]) -> None:
        if message.attached.is_settled:
            # The connection gave up waiting: entering it now would leave a subscription nobody owns.
            return
        subscription = message.subscription
        # Watch first: if the connection is gone already, its Terminated comes after this entry and removes it.
        inbox.watch(subscription.connection)
        if self._roster.get(subscription.key) is None:
            self._roster.add(subscription)
            subscription.outbox.push(message.greeting)
            if subscription.changes:
                rows = self._channels.route(self._key, inbox.ref, self._roster, subscription)
                inbox.watch(rows)
        message.attached.set(None)

    def _let_go(self, ref: Ref[Any], reason: Reason, inbox: Inbox[ChannelMessage]) -> None:
        """A connection is gone, or the rows actor of this topic is."""
        for subscription in self._roster.of_connection(ref):
            self._remove(subscription, inbox)
        if reason is Reason.GAVE_UP and ref.name == RowsKey(self._key, inbox.ref):
            for subscription in self._roster.with_changes():
                self._end(subscription, inbox)

    def _end(
        self,
        subscription: Subscription,
        inbox: Inbox[ChannelMessage],
        refusal: str | None = None,
    ) -> None:
        """Take a subscription out, and let its connection tell the client."""
        self._remove(subscription, inbox)
        topic, number = subscription.encode_key.topic, subscription.key.number
        subscription.connection.tell(SubscriptionEnded(topic, number, refusal))

    def _remove(self, subscription: Subscription, inbox: Inbox[ChannelMessage]) -> None:
        """Take a subscription out of roster and router; one that is out already stays out."""
        if self._roster.remove(subscription.key) is None:
            return
        if subscription.changes:
            self._channels.unroute(self._key, inbox.ref, subscription)
        if not self._roster.of_connection(subscription.connection):
            inbox.unwatch(subscription.connection)
