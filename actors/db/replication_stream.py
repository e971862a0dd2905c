"""One live replication stream: reads it in chunks, and tells the server how far it may forget.

Made by `replication`; bytes go through `protocol.changes`, facts of tables come from `catalog`.
Two tasks use it: the listener receives, and `report` runs beside it whatever the listener does.

**Invariants**
- A table's facts are there before the first of its rows is read.
- What was read and not handed out yet survives a cancelled `receive`.
- WAL is confirmed past the acknowledged chunks only while nothing is in flight; then all the server has sent is,
  so that an idle stream neither keeps WAL nor delays the server's shutdown.
- What was read before a message that cannot be read is handed out before the stream ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import trio
from attrs import define, field

from actors.db.advice import unavailable
from actors.realtime.change_ports import Chunk
from actors.realtime.errors import Unavailable
from protocol.changes import copyboth, pgoutput
from protocol.changes.copyboth import Keepalive
from protocol.changes.model import Change, Lsn, Relation
from protocol.changes.transactions import TransactionReader, announced_commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.db.catalog import Catalog
    from actors.db.continuity import Continuity
    from actors.db.driver import CopyBoth
    from actors.realtime.change_ports import Gap
    from actors.realtime.errors import DatabaseUnavailable

MAX_CHUNK_CHANGES = 500
#: A chunk ends at the change that reaches this size, so few large rows make a chunk as well.
MAX_CHUNK_BYTES = 4 * 1024 * 1024

#: The server hears at once of so much that it may forget: what a file of its log holds.
REPORT_EVERY_BYTES = 16 * 1024 * 1024

#: How many messages are read before other tasks get a turn.
MAX_MESSAGES_IN_ONE_GO = 500


@define(eq=False)
class ReplicationStream:
    """Implements the port `ChangeStream`.

    `continuity` has the gap that the first chunk carries, and is told what could not be read.
    `report_every_s` is how often the server hears from us at least, in seconds.
    """

    _copy: CopyBoth
    _catalog: Catalog
    _continuity: Continuity
    _now: Callable[[], float]
    _report_every_s: float
    _reader: TransactionReader = field(factory=TransactionReader, init=False)
    _changes: list[Change] = field(factory=list[Change], init=False)
    _size_bytes: int = field(default=0, init=False)
    _undescribed: Relation | None = field(default=None, init=False)
    _sent_by_server: Lsn = field(default=Lsn(0), init=False)
    _acknowledged: Lsn = field(default=Lsn(0), init=False)
    #: The end of the chunk that was handed out last, None once it is acknowledged.
    _awaited: Lsn | None = field(default=None, init=False)
    _reported: Lsn = field(default=Lsn(0), init=False)
    #: The gap that the first chunk carries, None once it is handed out.
    _gap: Gap | None = field(init=False)
    #: The same from then on until it is acknowledged.
    _announced: Gap | None = field(default=None, init=False)
    #: Why the stream ends as soon as all that was read is handed out.
    _failure: DatabaseUnavailable | None = field(default=None, init=False)
    _report_now: trio.Event = field(factory=trio.Event, init=False)

    @_gap.default
    def _owed(self) -> Gap | None:
        # What is owed later on came to be after what this stream brings.
        return self._continuity.owed

    async def receive(self) -> Chunk:
        """Wait for the next changes; what has arrived by then comes together, up to the bounds of a chunk."""
        try:
            while True:
                await trio.lowlevel.checkpoint()
                await self._describe_relation()
                if self._read_some():
                    continue
                if self._changes or self._gap is not None:
                    return self._take_chunk()
                if self._failure is not None:
                    raise self._failure
                await self._copy.wait_readable()
        except psycopg.Error as error:
            self._continuity.note_refusal(error)
            raise unavailable(error) from None

    def acknowledge(self, lsn: Lsn) -> None:
        self._acknowledged = max(self._acknowledged, lsn)
        if self._awaited is not None and self._awaited <= lsn:
            self._awaited = None
        self._continuity.note_acknowledged(self._announced)
        self._announced = None
        self._report_much()

    @property
    def confirmed(self) -> Lsn:
        in_flight = self._awaited is not None or self._changes or self._reader.in_transaction
        if not in_flight:
            self._acknowledged = max(self._acknowledged, self.written)
        return self._acknowledged

    @property
    def written(self) -> Lsn:
        return max(self._reader.end_lsn, self._sent_by_server)

    def break_off(self, failure: DatabaseUnavailable) -> None:
        """Let the receiver fail once it has what was read; called while it reads."""
        self._failure = failure

    async def report(self) -> None:
        """Tell the server every `report_every_s`, and when it asks, what it may forget; until the stream breaks."""
        while True:
            with trio.move_on_after(self._report_every_s):
                await self._report_now.wait()
            self._report_now = trio.Event()
            self._reported = self.confirmed
            status = copyboth.standby_status(self._reported, int(self._now() * 1_000_000))
            try:
                await self._copy.send(status)
            except psycopg.OperationalError:
                # The task that receives hears of it by itself.
                return

    async def _describe_relation(self) -> None:
        """Look up the relation whose message was read last, if that has not been done."""
        if self._undescribed is None or self._failure is not None:
            return
        try:
            self._reader.define_table(await self._catalog.describe(self._undescribed))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # like a message that cannot be read
            self._fail(self._reader.commit_lsn, error)
        else:
            self._undescribed = None

    def _read_some(self) -> bool:
        """Read what has arrived, and say whether to go on: not if there is no more, or a chunk is full."""
        for _ in range(MAX_MESSAGES_IN_ONE_GO):
            if len(self._changes) >= MAX_CHUNK_CHANGES or self._size_bytes >= MAX_CHUNK_BYTES:
                return False
            if self._failure is not None:
                return False
            data = self._copy.receive_nowait()
            if data is None:
                return False
            self._accept(data)
            if self._undescribed is not None:
                break
        return True

    def _accept(self, data: bytes) -> None:
        try:
            self._read(data)
        except Exception as error:  # noqa: BLE001  # a bug of ours must not stop for good what follows
            payload = data[copyboth.WAL_DATA_HEADER_BYTES :]
            self._fail(announced_commit(payload) or self._reader.commit_lsn, error)

    def _read(self, data: bytes) -> None:
        message = copyboth.decode(data)
        if isinstance(message, Keepalive):
            self._sent_by_server = max(self._sent_by_server, message.wal_end)
            if message.reply_requested:
                self._report_now.set()
            self._report_much()
            return
        decoded = pgoutput.decode(message.payload)
        change = self._reader.read(decoded)
        if change is not None:
            self._changes.append(change)
            self._size_bytes += len(data)
        elif isinstance(decoded, Relation):
            self._undescribed = decoded

    def _fail(self, commit_lsn: Lsn | None, error: Exception) -> None:
        """End the stream after what was read before."""
        self._failure = self._continuity.note_failure(commit_lsn, error)

    def _report_much(self) -> None:
        """Let the server hear of it at once if it may forget much."""
        if self.confirmed - self._reported >= REPORT_EVERY_BYTES:
            self._report_now.set()

    def _take_chunk(self) -> Chunk:
        chunk = Chunk(tuple(self._changes), self._reader.end_lsn, self._gap)
        self._changes.clear()
        self._size_bytes = 0
        self._awaited = chunk.acknowledged
        self._announced, self._gap = self._gap or self._announced, None
        return chunk
