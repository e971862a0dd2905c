"""The change source over logical replication: gets a slot ready, then hands out the stream.

Called by the listener through the port `ChangeSource`; `driver` connects, `slot_preparation` finds the slot,
`replication_stream` does the rest.
Reconnecting is the listener's business: whatever goes wrong on the way is one `DatabaseUnavailable` with its advice.

**Invariants**
- The publication is there before the slot.
- What streams is a temporary slot; a durable one behind it keeps the place for a server that is away.
- Only the holder of a durable slot lets it advance.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import structlog
import trio
from attrs import define, field

from actors.db.advice import publication_missing, unavailable, wal_level_too_low
from actors.db.beside import beside
from actors.db.continuity import Continuity
from actors.db.driver import CopyBoth, connect
from actors.db.insert_position import InsertPosition
from actors.db.publications import (
    MESSAGES_PUBLICATION,
    PUBLICATION,
    create_publication,
    has_publication,
)
from actors.db.replication_stream import ReplicationStream
from actors.db.server_facts import end_session, examine
from actors.db.slot_preparation import SlotPreparation
from actors.db.slots import SlotOptions
from actors.realtime.change_ports import Gap
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import format_lsn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from psycopg.errors import Diagnostic
    from structlog.stdlib import BoundLogger

    from actors.db.catalog import Catalog
    from actors.db.driver import TrioConnection
    from actors.db.server_facts import ServerFacts, Session
    from actors.db.slot_preparation import PreparedSlot
    from protocol.changes.model import Lsn, Position

#: Between two reports when the server has no `wal_sender_timeout`, in seconds.
REPORT_EVERY_S = 20.0

#: How long our own session of before may take to end, in seconds.
END_WITHIN_S = 5.0


@define(eq=False)
class _Live:
    """What is streamed at the moment; `released` is how far the durable slot was advanced."""

    facts: ServerFacts
    slot: PreparedSlot
    released: Lsn


@define(eq=False)
class ReplicationSource:
    """Implements the port `ChangeSource` for what commits in the tables of a publication, and for stored broadcasts.

    Those come by a publication of their own, if there is one; until there is, the stream is without them.

    `now` returns seconds since 1970-01-01 UTC; it is told to the server, and nothing depends on it.
    Postgres starts a slot only where it knows every open transaction:
    entering waits until those of the moment have ended, each for `patience_s` at most.
    While another server holds the durable slot, or nothing publishes stored broadcasts,
    every `look_every_s` it is looked whether that is still so.
    `report_within_s` are the seconds between two reports to the server at the most.
    """

    conninfo: str = field(repr=False)
    catalog: Catalog
    now: Callable[[], float]
    publication: str = PUBLICATION
    slots: SlotOptions = field(factory=SlotOptions)
    patience_s: float = 10.0
    look_every_s: float = 15.0
    report_within_s: float = REPORT_EVERY_S
    _continuity: Continuity = field(factory=Continuity, init=False)
    _insert_position: InsertPosition = field(init=False)
    _live: _Live | None = field(default=None, init=False)
    _session: Session | None = field(default=None, init=False)
    #: Whether it was said that nothing publishes stored broadcasts.
    _is_told: bool = field(default=False, init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    @_insert_position.default
    def _on_the_pool(self) -> InsertPosition:
        return InsertPosition(self.catalog.pool)

    @property
    def retention_bytes(self) -> int | None:
        if self._live is None or self._live.slot.kept is None:
            return None
        return self._live.facts.keeps_bytes

    @asynccontextmanager
    async def connect(self, after: Position | None) -> AsyncIterator[ReplicationStream]:
        """Return a context that is a live stream; see the port for the contract."""
        try:
            connection = await connect(self.conninfo, replication="database")
        except psycopg.Error as error:
            raise unavailable(error) from None
        async with connection:
            try:
                facts = await self._examine(connection)
                slot = await self._prepare(connection, facts, after)
                copy = await self._start(connection, slot, after, self._publications(facts))
            except psycopg.Error as error:
                raise unavailable(error) from None
            # A third, so that one report may be late or lost.
            patience_s = facts.patience_s / 3 if facts.patience_s else REPORT_EVERY_S
            report_every_s = min(patience_s, self.report_within_s)
            stream = ReplicationStream(
                copy, self.catalog, self._continuity, self.now, report_every_s
            )
            connection.add_notice_handler(partial(self._take_notice, stream))
            async with beside(
                stream.report,
                lambda: self._wait_for_slot(slot, connection),
                lambda: self._wait_for_messages(facts, connection),
            ):
                self._live = _Live(facts, slot, slot.kept_from)
                self._continuity.is_underway = True
                try:
                    yield stream
                finally:
                    self._live = None
                    self._continuity.note_confirmed(stream.confirmed)

    def _take_notice(self, stream: ReplicationStream, notice: Diagnostic) -> None:
        """Break the stream when its publication is dropped, of which Postgres 18 only warns."""
        if notice.sqlstate == psycopg.errors.ObjectNotInPrerequisiteState.sqlstate:
            stream.break_off(publication_missing(self.publication))

    async def release(self, lsn: Lsn) -> None:
        """Advance the durable slot, if we have one and `lsn` is further than before."""
        live = self._live
        if live is None:
            raise DatabaseUnavailable("The stream is interrupted: waiting for it to come back.")
        durable = live.slot.kept
        if durable is None or lsn <= live.released:
            return
        async with self.catalog.pool.connection() as connection:
            try:
                await durable.advance(connection, lsn)
            except (
                psycopg.errors.UndefinedObject,
                psycopg.errors.ObjectNotInPrerequisiteState,
            ) as error:
                # Dropped or invalidated behind our back; what we stream has all that it should have kept.
                self._log.warning("slot.replaced", slot=durable.name, sqlstate=error.sqlstate)
                await durable.drop(connection)
                await durable.copy_from(connection, live.slot.temporary)
        live.released = lsn

    def start_over(self, reason: str) -> None:
        """Announce with the next stream that positions of before mean nothing any more."""
        self._continuity.owe(Gap(reason, starts_over=True))

    async def insert_position(self) -> Lsn:
        """Ask the database where it writes, one query for all who ask at the same time."""
        return await self._insert_position.read()

    async def _examine(self, connection: TrioConnection) -> ServerFacts:
        """Look whether replication can work, and make it work as far as we may."""
        facts = await examine(connection, self.publication, MESSAGES_PUBLICATION)
        if not facts.is_logical:
            raise wal_level_too_low()
        if not facts.has_publication:
            await create_publication(connection, self.publication)
        self._continuity.recognise(facts.system, facts.written)
        return facts

    def _publications(self, facts: ServerFacts) -> tuple[str, ...]:
        """Return what is streamed."""
        if facts.has_messages_publication:
            self._is_told = False
            return self.publication, MESSAGES_PUBLICATION
        if not self._is_told:
            self._is_told = True
            self._log.warning(
                "messages.unpublished",
                publication=MESSAGES_PUBLICATION,
                advice="Broadcasts from the database are not delivered: run 'troupe migrate'.",
            )
        return (self.publication,)

    async def _prepare(
        self, connection: TrioConnection, facts: ServerFacts, after: Position | None
    ) -> PreparedSlot:
        if self._session is not None:
            # The server may not have noticed yet that it ended, and would keep the slot for it.
            await end_session(connection, self._session, END_WITHIN_S)
        self._session = facts.session
        preparation = SlotPreparation(
            connection, self.slots, facts, self._continuity, self.patience_s
        )
        return await preparation.prepare(after)

    async def _start(
        self,
        connection: TrioConnection,
        slot: PreparedSlot,
        after: Position | None,
        publications: tuple[str, ...],
    ) -> CopyBoth:
        names = _quoted(",".join(_quoted(name, '"') for name in publications), "'")
        start = format_lsn(self._continuity.start(after))
        command = (
            f"START_REPLICATION SLOT {slot.temporary.name} LOGICAL {start}"
            f" (proto_version '1', publication_names {names})"
        )
        try:
            return await CopyBoth.start(connection, command)
        except psycopg.Error as error:
            self._continuity.note_refusal(error)
            raise

    async def _wait_for_slot(self, slot: PreparedSlot, connection: TrioConnection) -> None:
        """If another server holds the durable slot, end the stream as soon as it lets go: the next one has it."""
        durable = slot.durable
        if durable is None or not slot.is_shared:
            return
        while True:
            await trio.sleep(self.look_every_s)
            try:
                async with self.catalog.pool.connection() as asking:
                    is_free = await durable.is_free(asking)
            except DatabaseUnavailable:
                continue
            if is_free:
                self._log.info("slot.freed", slot=durable.name)
                connection.discard()
                return

    async def _wait_for_messages(self, facts: ServerFacts, connection: TrioConnection) -> None:
        """If nothing publishes stored broadcasts, end the stream as soon as something does: the next one has them."""
        while not facts.has_messages_publication:
            await trio.sleep(self.look_every_s)
            try:
                async with self.catalog.pool.connection() as asking:
                    is_there = await has_publication(asking, MESSAGES_PUBLICATION)
            except DatabaseUnavailable:
                continue
            if is_there:
                self._log.info("messages.published", publication=MESSAGES_PUBLICATION)
                connection.discard()
                return


def _quoted(text: str, quote: str) -> str:
    """Quote as replication commands want it: nothing but the quote itself is special."""
    return quote + text.replace(quote, quote * 2) + quote
