"""Broadcasts from outside a connection: over HTTP, from somebody who is joined to nothing.

Called by `actors.web.broadcast`; hands each broadcast to its channel, if there is one.
A topic that nobody has joined has no channel, and none is started for it: nobody would hear the broadcast.
Of rank 3, as the connections: it waits for channels that are full, and for no longer than a connection would.

**Source**: spec 4.2 (the order, and one permission check per topic).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from actors.core.errors import ActorStopped
from actors.realtime.errors import ChannelBusy, Forbidden, Refused
from actors.realtime.messages import ChannelKey, Publish
from actors.realtime.ports import PolicyQuestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.realtime.ports import Identity
    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import Metrics
    from protocol.commands import PostedBroadcast


@frozen
class Poster:
    """Publishes for those who are not joined; see the module's text."""

    tenant: Tenant
    metrics: Metrics

    async def publish(
        self, identity: Identity, headers: bytes, broadcasts: Sequence[PostedBroadcast]
    ) -> Refused | None:
        """Hand over what `identity` may broadcast; return why that was not everything, None if it was.

        Public ones go first, in order, then private ones topic by topic.
        `headers` is the JSON object of the request's headers, for policies.

        Raises:
            ChannelBusy: a channel had no room in time; what came before it in this order was accepted.
        """
        deadline = trio.current_time() + self.tenant.limits.park_s
        accepted = denied = 0
        refused: Refused | None = None
        for group in groups(broadcasts):
            first = group[0]
            refusal = await self._refusal(first, identity, headers) if first.private else None
            if refusal is not None:
                denied += len(group)
                refused = refusal
                continue
            await trio.lowlevel.checkpoint()
            for broadcast in group:
                if not await self._is_taken(broadcast, deadline):
                    dropped = len(broadcasts) - accepted - denied
                    self.metrics.broadcasts_dropped["channel_busy"].inc(dropped)
                    self.metrics.broadcasts_accepted.inc(accepted)
                    raise ChannelBusy(accepted, len(broadcasts))
                accepted += 1
        self.metrics.broadcasts_accepted.inc(accepted)
        return refused

    async def _refusal(
        self, broadcast: PostedBroadcast, identity: Identity, headers: bytes
    ) -> Refused | None:
        question = PolicyQuestion(broadcast.sub_topic, identity, headers)
        try:
            grants = await self.tenant.policies.may_write(question)
        except Refused as undecided:
            return undecided
        return None if grants.broadcast else Forbidden("Unauthorized", "Unauthorized")

    async def _is_taken(self, broadcast: PostedBroadcast, deadline: float) -> bool:
        """Give a broadcast to its channel; False if that had no room until the deadline (trio clock)."""
        key = ChannelKey(self.tenant.name, broadcast.private, broadcast.sub_topic)
        channel = self.tenant.channels.get(key)
        message = Publish(broadcast.message)
        if channel is None or channel.tell(message):
            return True
        with trio.move_on_at(deadline), suppress(ActorStopped):
            await channel.send(message)
            return True
        # It ended meanwhile, because nobody is subscribed any more; or there was no room.
        return not channel.alive


def groups(broadcasts: Sequence[PostedBroadcast]) -> list[list[PostedBroadcast]]:
    """Return the public ones together and in front, then the private ones by topic."""
    found: dict[str | None, list[PostedBroadcast]] = {}
    for broadcast in sorted(broadcasts, key=lambda broadcast: broadcast.private):
        found.setdefault(broadcast.sub_topic if broadcast.private else None, []).append(
            broadcast
        )
    return list(found.values())
