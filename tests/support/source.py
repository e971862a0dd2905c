"""A change source in memory: the test commits, the listener hears."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import trio
from attrs import define, evolve, field

from actors.realtime.change_ports import Chunk, Gap
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Kind, Lsn
from tests.support.changes import INT4, TEXT, make_change, make_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from protocol.changes.model import Change, Position, Table

NOTES = make_table({"id": INT4, "body": TEXT})
MESSAGES = make_table(
    dict.fromkeys(
        (
            "topic",
            "extension",
            "payload",
            "event",
            "private",
            "updated_at",
            "inserted_at",
            "id",
            "binary_payload",
        ),
        TEXT,
    ),
    key=("id", "inserted_at"),
    name="messages",
    oid=17000,
    schema="realtime",
)
LOST = "Changes were lost while the stream was away"
MAX_CHUNK_CHANGES = 500
LSN_STEP = 10


def stored_row(
    payload="{}", event="e", topic="room", private=False, row_id="", data=None, **columns
) -> tuple[str | None, ...]:
    """Return a row of realtime.messages as it streams in; `columns` may be set to None, or to anything else."""
    row = {
        "topic": topic,
        "extension": "broadcast",
        "payload": payload if data is None else None,
        "event": event,
        "private": "t" if private else "f",
        "updated_at": "2026-11-21 10:00:00",
        "inserted_at": "2026-11-21 10:00:00",
        "id": row_id or str(uuid4()),
        "binary_payload": None if data is None else "\\x" + data.hex(),
    }
    return tuple((row | columns).values())


@define(eq=False)
class MemoryStream:
    """What one `connect` sees; implements `ports.ChangeStream`."""

    _source: MemorySource
    _acknowledged: Lsn = field(default=Lsn(0), init=False)
    _chunks: deque[Chunk] = field(factory=deque, init=False)
    _awaited: Lsn | None = field(default=None, init=False)
    _announced: Gap | None = field(default=None, init=False)
    _failure: str | None = field(default=None, init=False)
    _stirred: trio.Event = field(factory=trio.Event, init=False)

    async def receive(self) -> Chunk:
        await trio.lowlevel.checkpoint()
        while not self._chunks and self._failure is None and not self._owes():
            await self._stirred.wait()
        if self._failure is not None:
            raise DatabaseUnavailable(self._failure)
        chunk = self._chunks.popleft() if self._chunks else Chunk((), Lsn(0))
        if self._owes():
            self._announced = self._source.owed
            chunk = evolve(chunk, gap=self._announced)
        self._awaited = chunk.acknowledged
        return chunk

    def acknowledge(self, lsn: Lsn) -> None:
        self._acknowledged = max(self._acknowledged, lsn)
        if self._awaited is not None and self._awaited <= lsn:
            self._awaited = None
        if self._announced is self._source.owed:
            self._source.owed = None
        self._announced = None

    @property
    def confirmed(self) -> Lsn:
        is_idle = self._awaited is None and not self._chunks
        return self.written if is_idle else self._acknowledged

    @property
    def written(self) -> Lsn:
        return self._source.written

    def add(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self.stir()

    def fail(self, advice: str) -> None:
        self._failure = advice
        self.stir()

    def stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()

    def _owes(self) -> bool:
        return self._source.owed is not self._announced


@define(eq=False)
class MemorySource:
    """Implements `ports.ChangeSource`; passes its contract.

    `advice` set means that the database is away: whatever it is asked fails with it; commits go on all the same.
    A durable one keeps from its first stream on what commits, until it is released; another one has a gap.
    """

    durable: bool = True
    advice: str | None = None
    retention_bytes: int | None = None
    #: What was released, in the order it was said.
    released: list[Lsn] = field(factory=list, init=False)
    #: Carried by the next chunk.
    owed: Gap | None = field(default=None, init=False)
    #: Behind the last commit.
    written: Lsn = field(default=Lsn(100), init=False)
    _streams: list[MemoryStream] = field(factory=list, init=False)
    _is_underway: bool = field(default=False, init=False)
    _kept: list[Chunk] = field(factory=list, init=False)

    @asynccontextmanager
    async def connect(self, after: Position | None) -> AsyncIterator[MemoryStream]:
        await self._ask()
        stream = MemoryStream(self)
        if self._is_underway and not self.durable:
            self.owed = Gap(LOST)
        for chunk in self._kept:
            if after is None or chunk.changes[-1].position > after:
                stream.add(chunk)
        self._is_underway = True
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self._streams.remove(stream)

    async def release(self, lsn: Lsn) -> None:
        await self._ask()
        if not self._streams:
            raise DatabaseUnavailable("no stream is live")
        self.released.append(lsn)
        self._kept = [chunk for chunk in self._kept if _commit_lsn(chunk) >= lsn]

    async def insert_position(self) -> Lsn:
        await self._ask()
        return self.written

    def commit(self, *changes: Change, gap: Gap | None = None) -> None:
        """Commit one transaction, at the positions the changes have."""
        before = self.written
        if changes:
            self.written = Lsn(max(self.written, changes[-1].position.commit_lsn + 1))
        if gap is not None:
            self.owed = gap
            for stream in self._streams:
                stream.stir()
        for start in range(0, len(changes), MAX_CHUNK_CHANGES):
            part = changes[start : start + MAX_CHUNK_CHANGES]
            is_last = start + MAX_CHUNK_CHANGES >= len(changes)
            chunk = Chunk(tuple(part), self.written if is_last else before)
            if self.durable and self._is_underway:
                self._kept.append(chunk)
            for stream in self._streams:
                stream.add(chunk)

    def insert(self, *rows: tuple[object, ...], table: Table = NOTES) -> None:
        """Commit inserts in one transaction."""
        self.insert_raw(*(tuple(map(str, row)) for row in rows), table=table)

    def insert_raw(self, *rows, table: Table = NOTES) -> None:
        """Commit inserts whose values are handed on as they are."""
        self.write(*((Kind.INSERT, row, None) for row in rows), table=table)

    def write(self, *rows, table: Table = NOTES) -> None:
        """Commit (kind, new row, old row) in one transaction."""
        lsn = self.written + LSN_STEP
        self.commit(
            *(
                make_change(kind, table, new=new, old=old, lsn=lsn, index=index)
                for index, (kind, new, old) in enumerate(rows)
            )
        )

    def send(self, *broadcasts: dict[str, object], table: Table = MESSAGES) -> None:
        """Store broadcasts in one transaction; see `stored_row` for what may be said of each."""
        self.insert_raw(*(stored_row(**broadcast) for broadcast in broadcasts), table=table)

    def break_off(self, advice: str) -> None:
        """End every stream; the database is away until `advice` is None again."""
        self.advice = advice
        self.end_streams(advice)

    def end_streams(self, advice: str) -> None:
        """End every stream there is; another can be had at once."""
        for stream in self._streams:
            stream.fail(advice)

    async def _ask(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.advice is not None:
            raise DatabaseUnavailable(self.advice)


def _commit_lsn(chunk: Chunk) -> Lsn:
    return chunk.changes[0].position.commit_lsn
