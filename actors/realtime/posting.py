"""Broadcasts from outside a connection: over HTTP, from somebody who is joined to nothing.

Called by `actors.web.broadcast`; hands each broadcast to its channel, if there is one.
A topic that nobody has joined has no channel, and none is started for it: nobody would hear the broadcast.
Of rank 3, as the connections: it waits for channels that are full, and for no longer than a connection would.

**Source**: spec 4.2 (the order, one permission check per topic) and 8 (what counts).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from actors.core.errors import ActorStopped
from actors.realtime.errors import ChannelBusy, Forbidden, PolicyUndecided, RateLimited, Refused
from actors.realtime.managed_pushes import DROPPED, refusal_of_posted
from actors.realtime.messages import ChannelKey, Publish
from actors.realtime.persisting import persist
from actors.realtime.ports import PolicyQuestion
from protocol.events import UserBroadcast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.realtime.ports import Identity
    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import Metrics
    from protocol.commands import Persist, PostedBroadcast
    from protocol.events import PushRefused


CODE: Final = "MessagePerSecondRateLimitReached"
EXCEEDED: Final = "You have exceeded your rate limit"
#: Private topics of one request that policies are asked about at a time, and for how long altogether (seconds).
#: Trade-off: a request may name thousands, and the connections on which policies are tried are everybody's.
ASKED_TOGETHER: Final = 50
ASKED_WITHIN_S: Final = 10.0
NOT_ASKED: Final = PolicyUndecided("IncreaseConnectionPool", "Connection pool exhausted")
#: How many broadcasts are handed over before others have their turn.
TURN: Final = 100
BATCH_TOO_LARGE: Final = "Too many messages to broadcast, please reduce the batch size"


@frozen
class Poster:
    """Publishes for those who are not joined; see the module's text."""

    tenant: Tenant
    metrics: Metrics

    def refuse_over_quota(self, batch_size: int | None = None) -> None:
        """Refuse a broadcast, or a batch of so many, for which the tenant has no events left.

        **Source**: spec 4.2 and 4.3; one broadcast is refused at the limit, a batch beyond it.

        Raises:
            RateLimited: with the literal text.
        """
        events = self.tenant.quota.events
        if events.is_exceeded or (batch_size is None and events.is_tripped):
            raise RateLimited(CODE, EXCEEDED)
        if batch_size is not None and 0 < events.limit < events.average + batch_size:
            raise RateLimited(CODE, BATCH_TOO_LARGE)

    def refusal(
        self, broadcast: PostedBroadcast, identity: Identity, peer: str
    ) -> PushRefused | None:
        """Return why the managed channel of a broadcast does not take it, None if it does; never waits.

        `peer` is the address that the request came from.
        """
        refused = refusal_of_posted(broadcast, identity, peer, self.tenant)
        if refused is not None:
            self.metrics.broadcasts_dropped[DROPPED[refused.code]].inc()
        return refused

    async def publish(
        self, identity: Identity, headers: bytes, broadcasts: Sequence[PostedBroadcast]
    ) -> Refused | None:
        """Hand over what `identity` may broadcast; return why that was not everything, None if it was.

        Public ones go first, in order, then private ones topic by topic.
        `headers` is the JSON object of the request's headers, for policies.

        Raises:
            ChannelBusy: a channel had no room in time; what came before it in this order was accepted.
        """
        public = [broadcast for broadcast in broadcasts if not broadcast.private]
        sender = identity.user_id
        accepted = await self._hand_over(public, sender, 0, len(broadcasts))
        private = by_topic(broadcasts)
        refusals = await self._refusals(private, identity, headers)
        denied = sum(len(private[topic]) for topic in refusals)
        self.metrics.broadcasts_dropped["denied"].inc(denied)
        allowed = [
            broadcast
            for topic, group in private.items()
            if topic not in refusals
            for broadcast in group
        ]
        await self._hand_over(allowed, sender, accepted, len(broadcasts) - denied)
        return next(iter(refusals.values()), None)

    async def persist(
        self, identity: Identity, headers: bytes, broadcast: PostedBroadcast, wish: Persist
    ) -> None:
        """Store a broadcast, which is delivered by that.

        Raises:
            Forbidden, PolicyUndecided: `identity` may not, or that could not be found out.
            NotPersisted: it cannot be stored; with a sentence for its sender.
        """
        message = broadcast.message
        if isinstance(message, UserBroadcast):
            question = PolicyQuestion(broadcast.sub_topic, identity, headers)
            await persist(message, wish, question, self.tenant, is_private=broadcast.private)
            self.metrics.broadcasts_accepted.count += 1

    async def _refusals(
        self, topics: Iterable[str], identity: Identity, headers: bytes
    ) -> dict[str, Refused]:
        """Return why nothing may be broadcast on some of these private topics; all are asked about together."""
        answers: dict[str, Refused | None] = dict.fromkeys(topics, NOT_ASKED)
        limiter = trio.CapacityLimiter(ASKED_TOGETHER)

        async def ask(topic: str) -> None:
            async with limiter:
                answers[topic] = await self._refusal(PolicyQuestion(topic, identity, headers))

        with trio.move_on_after(ASKED_WITHIN_S):
            async with trio.open_nursery() as nursery:
                for topic in answers:
                    nursery.start_soon(ask, topic)
        return {topic: refusal for topic, refusal in answers.items() if refusal is not None}

    async def _refusal(self, question: PolicyQuestion) -> Refused | None:
        try:
            grants = await self.tenant.policies.may_write(question)
        except Refused as undecided:
            return undecided
        return None if grants.broadcast else Forbidden("Unauthorized", "Unauthorized")

    async def _hand_over(
        self, broadcasts: Sequence[PostedBroadcast], sender: str, before: int, total: int
    ) -> int:
        """Give broadcasts to their channels; return how many were accepted, with those `before`.

        Raises:
            ChannelBusy: a channel had no room in time.
        """
        deadline = trio.current_time() + self.tenant.limits.park_s
        for number, broadcast in enumerate(broadcasts):
            if number % TURN == 0:
                await trio.lowlevel.checkpoint()
            if not await self._is_taken(broadcast, sender, deadline):
                accepted = before + number
                self.metrics.broadcasts_dropped["channel_busy"].inc(total - accepted)
                self.metrics.broadcasts_accepted.count += number
                raise ChannelBusy(accepted, total)
            self.tenant.quota.events.count()
        self.metrics.broadcasts_accepted.count += len(broadcasts)
        return before + len(broadcasts)

    async def _is_taken(self, broadcast: PostedBroadcast, sender: str, deadline: float) -> bool:
        """Give a broadcast to its channel; False if that had no room until the deadline (trio clock)."""
        key = ChannelKey(self.tenant.name, broadcast.private, broadcast.sub_topic)
        channel = self.tenant.channels.get(key)
        message = Publish(broadcast.message, sender=sender)
        if channel is None or channel.tell(message):
            return True
        with trio.move_on_at(deadline), suppress(ActorStopped):
            await channel.send(message)
            return True
        # It ended meanwhile, because nobody is subscribed any more; or there was no room.
        return not channel.alive


def by_topic(broadcasts: Sequence[PostedBroadcast]) -> dict[str, list[PostedBroadcast]]:
    """Return the private ones, by topic in the order of their first."""
    found: dict[str, list[PostedBroadcast]] = {}
    for broadcast in broadcasts:
        if broadcast.private:
            found.setdefault(broadcast.sub_topic, []).append(broadcast)
    return found
