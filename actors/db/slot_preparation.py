"""Gets the slot ready that a stream reads from: decides on the mode, keeps the durable slot, says what was lost.

Called by `replication` on the connection that is going to stream.
What was learnt from earlier streams is in `continuity`, where the gap is noted that the next chunk carries.

**Invariants**
- What streams is a temporary slot, so that it can be confirmed at once and never outlives the connection.
- Whatever committed behind `after` is behind the slot's place, or a gap is owed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import structlog
from attrs import field, frozen

from actors.db.slots import DurableSlot, SlotMode, SlotOptions, TemporarySlot, durable_name
from actors.realtime.change_ports import Gap
from protocol.changes.model import Lsn

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from actors.db.continuity import Continuity
    from actors.db.driver import TrioConnection
    from actors.db.server_facts import ServerFacts
    from protocol.changes.model import Position

#: How long a server that just ended may take to let go of the slot, in seconds.
HOLD_WITHIN_S = 1.0

_UNBOUNDED = (
    "A durable slot could fill the disk: set max_slot_wal_keep_size in Postgres to keep changes"
    " while the server is away, or choose the mode 'durable'."
)
_SHARED = "Another server uses the durable slot: set a slot suffix of its own for each server."
_EXHAUSTED = "There was no room for a durable slot: raise max_replication_slots in Postgres and restart it."

_GAP_TEMPORARY = (
    "The connection to Postgres was interrupted: changes made meanwhile may be missing."
)
_GAP_LOST = "Postgres did not keep all changes while the server was away."
_GAP_MISSING = "The replication slot was dropped: changes made meanwhile may be missing."
_GAP_MOVED = "The replication slot was moved by somebody else: changes may be missing."


@frozen
class PreparedSlot:
    """`temporary` is to be streamed; `durable`, if there is one, keeps everything from `kept_from` on.

    `is_shared` says that another server keeps us from the durable slot.
    """

    temporary: TemporarySlot
    durable: DurableSlot | None = None
    kept_from: Lsn = field(default=Lsn(0))
    is_shared: bool = False

    @property
    def kept(self) -> DurableSlot | None:
        """The durable slot that is ours to advance."""
        return None if self.is_shared else self.durable


@frozen
class SlotPreparation:
    """One preparation; `patience_s` bounds the wait for each transaction that is open when a slot is made."""

    connection: TrioConnection
    options: SlotOptions
    facts: ServerFacts
    continuity: Continuity
    patience_s: float
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    async def prepare(self, after: Position | None) -> PreparedSlot:
        """Return a slot from which everything behind `after` is read, or owe a gap.

        Raises:
            psycopg.Error: Postgres refused.
        """
        temporary = TemporarySlot.of(self.connection)
        if not self._wants_durable():
            return await self._temporary(temporary, after)
        name = durable_name(self.facts.database_oid, self.options.suffix)
        durable = DurableSlot(name)
        if not await durable.hold(self.connection, HOLD_WITHIN_S):
            return await self._share(temporary, durable, after)
        state = await durable.find(self.connection)
        if state is not None and state.is_active:
            return await self._share(temporary, durable, after)
        if state is not None and (state.is_lost or self.continuity.needs_new_slot):
            await durable.drop(self.connection)
            self._log.warning("slot.dropped", slot=name, lost=state.is_lost)
            if state.is_lost:
                self.continuity.owe(Gap(_GAP_LOST))
            state = None
        if state is None:
            return await self._new_durable(temporary, durable, after)
        kept_from = await durable.copy_to(self.connection, temporary)
        # What is before its place we have, or somebody else has let Postgres forget it.
        if kept_from > max(self.continuity.resumable(after), self.continuity.covered):
            self._owe_if_awaited(after, _GAP_MOVED)
        return PreparedSlot(temporary, durable, kept_from)

    def _wants_durable(self) -> bool:
        is_bounded = self.facts.keeps_bytes is not None
        match self.options.mode:
            case SlotMode.TEMPORARY:
                return False
            case SlotMode.DURABLE:
                return True
            case SlotMode.AUTO:
                if not is_bounded and not self.continuity.is_underway:
                    self._log.info("slot.chosen", mode="temporary", advice=_UNBOUNDED)
                return is_bounded

    async def _temporary(
        self, temporary: TemporarySlot, after: Position | None
    ) -> PreparedSlot:
        await temporary.make(self.connection, self.patience_s)
        self._owe_if_awaited(after, _GAP_TEMPORARY)
        self.continuity.needs_new_slot = False
        return PreparedSlot(temporary)

    async def _share(
        self, temporary: TemporarySlot, durable: DurableSlot, after: Position | None
    ) -> PreparedSlot:
        self._log.warning("slot.shared", slot=durable.name, advice=_SHARED)
        prepared = await self._temporary(temporary, after)
        return PreparedSlot(prepared.temporary, durable, is_shared=True)

    async def _new_durable(
        self, temporary: TemporarySlot, durable: DurableSlot, after: Position | None
    ) -> PreparedSlot:
        """Make the temporary slot first: if there is room for one only, it is not taken by what nobody streams."""
        await temporary.make(self.connection, self.patience_s)
        self._owe_if_awaited(after, _GAP_MISSING)
        self.continuity.needs_new_slot = False
        try:
            kept_from = await durable.copy_from(self.connection, temporary)
        except psycopg.errors.ConfigurationLimitExceeded:
            if self.options.mode is SlotMode.DURABLE:
                raise
            self._log.warning("slot.chosen", mode="temporary", advice=_EXHAUSTED)
            # An error on a replication connection drops its temporary slots.
            await temporary.make(self.connection, self.patience_s)
            return PreparedSlot(temporary)
        self._log.info("slot.created", slot=durable.name)
        return PreparedSlot(temporary, durable, kept_from)

    def _owe_if_awaited(self, after: Position | None, reason: str) -> None:
        """Owe a gap if somebody may count on what came before the slot's place."""
        if after is not None or self.continuity.is_underway:
            self.continuity.owe(Gap(reason))
