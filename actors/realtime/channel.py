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

if TYPE_CHECKING:
    from actors.core.inbox import Inbox
    from actors.core.ref import Ref
    from actors.core.signals import Signal
    from actors.realtime.channels import Channels
    from actors.realtime.messages import ChannelKey, ChannelMessage
    from actors.realtime.roster import Roster, Subscription
    from actors.telemetry.metrics import Metrics

BATCH = 64
#: Bytes prepared for one group of subscribers before they are sent, although the batch is not over.
FLUSH_BYTES = 256 * 1024


class ChannelActor:
    """The actor of one topic; see the module's text."""

    def __init__(
        self, key: ChannelKey, roster: Roster, channels: Channels, metrics: Metrics
    ) -> None:
        self._key = key
        self._roster = roster
        self._channels = channels
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
                await self._flush()
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
                    await self._flush()
            case Attach():
                await self._flush()
                self._attach(message, inbox)
            case Detach(subscription, farewell):
                await self._flush()
                self._remove(subscription, inbox)
                subscription.outbox.push(farewell)
            case Terminated(ref, reason):
                await self._flush()
                self._let_go(ref, reason, inbox)
            case Restarted() | Stopping():
                pass

    async def _flush(self) -> None:
        self._metrics.deliveries.inc(await self._delivery.flush())

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
                rows = self._channels.route(self._key, inbox.ref, self._roster)
                inbox.watch(rows)
        message.attached.set(None)

    def _let_go(self, ref: Ref[Any], reason: Reason, inbox: Inbox[ChannelMessage]) -> None:
        """A connection is gone, or the rows actor of this topic is."""
        for subscription in self._roster.of_connection(ref):
            self._remove(subscription, inbox)
        if reason is Reason.GAVE_UP and ref.name == RowsKey(self._key, inbox.ref):
            for subscription in self._roster.with_changes():
                self._remove(subscription, inbox)
                ended = SubscriptionEnded(
                    subscription.encode_key.topic, subscription.key.number
                )
                subscription.connection.tell(ended)

    def _remove(self, subscription: Subscription, inbox: Inbox[ChannelMessage]) -> None:
        """Take a subscription out of roster and router; one that is out already stays out."""
        if self._roster.remove(subscription.key) is None:
            return
        if subscription.changes:
            self._channels.unroute(self._key, inbox.ref, subscription)
        if not self._roster.of_connection(subscription.connection):
            inbox.unwatch(subscription.connection)
