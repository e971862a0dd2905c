"""The channels of a tenant: started when first asked for, each with its heirs.

Not an actor: a registry with synchronous methods, called by the connections that join and by the channels themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from actors.core.registry import Registry
from actors.core.spec import ChildSpec
from actors.realtime.announcing import ChannelView
from actors.realtime.channel import ChannelActor
from actors.realtime.interests import Moved
from actors.realtime.messages import ChannelKey, RowsKey, Wake, weight_bytes
from actors.realtime.pending_rows import PendingRows
from actors.realtime.persisting import OwnBroadcasts
from actors.realtime.replaying import ReplayGates
from actors.realtime.roster import Roster
from actors.realtime.rows import ChannelRowsActor
from actors.realtime.topic_presence import PresenceActors, TopicPresence
from actors.realtime.tracks import Tracks
from protocol.presence.published import Published

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.core.mailbox import WeightPool
    from actors.core.ref import Ref
    from actors.core.supervisor import Supervisor
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.messages import ChannelMessage, RowsMessage
    from actors.realtime.quota import Quota
    from actors.realtime.roster import Subscription
    from actors.telemetry.metrics import Metrics

#: Ranks order who may wait for whom: connections (3) wait for channels (2), never the other way round.
RANK = 2
CHANNEL_CAPACITY = 4096
CHANNEL_WEIGHT_BYTES = 16 * 1024 * 1024
#: Wake-ups all say the same, so few are as good as many.
ROWS_CAPACITY = 8


class Channels:
    """Channels by key, and the rows actors beside them."""

    def __init__(
        self,
        supervisor: Supervisor,
        feed: ChangeFeed,
        quota: Quota,
        metrics: Metrics,
        mailboxes: WeightPool,
    ) -> None:
        self._supervisor = supervisor
        self._registry: Registry[ChannelKey, ChannelMessage] = Registry(supervisor)
        self._rows: Registry[RowsKey, RowsMessage] = Registry(supervisor)
        # The heir belongs to the rows actor: when that is gone for good, so is the entry here.
        self._pending: WeakValueDictionary[RowsKey, PendingRows] = WeakValueDictionary()
        # As with those: it lives as long as somebody holds its spec.
        self._rosters: WeakValueDictionary[ChannelKey, Roster] = WeakValueDictionary()
        self._presences: WeakValueDictionary[ChannelKey, TopicPresence] = WeakValueDictionary()
        self._feed = feed
        self._quota = quota
        self._metrics = metrics
        self._mailboxes = mailboxes
        #: The joins that wait for stored broadcasts.
        self.gates = ReplayGates()
        #: Broadcasts that are being stored by who does not want to hear them.
        self.own = OwnBroadcasts()
        self.presence_actors = PresenceActors(supervisor)

    def get(self, key: ChannelKey) -> Ref[ChannelMessage] | None:
        """Return the channel of that key, if anybody is subscribed to it."""
        return self._registry.get(key)

    def roster(self, key: ChannelKey) -> Roster | None:
        """Return who is subscribed to the channel of that key, if it lives; to be read, not to be kept."""
        return None if self._registry.get(key) is None else self._rosters.get(key)

    def tables(self, key: ChannelKey) -> tuple[Roster, TopicPresence] | None:
        """Return who is subscribed to the channel of that key and who is present, as `roster` does."""
        roster, presence = self.roster(key), self._presences.get(key)
        return None if roster is None or presence is None else (roster, presence)

    def living(self) -> Iterator[tuple[ChannelKey, Roster, TopicPresence]]:
        """Return every channel that lives, with its tables; never waits."""
        for key, presence in tuple(self._presences.items()):
            channel, roster = presence.channel, self._rosters.get(key)
            if roster is not None and channel is not None and channel.alive:
                yield key, roster, presence

    def get_or_start(self, key: ChannelKey) -> Ref[ChannelMessage]:
        """Return the channel of that key, starting it if need be."""
        return self._registry.get_or_start(key, self.channel_spec)

    def route(
        self,
        key: ChannelKey,
        channel: Ref[ChannelMessage],
        roster: Roster,
    ) -> Ref[RowsMessage]:
        """Let the channel's rows actor see to a new subscription, starting it if need be; return its ref."""
        rows_key = RowsKey(key, channel)
        rows = self._rows.get(rows_key)
        pending = self._pending.get(rows_key)
        if rows is None or pending is None:
            pending = self._pending[rows_key] = PendingRows()
            rows = pending.rows = self._supervisor.start_child(
                self.rows_spec(key, channel, roster, pending)
            )
        self._feed.router.attend(pending)
        rows.tell(Wake())
        return rows

    def unroute(
        self, key: ChannelKey, channel: Ref[ChannelMessage], subscription: Subscription
    ) -> None:
        """Take back what `route` did for a subscription."""
        pending = self._pending.get(RowsKey(key, channel))
        if pending is None:
            return
        router = self._feed.router
        router.move(Moved(removed=pending.interests.remove(subscription.key)), pending)
        pending.forget(subscription.key)
        router.leave(pending)
        if pending.rows is not None:
            pending.rows.tell(Wake())

    def wake_rows(self, key: ChannelKey, channel: Ref[ChannelMessage]) -> None:
        """Let the channel's rows actor look at the roster again."""
        rows = self._rows.get(RowsKey(key, channel))
        if rows is not None:
            rows.tell(Wake())

    def channel_spec(self, key: ChannelKey) -> ChildSpec[ChannelMessage]:
        """Return the spec of a channel; its roster is the heir, and so are the tables of its presence."""
        roster = self._rosters[key] = Roster()
        presence = TopicPresence(key, Tracks(self._metrics), Published())
        self._presences[key] = presence
        return ChildSpec(
            name=key,
            factory=lambda: ChannelActor(roster, presence, self, self._quota, self._metrics),
            rank=RANK,
            capacity=CHANNEL_CAPACITY,
            weigh=weight_bytes,
            weight_limit=CHANNEL_WEIGHT_BYTES,
            weight_pool=self._mailboxes,
            heir=roster,
        )

    def rows_spec(
        self,
        key: ChannelKey,
        channel: Ref[ChannelMessage],
        roster: Roster,
        pending: PendingRows,
    ) -> ChildSpec[RowsMessage]:
        """Return the spec of a channel's rows actor; its pending references are the heir."""
        view = ChannelView(key.sub_topic, channel, roster, pending)
        return ChildSpec(
            name=RowsKey(key, channel),
            factory=lambda: ChannelRowsActor(
                view, self._feed, self._quota.changes, self._metrics
            ),
            rank=RANK,
            capacity=ROWS_CAPACITY,
            heir=pending,
        )
