"""ChannelKeeper: fills the table of managed channels at the start, and clears it up every now and then.

Channels that nobody was in for long enough are deleted, and so are visitors whose time is over.
It answers for the tracks of visitors, as connections do for theirs.
Neighbours: `channel_admin.py` deletes, `visitors.py` knows who is present without a socket.

Truth: none, the store is. Rank 3. Mailbox: nothing is ever sent to it. Restart: endless.
Recovery: rung 1; a database that is away is a state: it is asked again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Never

import structlog
import trio
from attrs import define

from actors.core.signals import Stopping
from actors.core.spec import Backoff, ChildSpec, Restart
from actors.realtime import visitors
from actors.realtime.errors import Unavailable

if TYPE_CHECKING:
    from actors.core.inbox import Inbox
    from actors.realtime.channel_admin import ChannelAdmin
    from actors.realtime.channel_store import ChannelStore
    from actors.realtime.tenant import Tenant

RETRY = Backoff(first=0.5, base=0.5, factor=2.0, ceiling=30.0)
RANK = 3
#: Of the time that a visitor is present: how late it may be noticed that it is over.
VISITORS_CHECKED = 10

log = structlog.get_logger()


@define(eq=False)
class ChannelKeeper:
    """The actor; ready after its first attempt to load, so that a database that is away keeps nobody out."""

    _tenant: Tenant
    _store: ChannelStore
    _admin: ChannelAdmin

    async def run(self, inbox: Inbox[Never]) -> None:
        """Keep the channels until told to stop."""
        self._tenant.managed.keeper = inbox.ref
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, inbox)
            nursery.start_soon(self._watch_visitors)
            async for signal in inbox:
                if isinstance(signal, Stopping):
                    break
            nursery.cancel_scope.cancel()

    async def _keep(self, inbox: Inbox[Never]) -> None:
        attempt = 0
        while not self._tenant.managed.is_loaded:
            try:
                await self._load()
            except Unavailable as away:
                log.warning("channels.unloaded", advice=away.advice)
                inbox.ready()
                attempt += 1
                await trio.sleep(RETRY.delay(attempt, 0.5))
        inbox.ready()
        while True:
            await trio.sleep(self._tenant.managed.rules.cleanup_every_s)
            await self._clear_up()

    async def _load(self) -> None:
        found = await self._store.load()
        managed = self._tenant.managed
        for stored in found:
            self._admin.restore(stored)
        managed.is_loaded = True
        if found:
            log.info("channels.loaded", channels=len(found))
        for channel in managed:
            if channel.is_created:
                # Who came while nobody knew of the channel is held to it from now on.
                await self._admin.end_unreadable(channel)

    async def _clear_up(self) -> None:
        tenant = self._tenant
        for channel in tenant.managed.clear_up(tenant.name, tenant.channels):
            try:
                await self._admin.expire(channel)
            except Unavailable as away:
                log.debug("channel.not_deleted", channel=channel.name, advice=away.advice)
                return

    async def _watch_visitors(self) -> None:
        every_s = self._tenant.managed.rules.presence_ttl_s / VISITORS_CHECKED
        while True:
            await trio.sleep(every_s)
            for channel in self._tenant.managed:
                if channel.visitors:
                    visitors.expire(channel, self._tenant)


def keeper_spec(tenant: Tenant, store: ChannelStore, admin: ChannelAdmin) -> ChildSpec[Never]:
    """Return the spec of the keeper of a tenant."""
    return ChildSpec(
        name="channel_keeper",
        factory=lambda: ChannelKeeper(tenant, store, admin),
        rank=RANK,
        restart=Restart.PERMANENT,
        ready_within=math.inf,
    )
