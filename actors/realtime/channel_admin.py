"""Creating and deleting managed channels, and subscribing them to row changes.

Called by `actors.web.goforward*`, which have checked who asks.
What is stored comes first: a channel that cannot be kept is not created.

**Invariants**
- One change at a time, so the table and what is stored go the same way.
- A change is made to the channel that somebody was allowed to change, not to one that took its name meanwhile.
- What is in the table of somebody's will is stored, unless there is no database at all.

**Source**: ledger GF-008…020, GF-051…056, C21, C44.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, evolve, field

from actors.core.errors import ActorStopped
from actors.realtime import visitors
from actors.realtime.change_feed import Activity
from actors.realtime.channel_store import StoredChannel, StoredSubscription
from actors.realtime.errors import RateLimited
from actors.realtime.managed_channels import ManagedChannel
from actors.realtime.managed_joins import (
    DELETED,
    NO_PERMISSION,
    NOT_READABLE,
    make_room,
    refuse_if_unknown,
)
from actors.realtime.messages import ChannelKey, EndSubscriptions
from protocol.commands import SharedChanges
from protocol.managed import Permission, room_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.realtime.channel_store import ChannelStore
    from actors.realtime.ports import Identity
    from actors.realtime.roster import Subscription
    from actors.realtime.tenant import Tenant
    from protocol.managed import ChangeFilter, ChannelConfig

log = structlog.get_logger()


@define(eq=False)
class ChannelAdmin:
    """Changes the table of a tenant; `now` returns seconds since 1970-01-01 UTC."""

    _tenant: Tenant
    _store: ChannelStore
    _now: Callable[[], float]
    _lock: trio.Lock = field(factory=trio.Lock, init=False)

    async def create(
        self, name: str, config: ChannelConfig, identity: Identity
    ) -> ManagedChannel | None:
        """Return the new channel, None if somebody created it before; who may not be in it any more is told so.

        Raises:
            Refused: there are too many, or nobody knows yet which there are.
            Unavailable: it cannot be kept now.
        """
        managed = self._tenant.managed
        refuse_if_unknown(self._tenant)
        async with self._lock:
            channel = managed.get(name)
            if channel is not None and channel.is_created:
                return None
            if channel is None:
                make_room(self._tenant)
            at = self._now()
            stored = StoredChannel(name, config, True, identity.user_id, at)
            if not await self._store.add(stored):
                await self._catch_up(name)
                return None
            # A join may have brought it into being; what was allowed to be done with that one ends here.
            channel = evolve(
                managed.get(name) or ManagedChannel(name),
                config=config,
                is_created=True,
                created_by=identity.user_id,
                created_at=at,
            )
            managed.add(channel)
        log.info("channel.created", channel=name)
        await self.end_unreadable(channel)
        return channel

    async def end_unreadable(self, channel: ManagedChannel) -> None:
        """End the subscriptions of those who may not read from a channel."""

        def may_stay(subscription: Subscription) -> bool:
            return channel.allows(subscription.identity, Permission.READ)

        await self._end(channel.name, may_stay, NOT_READABLE, NO_PERMISSION)

    async def expire(self, channel: ManagedChannel) -> None:
        """Forget a channel that nobody used for long enough, unless somebody came meanwhile; else as `delete`."""
        await self.delete(channel, if_expired=True)

    async def delete(self, channel: ManagedChannel, *, if_expired: bool = False) -> bool:
        """Forget a channel; who came for it is sent away, others stay in what is a topic like any other then.

        False if it is gone already.

        Raises:
            Unavailable: it cannot be forgotten now.
        """
        async with self._lock:
            managed = self._tenant.managed
            if managed.get(channel.name) is not channel:
                return False
            if if_expired and not managed.is_expired(
                channel, self._tenant.name, self._tenant.channels
            ):
                return False
            await self._store.remove(channel.name)
            self._tenant.managed.remove(channel.name)
            visitors.forget_all(channel, self._tenant)
            for subscription_id in tuple(channel.subscriptions):
                self._leave(channel, subscription_id)
        log.info("channel.deleted", channel=channel.name)
        self._tell_members(channel)
        await self._end(channel.name, lambda one: not one.is_managed, DELETED)
        return True

    async def subscribe(
        self, channel: ManagedChannel, wanted: ChangeFilter, identity: Identity
    ) -> StoredSubscription | None:
        """Subscribe all members of a channel, now and later, to row changes; the same twice is once.

        None if the channel is gone.

        Raises:
            RateLimited: the channel has as many subscriptions as it may have.
            Unavailable: it cannot be kept now.
        """
        async with self._lock:
            if self._tenant.managed.get(channel.name) is not channel:
                return None
            for known in channel.subscriptions.values():
                if known.wanted == wanted:
                    return known
            if len(channel.subscriptions) >= self._tenant.managed.rules.max_subscriptions:
                raise RateLimited("ChannelRateLimitReached", "Too many subscriptions")
            subscription = StoredSubscription(
                self._free_id(), wanted, identity.user_id, self._now()
            )
            stored = StoredChannel(
                channel.name,
                channel.config,
                channel.is_created,
                channel.created_by,
                channel.created_at,
            )
            await self._store.subscribe(stored, subscription)
            self.enter(channel, subscription)
        self._tell_members(channel)
        return subscription

    async def unsubscribe(self, channel: ManagedChannel, subscription_id: str) -> None:
        """End a subscription of a channel.

        Raises:
            Unavailable: it cannot be forgotten now.
        """
        async with self._lock:
            await self._store.unsubscribe(subscription_id)
            self._leave(channel, subscription_id)
        self._tell_members(channel)

    def enter(self, channel: ManagedChannel, subscription: StoredSubscription) -> None:
        """Have row changes for all members of a channel, and count them."""
        shared = SharedChanges(subscription.id, subscription.wanted.bindings())
        channel.subscriptions[subscription.id] = subscription
        channel.changes[subscription.id] = shared
        self._tenant.feed.activity[room_of(channel.name, subscription.id)] = Activity()

    def restore(self, stored: StoredChannel) -> ManagedChannel:
        """Enter a channel as it was stored, in place of what a join has brought into being."""
        channel = self._tenant.managed.get(stored.name) or ManagedChannel(stored.name)
        channel.config, channel.is_created = stored.config, stored.is_created
        channel.created_by, channel.created_at = stored.created_by, stored.created_at
        for subscription in stored.subscriptions:
            self.enter(channel, subscription)
        self._tenant.managed.add(channel)
        return channel

    async def _catch_up(self, name: str) -> None:
        """Know a channel that is stored and was not known: the database did what it could not tell any more."""
        for stored in await self._store.load():
            if stored.name == name:
                log.info("channel.found", channel=name)
                await self.end_unreadable(self.restore(stored))

    def activity(self, channel: ManagedChannel, subscription_id: str) -> Activity:
        """Return what was delivered of a subscription since this server began, or since it was made."""
        return self._tenant.feed.activity[room_of(channel.name, subscription_id)]

    def _leave(self, channel: ManagedChannel, subscription_id: str) -> None:
        channel.changes.pop(subscription_id, None)
        channel.subscriptions.pop(subscription_id, None)
        self._tenant.feed.activity.pop(room_of(channel.name, subscription_id), None)

    def _free_id(self) -> str:
        """Return an id that no subscription has.

        **Source**: ledger GF-062, `sub_` and milliseconds.
        """
        taken = {one for channel in self._tenant.managed for one in channel.subscriptions}
        number = int(self._now() * 1000)
        while f"sub_{number}" in taken:
            number += 1
        return f"sub_{number}"

    def _tell_members(self, channel: ManagedChannel) -> None:
        tenant = self._tenant
        tenant.managed.tell_members(tenant.name, channel.name, tenant.channels)

    async def _end(
        self, name: str, keeps: Callable[[Subscription], bool], refusal: str, code: str = ""
    ) -> None:
        key = ChannelKey(self._tenant.name, is_private=False, sub_topic=name)
        channel = self._tenant.channels.get(key)
        if channel is not None:
            with suppress(ActorStopped):
                await channel.send(EndSubscriptions(keeps, refusal, code))
