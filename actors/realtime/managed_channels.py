"""The channels that somebody created, with what was decided about them.

Not an actor: a table of the tenant with synchronous methods.
Channels come into being when they are joined, and most are not in here; those that are may have members or not.
A name stands for the public channel of that sub-topic, whichever dialect its members speak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from actors.realtime.messages import ChannelKey, SharedChangesMoved

if TYPE_CHECKING:
    from actors.realtime.channels import Channels
    from protocol.commands import SharedChanges


@define(eq=False)
class ManagedChannel:
    """One of them; `changes` are the row changes that all its members get, by id."""

    name: str
    changes: dict[str, SharedChanges] = field(factory=dict[str, "SharedChanges"])


@define(eq=False)
class ManagedChannels:
    """All of them, by name."""

    _channels: dict[str, ManagedChannel] = field(factory=dict[str, ManagedChannel])

    def get(self, name: str) -> ManagedChannel | None:
        """Return the channel of that name, if somebody created it."""
        return self._channels.get(name)

    def add(self, channel: ManagedChannel) -> None:
        """Enter a channel, in place of an earlier one of that name."""
        self._channels[channel.name] = channel

    def shared_changes(self, name: str) -> tuple[SharedChanges, ...]:
        """Return the row changes that all members of a channel get."""
        channel = self._channels.get(name)
        return () if channel is None else tuple(channel.changes.values())

    def tell_members(self, tenant: str, name: str, channels: Channels) -> None:
        """Let everybody who is in a channel see to its shared changes; who joins later does so without being told."""
        roster = channels.roster(ChannelKey(tenant, is_private=False, sub_topic=name))
        for subscription in roster or ():
            subscription.connection.tell(SharedChangesMoved(name))
