"""One live replication stream: reads it in chunks, and tells the server how far it may forget.

Made by `replication`; bytes go through `protocol.changes`, facts of tables come from `catalog`.
Two tasks use it: the listener receives, and `report` runs beside it whatever the listener does.

**Invariants**
- A table's facts are there before the first of its rows is read.
- What was read and not handed out yet survives a cancelled `receive`.
- WAL is confirmed past the acknowledged chunks only while nothing is in flight; then all the server has sent is,
  so that an idle stream neither keeps WAL nor delays the server's shutdown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import trio
from attrs import define, field

from actors.db.advice import unavailable
from actors.realtime.ports import Chunk, Gap
from protocol.changes import copyboth, pgoutput
from protocol.changes.copyboth import Keepalive
from protocol.changes.model import Change, Lsn, Relation
from protocol.changes.transactions import TransactionReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.db.catalog import Catalog
    from actors.db.driver import CopyBoth
    from actors.realtime.errors import DatabaseUnavailable

MAX_CHUNK_CHANGES = 500
#: A chunk ends at the change that reaches this size, so few large rows make a chunk as well.
MAX_CHUNK_BYTES = 4 * 1024 * 1024

#: How many messages are read before other tasks get a turn.
MAX_MESSAGES_IN_ONE_GO = 500


@define(eq=False)
class ReplicationStream:
    """Implements the port `ChangeStream`.

    `report_every_s` is how often the server hears from us at least, in seconds.
    """

    _copy: CopyBoth
    _catalog: Catalog
    _now: Callable[[], float]
    _report_every_s: float
    _reader: TransactionReader = field(factory=TransactionReader, init=False)
    _changes: list[Change] = field(factory=list[Change], init=False)
    _size_bytes: int = field(default=0, init=False)
    _undescribed: Relation | None = field(default=None, init=False)
    _sent_by_server: Lsn = field(default=Lsn(0), init=False)
    _confirmed: Lsn = field(default=Lsn(0), init=False)
    #: The end of the chunk that was handed out last, None once it is acknowledged.
    _awaited: Lsn | None = field(default=None, init=False)
    _report_now: trio.Event = field(factory=trio.Event, init=False)
    #: What was lost before this stream, for the first chunk.
    gap: Gap | None = field(default=None, init=False)
    _failure: DatabaseUnavailable | None = field(default=None, init=False)

    async def receive(self) -> Chunk:
        """Wait for the next changes; what has arrived by then comes together, up to the bounds of a chunk."""
        if self.gap is not None:
            gap, self.gap = self.gap, None
            await trio.lowlevel.checkpoint()
            return Chunk((), self._reader.end_lsn, gap)
        try:
            while True:
                await trio.lowlevel.checkpoint()
                await self._describe_relation()
                if self._read_some():
                    continue
                if self._changes:
                    return self._take_chunk()
                if self._failure is not None:
                    raise self._failure
                await self._copy.wait_readable()
        except psycopg.Error as error:
            raise unavailable(error) from None

    def acknowledge(self, lsn: Lsn) -> None:
        self._confirmed = max(self._confirmed, lsn)
        if self._awaited is not None and self._awaited <= lsn:
            self._awaited = None

    @property
    def confirmed(self) -> Lsn:
        return self._confirm()

    @property
    def written(self) -> Lsn:
        return max(self._sent_by_server, self._reader.end_lsn)

    def break_off(self, failure: DatabaseUnavailable) -> None:
        """Let the receiver fail once it has what was read; called while it reads."""
        self._failure = failure

    async def report(self) -> None:
        """Tell the server every `report_every_s`, and when it asks, what it may forget; until the stream breaks."""
        while True:
            with trio.move_on_after(self._report_every_s):
                await self._report_now.wait()
            self._report_now = trio.Event()
            status = copyboth.standby_status(self._confirm(), int(self._now() * 1_000_000))
            try:
                await self._copy.send(status)
            except psycopg.OperationalError:
                # The task that receives hears of it by itself.
                return

    async def _describe_relation(self) -> None:
        """Look up the relation whose message was read last, if that has not been done."""
        if self._undescribed is not None:
            self._reader.define_table(await self._catalog.describe(self._undescribed))
            self._undescribed = None

    def _read_some(self) -> bool:
        """Read what has arrived, and say whether to go on: not if there is no more, or a chunk is full."""
        for _ in range(MAX_MESSAGES_IN_ONE_GO):
            if len(self._changes) >= MAX_CHUNK_CHANGES or self._size_bytes >= MAX_CHUNK_BYTES:
                return False
            data = self._copy.receive_nowait()
            if data is None:
                return False
            self._accept(data)
            if self._undescribed is not None:
                break
        return True

    def _accept(self, data: bytes) -> None:
        message = copyboth.decode(data)
        if isinstance(message, Keepalive):
            self._sent_by_server = max(self._sent_by_server, message.wal_end)
            if message.reply_requested:
                self._report_now.set()
            return
        decoded = pgoutput.decode(message.payload)
        change = self._reader.read(decoded)
        if change is not None:
            self._changes.append(change)
            self._size_bytes += len(data)
        elif isinstance(decoded, Relation):
            self._undescribed = decoded

    def _take_chunk(self) -> Chunk:
        chunk = Chunk(tuple(self._changes), self._reader.end_lsn)
        self._changes.clear()
        self._size_bytes = 0
        self._awaited = chunk.acknowledged
        return chunk

    def _confirm(self) -> Lsn:
        """Return how far the server may forget."""
        in_flight = self._awaited is not None or self._changes or self._reader.in_transaction
        if not in_flight:
            self._confirmed = max(self._confirmed, self._reader.end_lsn, self._sent_by_server)
        return self._confirmed
