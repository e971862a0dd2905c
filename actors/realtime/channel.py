"""ChannelActor: everything that is said on one topic goes through here, in order.

One per (tenant, privacy, topic). Takes messages in batches, encodes each event once per encode key,
and sends once per subscriber and batch (`fanout.py`). It never waits for a subscriber.
What is told to a small channel that is idle is delivered in the turn that tells it, and who joins is let in in theirs.
Neighbours: connections send it `Attach`, `Detach`, `Refresh` and `Publish`; it starts the rows actor (`rows.py`);
it tells its roster what the presence actor found out (`presence.py`).

Truth: none; the roster is an heir table. Rank 2. Overflow: REJECT, the publisher is parked.
Recovery: rung 1, the message in hand is lost; beyond the limit rung 2 (each connection tells its client).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.core.signals import Reason, Restarted, Stopping, Terminated
from actors.realtime.fanout import Delivery, deliver_at_once
from actors.realtime.messages import (
    Attach,
    Detach,
    EndSubscriptions,
    HearPresence,
    PresenceChanged,
    PresenceKey,
    Publish,
    Refresh,
    RowsKey,
    SubscriptionEnded,
)
from actors.realtime.quota import TOO_MANY_MESSAGES
from protocol.events import PresenceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.core.inbox import Inbox
    from actors.core.ref import Ref
    from actors.core.signals import Signal
    from actors.realtime.channels import Channels
    from actors.realtime.messages import ChannelMessage, PresenceMessage
    from actors.realtime.quota import Quota
    from actors.realtime.roster import Roster, Subscription
    from actors.realtime.topic_presence import TopicPresence
    from actors.telemetry.metrics import Metrics

    _RosterMessage = Attach | Detach | Refresh | EndSubscriptions | HearPresence | Terminated

BATCH = 64
#: Who publishes to so many does not wait for the channel's task; a send takes 4 us, so this is no long stretch.
RECEIVERS_AT_ONCE = 16
#: Bytes prepared for one group of subscribers before they are sent, although the batch is not over.
FLUSH_BYTES = 256 * 1024
#: Where a presence diff ends although more is to be told; so that what else is said does not wait for long.
DIFF_BYTES = 64 * 1024


class ChannelActor:
    """The actor of one topic; see the module's text."""

    def __init__(
        self,
        roster: Roster,
        presence: TopicPresence,
        channels: Channels,
        quota: Quota,
        metrics: Metrics,
    ) -> None:
        self._key = presence.key
        self._roster = roster
        self._presence = presence
        self._channels = channels
        self._quota = quota
        self._metrics = metrics
        self._delivery = Delivery(roster)
        #: The presence actor whose end this incarnation hears of.
        self._watched: Ref[PresenceMessage] | None = None

    async def run(self, inbox: Inbox[ChannelMessage]) -> None:
        """Serve the topic until nobody is subscribed to it."""
        self._presence.channel = inbox.ref
        if inbox.incarnation > 1:
            if self._retire(inbox):
                return
            # What woke the one before may be lost with it.
            inbox.ref.tell(PresenceChanged())
        self._inbox = inbox
        while True:
            try:
                async for message in inbox.batch(BATCH, self._deal_at_once):
                    if isinstance(message, Stopping):
                        return
                    await self._handle(message, inbox)
                self._publish_presence(inbox)
                await self._flush(inbox)
            finally:
                # Invariant: what was prepared before an error is sent before the error leaves.
                self._delivery.finish()
            if self._retire(inbox):
                return

    def _deal_at_once(self, message: ChannelMessage) -> bool:
        """Deliver a broadcast in the turn of its publisher, or let in who joins in theirs.

        False if it is neither, or could take long.
        Nothing is prepared while this is on offer, so nothing has to be sent first.
        """
        if not isinstance(message, Publish):
            return self._let_in_at_once(message)
        events = self._quota.events
        if events.limit and events.is_tripped:
            return False
        done = deliver_at_once(self._roster, message, RECEIVERS_AT_ONCE)
        if done is None:
            return False
        taken, received = done
        if received:
            self._metrics.deliveries.count += taken
            events.count(received)
        return True

    def _let_in_at_once(self, message: ChannelMessage) -> bool:
        if isinstance(message, Attach):
            self._attach(message, self._inbox)
            return True
        return False

    async def _handle(
        self, message: ChannelMessage | Signal, inbox: Inbox[ChannelMessage]
    ) -> None:
        match message:
            case Publish(event, skip, sender):
                self._delivery.add(event, () if skip is None else (skip,), sender)
                if self._delivery.size_bytes >= FLUSH_BYTES:
                    await self._flush(inbox)
            # Of presence is looked after every batch.
            case PresenceChanged() | Restarted() | Stopping():
                pass
            case _:
                # What was said so far is for those who are on the roster so far.
                await self._flush(inbox)
                self._move(message, inbox)

    def _move(self, message: _RosterMessage, inbox: Inbox[ChannelMessage]) -> None:
        """Carry out what changes the roster, or an entry of it; never waits."""
        match message:
            case Attach():
                self._attach(message, inbox)
            case Detach(subscription, farewell):
                self._remove(subscription, inbox)
                subscription.outbox.push(farewell)
            case Refresh(subscription, refreshed):
                if self._roster.replace(subscription) and subscription.changes:
                    self._channels.wake_rows(self._key, inbox.ref)
                refreshed.set(None)
            case EndSubscriptions(keeps, refusal, code):
                ended = [one for one in self._roster if not keeps(one)]
                self._end(ended, inbox, refusal, code)
            case Terminated(ref, reason):
                self._let_go(ref, reason, inbox)
            case HearPresence(key):
                self._roster.hear_presence(key)

    def _retire(self, inbox: Inbox[ChannelMessage]) -> bool:
        """End if nobody is subscribed; False if somebody is, or something is to be done first."""
        if self._roster or not inbox.retire():
            return False
        # The spec of this actor knows the table: with a way back they would be a ring, and outlive the channel.
        self._presence.channel = self._presence.actor = None
        return True

    def _publish_presence(self, inbox: Inbox[ChannelMessage]) -> None:
        """Prepare to tell everybody who came and who went; what is too much for now is for the next batch."""
        if self._presence.actor is not None and self._presence.actor is not self._watched:
            self._watched = self._presence.actor
            inbox.watch(self._watched)
        published = self._presence.published
        diff = published.next_diff(DIFF_BYTES)
        if diff is None:
            return
        self._delivery.add(diff.event())
        published.confirm(diff)
        self._metrics.presence_diffs.inc()
        if published.is_pending:
            inbox.ref.tell(PresenceChanged())

    async def _flush(self, inbox: Inbox[ChannelMessage]) -> None:
        """Send what was prepared; a tenant over its quota closes those who would receive it (as upstream does)."""
        if not self._delivery:
            return
        if self._quota.events.is_tripped:
            self._close_receivers(inbox)
            return
        self._metrics.deliveries.count += await self._delivery.flush()
        broadcasts, diffs = self._delivery.take_received()
        self._quota.events.count(broadcasts)
        self._quota.presence.count(diffs)

    def _close_receivers(self, inbox: Inbox[ChannelMessage]) -> None:
        """End the subscriptions that the prepared events were for, instead of sending them.

        **Source**: spec 8, and 12 number 23: receiving counts, so who only listens is closed too.
        """
        self._metrics.broadcasts_dropped["rate_limited"].inc(len(self._delivery))
        found = (self._roster.get(key) for key in self._delivery.discard())
        reached = [subscription for subscription in found if subscription is not None]
        self._end(reached, inbox, TOO_MANY_MESSAGES)

    def _attach(self, message: Attach, inbox: Inbox[ChannelMessage]) -> None:
        if message.attached.is_settled:
            # The connection gave up waiting: entering it now would leave a subscription nobody owns.
            return
        subscription = message.subscription
        # Watch first: if the connection is gone already, its Terminated comes after this entry and removes it.
        inbox.watch(subscription.connection)
        if self._roster.get(subscription.key) is None:
            self._roster.add(subscription)
            behind = b"" if message.gate is None else message.gate.open()
            subscription.outbox.push(message.greeting + behind)
            if subscription.gets_presence_state:
                self._push_presence_state(subscription)
            if subscription.changes:
                rows = self._channels.route(self._key, inbox.ref, self._roster)
                inbox.watch(rows)
        message.attached.set(self._presence)

    def _push_presence_state(self, subscription: Subscription) -> None:
        metas = self._presence.published.state()
        state = PresenceState(subscription.join_ref, metas)
        subscription.outbox.push(subscription.encode(state))
        self._metrics.presence_states.inc()
        self._quota.presence.count()

    def _let_go(self, ref: Ref[Any], reason: Reason, inbox: Inbox[ChannelMessage]) -> None:
        """A connection is gone, or the rows or the presence actor of this topic is."""
        for subscription in self._roster.of_connection(ref):
            self._remove(subscription, inbox)
        if reason is not Reason.GAVE_UP:
            return
        if ref.name == RowsKey(self._key, inbox.ref):
            self._end(self._roster.with_changes(), inbox)
        elif ref.name == PresenceKey(self._key, inbox.ref):
            # Whose tracks end with that wake the next presence actor, which finds out what this one left.
            self._end(self._roster, inbox)

    def _end(
        self,
        subscriptions: Iterable[Subscription],
        inbox: Inbox[ChannelMessage],
        refusal: str | None = None,
        code: str = "",
    ) -> None:
        """End subscriptions; their clients shall join again, or read the refusal."""
        for subscription in subscriptions:
            self._remove(subscription, inbox)
            topic, number = subscription.encode_key.topic, subscription.key.number
            subscription.connection.tell(SubscriptionEnded(topic, number, refusal, code))

    def _remove(self, subscription: Subscription, inbox: Inbox[ChannelMessage]) -> None:
        """Take a subscription out of roster and router; one that is out already stays out."""
        if self._roster.remove(subscription.key) is None:
            return
        if subscription.changes:
            self._channels.unroute(self._key, inbox.ref, subscription)
        if not self._roster.of_connection(subscription.connection):
            inbox.unwatch(subscription.connection)
