"""The channels that somebody created, with what was decided about them.

Not an actor: a table of the tenant with synchronous methods.
Channels come into being when they are joined, and most are not in here; those that are may have members or not.
A name stands for the public channel of that sub-topic, whichever dialect its members speak.
Who may join is decided in `managed_joins.py`, who may say something in `managed_pushes.py`;
`channel_admin.py` changes the table, `channel_keeper.py` fills it at the start and clears it up.

**Invariants**
- A channel that was created binds every dialect; one that came into being by a managed join binds such joins alone,
  or anybody could bind a room of others by joining it.
- A channel with members stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field, frozen

from actors.realtime.messages import ChannelKey, SharedChangesMoved
from protocol.limits import FixedWindow
from protocol.managed import ChannelConfig, Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.core.ref import Ref
    from actors.realtime.channel_store import StoredSubscription
    from actors.realtime.channels import Channels
    from actors.realtime.messages import JoinKey
    from actors.realtime.ports import Identity
    from protocol.commands import SharedChanges
    from protocol.presence.meta import Meta

#: The window in which `rate_limit` messages of one user are taken, in seconds.
WINDOW_S = 1.0
#: Users whose messages are counted at a time; beyond that those who were silent for a window are forgotten.
MAX_COUNTED = 10_000


@frozen
class ChannelRules:
    """What the operator decided about all of them.

    `max_subscribers`: members of a channel that does not say how many.
    `ttl_s`: seconds that a channel without members stays; one that nobody created goes at the next clean-up.
    `auto_create`: a managed join creates the channel it is for.
    `max_subscriptions`: row change subscriptions of one channel; each member has a join for each.
    `presence_ttl_s`: seconds that somebody without a socket is shown as present.
    `max_visitors`: how many of those one channel has.
    `visitors_bytes`: what they may say of themselves together, in all channels.
    `allow_anonymous`: who has no token may be in a channel that nobody created.
    """

    max_channels: int = 1000
    max_subscribers: int = 100
    ttl_s: float = 24 * 3600.0
    cleanup_every_s: float = 300.0
    auto_create: bool = True
    max_subscriptions: int = 20
    presence_ttl_s: float = 300.0
    max_visitors: int = 100
    visitors_bytes: int = 64 * 1024 * 1024
    allow_anonymous: bool = False


@define(eq=False)
class Visitor:
    """Somebody who is shown as present without a socket, until a time (trio clock)."""

    meta: Meta
    seen_at: float
    until: float

    @property
    def size_bytes(self) -> int:
        """What it counts towards the bounds."""
        return len(self.meta.payload) + len(self.meta.key)


@define(eq=False)
class ManagedChannel:
    """One of them; `changes` are the row changes that all its members get, by id.

    `entering` are joins that hold a place until they are on the roster, or have ended otherwise.
    `used_at` is when it was last known to be in use (trio clock).
    """

    name: str
    changes: dict[str, SharedChanges] = field(factory=dict[str, "SharedChanges"])
    config: ChannelConfig = field(factory=ChannelConfig)
    is_created: bool = False
    created_by: str = ""
    created_at: float = 0.0
    subscriptions: dict[str, StoredSubscription] = field(
        factory=dict[str, "StoredSubscription"]
    )
    visitors: dict[str, Visitor] = field(factory=dict[str, Visitor])
    entering: set[JoinKey] = field(factory=set["JoinKey"])
    used_at: float = field(factory=trio.current_time)
    _counted: dict[str, FixedWindow] = field(factory=dict[str, FixedWindow])
    _counted_at: dict[str, float] = field(factory=dict[str, float])

    def allows(self, identity: Identity, permission: Permission) -> bool:
        """Whether an identity has a permission here."""
        if identity.is_nobody:
            return self.config.allows_nobody(permission)
        return self.config.allows(identity.claimed_role, permission)

    def count(self, user: str) -> bool:
        """Count a message of a user, and say whether it is within the rate."""
        rate = self.config.rate_limit
        if rate is None:
            return True
        now = trio.current_time()
        if len(self._counted) >= MAX_COUNTED:
            self.forget_silent()
        window = self._counted.setdefault(user, FixedWindow())
        self._counted_at[user] = now
        return window.count(now, calls=rate, window_s=WINDOW_S)

    def forget_silent(self) -> None:
        """Forget the users whose window is over."""
        now = trio.current_time()
        for user in [u for u, at in self._counted_at.items() if now - at >= WINDOW_S]:
            del self._counted[user], self._counted_at[user]


@define(eq=False)
class ManagedChannels:
    """All of them, by name; `is_loaded` is False until what is stored is in here.

    `keeper` is the actor that answers for visitors, once it lives; `visitors_bytes` is what they all say.
    """

    rules: ChannelRules = field(factory=ChannelRules)
    is_loaded: bool = True
    keeper: Ref[Any] | None = None
    visitors_bytes: int = 0
    _channels: dict[str, ManagedChannel] = field(factory=dict[str, ManagedChannel])

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[ManagedChannel]:
        return iter(tuple(self._channels.values()))

    @property
    def is_full(self) -> bool:
        """Whether there are as many as there may be."""
        return len(self._channels) >= self.rules.max_channels

    def get(self, name: str) -> ManagedChannel | None:
        """Return the channel of that name, if it is managed."""
        return self._channels.get(name)

    def binding(self, name: str, *, is_managed: bool) -> ManagedChannel | None:
        """Return the channel of that name if its decisions bind a join, which is for a managed channel or not."""
        channel = self._channels.get(name)
        return channel if channel is not None and (channel.is_created or is_managed) else None

    def add(self, channel: ManagedChannel) -> None:
        """Enter a channel, in place of an earlier one of that name."""
        self._channels[channel.name] = channel

    def remove(self, name: str) -> None:
        """Take a channel out, if it is there."""
        self._channels.pop(name, None)

    def admits_anonymous(self, name: str) -> bool:
        """Whether a client without a token may join a channel."""
        channel = self._channels.get(name)
        if channel is None:
            return self.rules.allow_anonymous and self.rules.auto_create
        return channel.config.allows_nobody(Permission.READ)

    def come_into_being(self, name: str) -> ManagedChannel:
        """Enter a channel that a join brings into being, and return it."""
        config = ChannelConfig(require_auth=not self.rules.allow_anonymous)
        channel = self._channels[name] = ManagedChannel(name, config=config)
        return channel

    def most_subscribers(self, channel: ManagedChannel) -> int:
        """Return how many members a channel may have."""
        most = channel.config.max_subscribers
        return self.rules.max_subscribers if most is None else most

    def shared_changes(self, name: str) -> tuple[SharedChanges, ...]:
        """Return the row changes that all members of a channel get."""
        channel = self._channels.get(name)
        return () if channel is None else tuple(channel.changes.values())

    def tell_members(self, tenant: str, name: str, channels: Channels) -> None:
        """Let everybody who is in a channel see to its shared changes; who joins later does so without being told."""
        roster = channels.roster(ChannelKey(tenant, is_private=False, sub_topic=name))
        for subscription in roster or ():
            subscription.connection.tell(SharedChangesMoved(name))

    def clear_up(self, tenant: str, channels: Channels) -> list[ManagedChannel]:
        """Return the channels that nobody needs any more, and take those out that nobody created."""
        expired = []
        for channel in self:
            channel.forget_silent()
            if self.is_expired(channel, tenant, channels):
                expired.append(channel)
            elif not (
                channel.is_created or channel.changes or _is_used(channel, tenant, channels)
            ):
                self.remove(channel.name)
        return expired

    def is_expired(self, channel: ManagedChannel, tenant: str, channels: Channels) -> bool:
        """Whether nobody used a channel that is kept for long enough; notes that somebody does."""
        now = trio.current_time()
        if _is_used(channel, tenant, channels):
            channel.used_at = now
            return False
        is_kept = channel.is_created or bool(channel.changes)
        return is_kept and now - channel.used_at >= self.rules.ttl_s


def _is_used(channel: ManagedChannel, tenant: str, channels: Channels) -> bool:
    key = ChannelKey(tenant, is_private=False, sub_topic=channel.name)
    return bool(channel.entering or channels.roster(key) or channel.visitors)
