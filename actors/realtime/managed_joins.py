"""Who may join a managed channel, and how many may be in it.

Called by `joins.py` once it is known who joins, and by `credentials.py` when a member speaks with another token.

**Source**: ledger GF-012, GF-013, GF-111, GF-120, GF-163 with C21, C37, C38.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from attrs import frozen

from actors.core.errors import ActorStopped
from actors.realtime.admission import refuse_one_more
from actors.realtime.errors import Forbidden, RateLimited, Refused
from actors.realtime.messages import ChannelKey, EndSubscriptions, JoinKey
from protocol.managed import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.realtime.managed_channels import ManagedChannel
    from actors.realtime.membership import Membership
    from actors.realtime.ports import Identity
    from actors.realtime.roster import Subscription
    from actors.realtime.tenant import Tenant
    from protocol.commands import Join

#: What is told to those whose subscription ends.
DELETED = "The channel was deleted"
NOT_READABLE = "You no longer have permission to read from this channel"
NO_PERMISSION = "ChannelPermissionDenied"
NOT_LOADED = "Channels are not known yet: the database is away"


def refuse_if_unreadable(
    sub_topic: str, identity: Identity, tenant: Tenant, *, is_managed: bool
) -> None:
    """Let nobody be in a public channel who lacks its permission to read.

    Raises:
        Forbidden: the role may not.
    """
    channel = tenant.managed.binding(sub_topic, is_managed=is_managed)
    if channel is not None and not channel.allows(identity, Permission.READ):
        raise Forbidden(
            NO_PERMISSION,
            f"You do not have permission to read from this channel: {sub_topic}",
        )


@contextmanager
def managed_place(join: Join, subscription: Subscription, tenant: Tenant) -> Iterator[None]:
    """Hold a place in the managed channel that a join is for, until the join is on its roster; create it if need be.

    Raises:
        Refused: on entry; there is no such channel, or no place in it for this identity.
    """
    is_managed = join.options.managed
    if join.options.private:
        yield
        return
    channel = tenant.managed.binding(join.sub_topic, is_managed=is_managed)
    if channel is None:
        if not is_managed:
            yield
            return
        channel = _create(join.sub_topic, tenant)
    identity = subscription.identity
    refuse_if_unreadable(join.sub_topic, identity, tenant, is_managed=is_managed)
    _refuse_if_full(channel, tenant, _replaced_by(join, subscription))
    channel.entering.add(subscription.key)
    try:
        yield
    finally:
        channel.entering.discard(subscription.key)


async def end_if_unwelcome(membership: Membership, tenant: Tenant) -> None:
    """End a membership whose channel was deleted or closed to it while it came in, or came to speak for another.

    Whoever did that may not have found it on the roster.
    """
    _, is_private, sub_topic = membership.channel_key
    is_managed = membership.subscription.is_managed
    if is_private:
        return
    channel = tenant.managed.binding(sub_topic, is_managed=is_managed)
    if channel is None and not is_managed:
        return
    if channel is not None and channel.allows(membership.identity, Permission.READ):
        return
    refusal, code = (DELETED, "") if channel is None else (NOT_READABLE, NO_PERMISSION)
    with suppress(ActorStopped):
        await membership.channel.send(
            EndSubscriptions(lambda one: one.key != membership.key, refusal, code)
        )


@frozen
class ManagedGate:
    """Says at the door what a managed join would be told, so that no socket is opened for that."""

    tenant: Tenant

    def admits_anonymous(self, name: str) -> bool:
        """Whether a client without a token may join a channel."""
        return self.tenant.managed.admits_anonymous(name)

    def refuse(self, name: str, identity: Identity) -> None:
        """Return if an identity may join a channel; never waits.

        Raises:
            Refused: it may not, or there is no place in it, or no such channel.
        """
        tenant = self.tenant
        refuse_one_more(identity.user_id, tenant)
        channel = tenant.managed.get(name)
        if channel is None:
            _refuse_to_create(name, tenant)
            return
        refuse_if_unreadable(name, identity, tenant, is_managed=True)
        _refuse_if_full(channel, tenant)


def _create(name: str, tenant: Tenant) -> ManagedChannel:
    _refuse_to_create(name, tenant)
    return tenant.managed.come_into_being(name)


def _refuse_to_create(name: str, tenant: Tenant) -> None:
    refuse_if_unknown(tenant)
    if not tenant.managed.rules.auto_create:
        raise Refused("ChannelNotFound", f"There is no channel of this name: {name}")
    make_room(tenant)


def refuse_if_unknown(tenant: Tenant) -> None:
    """Decide nothing about channels before what is stored of them is known.

    Raises:
        Refused: it is not.
    """
    if not tenant.managed.is_loaded:
        raise Refused("ChannelsUnknown", NOT_LOADED)


def make_room(tenant: Tenant) -> None:
    """See to it that there may be one more channel.

    Raises:
        RateLimited: there are too many.
    """
    managed = tenant.managed
    if managed.is_full:
        managed.clear_up(tenant.name, tenant.channels)
    if managed.is_full:
        raise RateLimited("ChannelLimitReached", "Too many channels")


def _replaced_by(join: Join, subscription: Subscription) -> JoinKey | None:
    return (
        None if join.replaces is None else JoinKey(subscription.key.connection, join.replaces)
    )


def _refuse_if_full(
    channel: ManagedChannel, tenant: Tenant, replaced: JoinKey | None = None
) -> None:
    """Refuse one more member; who comes in place of a join that is on the roster is none.

    Raises:
        RateLimited: there is no place.
    """
    key = ChannelKey(tenant.name, is_private=False, sub_topic=channel.name)
    roster = tenant.channels.roster(key)
    if replaced is not None and roster is not None and roster.get(replaced) is not None:
        return
    members = 0 if roster is None else len(roster)
    # One that is on the roster is still entering until its connection hears of that.
    entering = sum(roster is None or roster.get(join) is None for join in channel.entering)
    if members + entering >= tenant.managed.most_subscribers(channel):
        raise RateLimited(
            "ChannelFull", f"Too many subscribers in this channel: {channel.name}"
        )
