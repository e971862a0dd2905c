"""Channels that are kept in memory, beyond the life of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, evolve, field

from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from actors.realtime.channel_store import StoredChannel


@define(eq=False)
class MemoryChannelStore:
    """Implements `ChannelStore`; `advice` set means that the database is away, `gate` that it is slow."""

    channels: dict[str, StoredChannel] = field(factory=dict)
    advice: str | None = None
    gate: trio.Event | None = None

    async def load(self):
        await self._ask()
        return tuple(self.channels.values())

    async def add(self, channel):
        await self._ask()
        known = self.channels.get(channel.name)
        if known is not None and known.is_created:
            return False
        kept = () if known is None else known.subscriptions
        self.channels[channel.name] = evolve(channel, subscriptions=kept)
        return True

    async def remove(self, name):
        await self._ask()
        self.channels.pop(name, None)

    async def subscribe(self, channel, subscription):
        await self._ask()
        kept = self.channels.setdefault(channel.name, channel)
        subscriptions = (*kept.subscriptions, subscription)
        self.channels[channel.name] = evolve(kept, subscriptions=subscriptions)

    async def unsubscribe(self, subscription_id):
        await self._ask()
        for channel in tuple(self.channels.values()):
            left = tuple(one for one in channel.subscriptions if one.id != subscription_id)
            self.channels[channel.name] = evolve(channel, subscriptions=left)

    async def _ask(self):
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.advice is not None:
            raise DatabaseUnavailable(self.advice)
