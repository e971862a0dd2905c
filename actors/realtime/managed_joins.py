"""Who may join a managed channel, and how many may be in it.

Called by `joins.py` once it is known who joins, and by `credentials.py` when a member speaks with another token.

**Source**: ledger GF-012, GF-013, GF-111, GF-120, GF-163 with C21, C37, C38.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from actors.realtime.errors import Forbidden, RateLimited, Refused
from actors.realtime.managed_channels import ManagedChannel
from actors.realtime.messages import ChannelKey
from protocol.managed import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.realtime.ports import Identity
    from actors.realtime.tenant import Tenant
    from protocol.commands import Join

NOT_LOADED = "Channels are not known yet: the database is away"


def refuse_if_unreadable(
    sub_topic: str, identity: Identity, tenant: Tenant, *, is_managed: bool
) -> None:
    """Let nobody be in a public channel who lacks its permission to read.

    Raises:
        Forbidden: the role may not.
    """
    channel = binding(sub_topic, tenant, is_managed=is_managed)
    if channel is not None and not channel.allows(identity, Permission.READ):
        raise Forbidden(
            "ChannelPermissionDenied",
            f"You do not have permission to read from this channel: {sub_topic}",
        )


def binding(sub_topic: str, tenant: Tenant, *, is_managed: bool) -> ManagedChannel | None:
    """Return the managed channel whose decisions bind a join."""
    channel = tenant.managed.get(sub_topic)
    return channel if channel is not None and (channel.is_created or is_managed) else None


@contextmanager
def managed_place(join: Join, identity: Identity, tenant: Tenant) -> Iterator[None]:
    """Hold a place in the managed channel that a join is for, until the join is on its roster; create it if need be.

    Raises:
        Refused: on entry; there is no such channel, or no place in it for this identity.
    """
    is_managed = join.options.managed
    if join.options.private:
        yield
        return
    channel = binding(join.sub_topic, tenant, is_managed=is_managed)
    if channel is None:
        if not is_managed:
            yield
            return
        channel = _create(join.sub_topic, tenant)
    refuse_if_unreadable(join.sub_topic, identity, tenant, is_managed=is_managed)
    _refuse_if_full(channel, tenant)
    channel.entering += 1
    try:
        yield
    finally:
        channel.entering -= 1


@frozen
class ManagedGate:
    """What a managed join would be told, for clients that are to know before they have a socket; the join decides."""

    tenant: Tenant

    def admits_anonymous(self, name: str) -> bool:
        """Whether a client without a token may come in."""
        return self.tenant.managed.admits_anonymous(name)

    def refuse(self, name: str, identity: Identity) -> None:
        """Return if that identity would be let in; never waits.

        Raises:
            Refused: it would not.
        """
        channel = self.tenant.managed.get(name)
        if channel is None:
            _refuse_to_create(name, self.tenant)
        else:
            refuse_if_unreadable(name, identity, self.tenant, is_managed=True)
            _refuse_if_full(channel, self.tenant)


def _create(name: str, tenant: Tenant) -> ManagedChannel:
    _refuse_to_create(name, tenant)
    channel = ManagedChannel(name)
    tenant.managed.add(channel)
    return channel


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


def _refuse_if_full(channel: ManagedChannel, tenant: Tenant) -> None:
    key = ChannelKey(tenant.name, is_private=False, sub_topic=channel.name)
    members = len(tenant.channels.roster(key) or ())
    if members + channel.entering >= tenant.managed.most_subscribers(channel):
        raise RateLimited(
            "ChannelFull", f"Too many subscribers in this channel: {channel.name}"
        )
