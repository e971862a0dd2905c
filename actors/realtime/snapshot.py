"""A snapshot of a tenant: who is connected, which channels live, who is in them.

For statistics and for the dashboard: everything they show is read here, in one synchronous block, so it fits together.
Nothing is counted on the way to a client for this; whoever asks pays, by what there is and by the bounds.

**Invariants**
- Members of every dialect count, for a channel does not know which one its subscribers speak.
- Totals are complete whatever the bounds; lists end at them, channels with the most subscribers first.
"""

from __future__ import annotations

from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING

import trio
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors.realtime.channels import Channels
    from actors.realtime.messages import ChannelKey
    from actors.realtime.open_connections import OpenConnection
    from actors.realtime.ports import Identity
    from actors.realtime.roster import Roster, Subscription
    from actors.realtime.tenant import Tenant
    from actors.realtime.topic_presence import TopicPresence


@frozen
class Bounds:
    """How much is listed at the most: channels, connections, row change entries, and of each what is in it.

    Trade-off: a connection of a large tenant pays for the block in which all of this is read.
    """

    channels: int = 1000
    connections: int = 1000
    changes: int = 1000
    members: int = 100

    @property
    def half(self) -> Bounds:
        """Bounds for half as much."""
        return Bounds(
            self.channels // 2, self.connections // 2, self.changes // 2, self.members // 2
        )


@frozen
class Totals:
    """How many there are of each.

    `presences` are tracked payloads; `change_subscriptions` are subscriptions that asked for row changes.
    """

    connections: int
    channels: int
    subscribers: int
    presences: int
    change_subscriptions: int


@frozen
class PresenceSnapshot:
    """One tracked payload; `payload` is a JSON object."""

    key: str
    payload: bytes


@frozen
class ChannelSnapshot:
    """One channel; `users` are its subscribers' users, each once, in the order in which they came."""

    name: str
    is_private: bool
    subscriber_count: int
    presence_count: int
    users: tuple[str, ...]
    presences: tuple[PresenceSnapshot, ...]


@frozen
class ConnectionSnapshot:
    """One connection; `opened_at` is in seconds since 1970-01-01 UTC, `topics` are as its client joined them."""

    id: str
    user: str
    role: str
    peer: str
    opened_at: float
    topics: tuple[str, ...]


@frozen
class ChangeSnapshot:
    """One entry of a subscription to row changes; `schema` and `table` are None when they were missing."""

    channel: str
    user: str
    kind: str
    schema: str | None
    table: str | None
    filter: str | None


@frozen
class Snapshot:
    """Everything, as of `taken_at` (seconds since 1970-01-01 UTC)."""

    taken_at: float
    totals: Totals
    channels: tuple[ChannelSnapshot, ...]
    connections: tuple[ConnectionSnapshot, ...]
    changes: tuple[ChangeSnapshot, ...]


def user_of(identity: Identity) -> str:
    """Return whom an identity is listed as: its `sub`, else its role."""
    return identity.user_id or identity.role


def take_snapshot(tenant: Tenant, now: float, bounds: Bounds | None = None) -> Snapshot:
    """Return what there is; `now` is in seconds since 1970-01-01 UTC. Never waits."""
    bounds = bounds or Bounds()
    living = tuple(tenant.channels.living())
    largest = nlargest(bounds.channels, living, key=_size)
    boot = now - trio.current_time()
    return Snapshot(
        now,
        _totals(tenant, living),
        tuple(
            _channel(key, roster, presence, bounds.members) for key, roster, presence in largest
        ),
        tuple(
            _connection(connection, boot, bounds.members)
            for connection in islice(tenant.open_connections, bounds.connections)
        ),
        tuple(islice(_changes(living), bounds.changes)),
    )


def count(tenant: Tenant) -> Totals:
    """Return the totals alone; never waits."""
    return _totals(tenant, tuple(tenant.channels.living()))


def channel_snapshot(
    channels: Channels, key: ChannelKey, members: int | None = None
) -> ChannelSnapshot | None:
    """Return the channel of that key with as many members, or all; None if nobody is subscribed to it."""
    found = channels.tables(key)
    return None if found is None else _channel(key, found[0], found[1], members)


def _size(channel: tuple[ChannelKey, Roster, TopicPresence]) -> int:
    return len(channel[1])


def _totals(
    tenant: Tenant, living: Iterable[tuple[ChannelKey, Roster, TopicPresence]]
) -> Totals:
    channels = subscribers = presences = changes = 0
    for _, roster, presence in living:
        channels += 1
        subscribers += len(roster)
        presences += len(presence.tracks)
        changes += roster.changes_count
    return Totals(len(tenant.open_connections), channels, subscribers, presences, changes)


def _channel(
    key: ChannelKey, roster: Roster, presence: TopicPresence, members: int | None
) -> ChannelSnapshot:
    tracks = islice(presence.tracks, members)
    return ChannelSnapshot(
        key.sub_topic,
        key.is_private,
        len(roster),
        len(presence.tracks),
        tuple(islice(_users(roster), members)),
        tuple(PresenceSnapshot(track.meta.key, track.meta.payload) for track in tracks),
    )


def _users(roster: Iterable[Subscription]) -> Iterator[str]:
    seen: set[str] = set()
    for subscription in roster:
        user = user_of(subscription.identity)
        if user not in seen:
            seen.add(user)
            yield user


def _connection(connection: OpenConnection, boot: float, members: int) -> ConnectionSnapshot:
    return ConnectionSnapshot(
        connection.name,
        user_of(connection.identity),
        connection.identity.role,
        connection.peer,
        boot + connection.opened_at,
        tuple(islice(connection.memberships, members)),
    )


def _changes(
    living: Iterable[tuple[ChannelKey, Roster, TopicPresence]],
) -> Iterator[ChangeSnapshot]:
    for key, roster, _ in living:
        if roster.has_changes:
            for subscription in roster.with_changes():
                user = user_of(subscription.identity)
                for entry in subscription.changes:
                    yield ChangeSnapshot(
                        key.sub_topic, user, entry.kind, entry.schema, entry.table, entry.filter
                    )
