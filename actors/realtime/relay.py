"""RelayActor: delivers broadcasts that somebody stored in the database to who is subscribed to their topics.

One per tenant. Works through its backlog of the change log in order, beside the rows actors and not inside them:
a slow policy does not delay broadcasts, for none is asked; who may hear what was settled at the join.
Neighbours: woken by the listener (`listener.py`), reads the rosters of the channels; nobody is told but the clients.

**Invariants**
- Between the look at a roster and the snapshot of its outboxes there is no checkpoint, so who joins meanwhile
  gets a broadcast once: as a subscriber, or by what was held for a join that replays (`replaying.py`).
- What can fail comes before the first push; from then on everything is pushed and the references removed.

Truth: none; the backlog is an heir table. Rank 2. Mailbox: wake-ups only.
Recovery: rung 1, nothing lost and nothing repeated; a broadcast that crashes it twice is skipped.

**Source**: spec 4.4 and 8.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field

from actors.core.signals import Stopping
from actors.core.spec import ChildSpec, Restart
from actors.realtime.fanout import Sends, SharedDelivery
from actors.realtime.messages import ChannelKey
from actors.realtime.reserved import is_reserved
from protocol.changes.stored import read_stored

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.realtime.changelog import Entry
    from actors.realtime.messages import RelayMessage
    from actors.realtime.replaying import ReplayGate
    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import DropReason, Metrics
    from protocol.changes.stored import StoredBroadcast

BATCH = 128
#: Bytes prepared for one group of subscribers before they are sent, although the batch is not over.
FLUSH_BYTES = 256 * 1024
#: Wake-ups all say the same.
CAPACITY = 8
#: Seconds between two log lines that give the same reason.
COMPLAIN_EVERY_S = 60.0
#: Upstream's words for what it does not broadcast.
TOO_LARGE = "payload_size_exceeded"
TOO_MANY = "too_many_requests"
RESERVED = "topic_reserved"


@define
class Prepared:
    """What is to be done for one batch, once nothing of it can fail any more."""

    deliveries: dict[ChannelKey, SharedDelivery] = field(factory=dict)
    #: What joins that replay are to hold.
    held: list[tuple[ReplayGate, str, bytes]] = field(factory=list)
    row_ids: list[str] = field(factory=list)


def relay_spec(tenant: Tenant, metrics: Metrics) -> ChildSpec[RelayMessage]:
    """Return the spec of a tenant's relay; it has to come back whatever happens."""
    return ChildSpec(
        name="relay",
        factory=lambda: RelayActor(tenant, metrics),
        rank=2,
        restart=Restart.PERMANENT,
        capacity=CAPACITY,
        heir=tenant.feed.broadcasts,
    )


class RelayActor:
    """The actor; see the module's text."""

    def __init__(self, tenant: Tenant, metrics: Metrics) -> None:
        self._tenant = tenant
        self._feed = tenant.feed
        self._backlog = tenant.feed.broadcasts
        self._metrics = metrics
        self._complained: dict[str, float] = {}
        self._log: BoundLogger = structlog.get_logger()

    async def run(self, inbox: Inbox[RelayMessage]) -> None:
        """Deliver stored broadcasts until told to stop."""
        self._backlog.relay = inbox.ref
        if self._backlog.take_stock():
            self._drop("crash", "crash")
        inbox.ready()
        while True:
            while self._backlog.references:
                await trio.lowlevel.checkpoint()
                await self._work()
            if self._backlog.loss is not None:
                self._log.error("broadcasts.lost", reason=self._backlog.loss)
                self._backlog.loss = None
            async for message in inbox.batch(CAPACITY):
                if isinstance(message, Stopping):
                    return

    async def _work(self) -> None:
        """Deliver the oldest broadcasts, and only then remove them."""
        prepared = Prepared()
        numbers = self._backlog.begin(BATCH)
        taken = size_bytes = 0
        for number in numbers:
            size_bytes += self._prepare(self._feed.log.get(number), prepared)
            taken += 1
            if size_bytes >= FLUSH_BYTES:
                break
        self._backlog.begin_only(taken)
        for gate, row_id, frame in prepared.held:
            gate.hold(row_id, frame)
        deliveries = prepared.deliveries.values()
        sends = Sends(chain.from_iterable([delivery.take() for delivery in deliveries]))
        try:
            self._metrics.deliveries.count += await sends.flush()
        finally:
            sends.finish()
            self._backlog.finish()
            for row_id in prepared.row_ids:
                self._tenant.channels.own.forget(row_id)
        received = sum(delivery.take_received()[0] for delivery in deliveries)
        self._tenant.quota.events.count(received)

    def _prepare(self, entry: Entry | None, prepared: Prepared) -> int:
        """Encode one broadcast for who is subscribed to its topic, or about to be; return the bytes of that.

        Left out are who was sent it when joining, and who stored it and does not want it back.
        """
        stored = self._read(entry)
        if stored is None:
            return 0
        channels = self._tenant.channels
        prepared.row_ids.append(stored.id)
        key = ChannelKey(self._tenant.name, stored.is_private, stored.sub_topic)
        prepared.held += (
            (gate, stored.id, gate.encode(stored.message)) for gate in channels.gates.of(key)
        )
        roster = channels.roster(key)
        if not roster:
            return 0
        delivery = prepared.deliveries.get(key)
        if delivery is None:
            delivery = prepared.deliveries[key] = SharedDelivery(roster)
        before = delivery.size_bytes
        skips = (*roster.replayed(stored.id), *channels.own.sender(stored.id))
        delivery.add(stored.message, skips)
        self._tenant.quota.events.count()
        self._metrics.broadcasts_relayed.inc()
        return delivery.size_bytes - before

    def _read(self, entry: Entry | None) -> StoredBroadcast | None:
        """Return what is to be broadcast, None if nothing is."""
        if entry is None:
            self._metrics.broadcasts_dropped["evicted"].inc()
            return None
        stored = read_stored(entry.change)
        if isinstance(stored, str):
            self._drop("incomplete", stored)
        elif len(stored.message.payload) > self._tenant.limits.payload_bytes:
            self._drop("payload_size_exceeded", TOO_LARGE)
        elif is_reserved(stored.sub_topic):
            self._drop("denied", RESERVED)
        elif self._tenant.quota.events.is_tripped:
            self._drop("rate_limited", TOO_MANY)
        else:
            return stored
        return None

    def _drop(self, label: DropReason, reason: str) -> None:
        """Count a broadcast that is not delivered, and say why, but not over and over."""
        self._metrics.broadcasts_dropped[label].inc()
        now = trio.current_time()
        if now >= self._complained.get(reason, now):
            self._complained[reason] = now + COMPLAIN_EVERY_S
            self._log.warning(
                "broadcast.skipped", code="UnableToBroadcastChanges", reason=reason
            )
