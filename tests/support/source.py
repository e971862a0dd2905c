"""A change source in memory: the test commits, the listener hears."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Chunk, Gap
from protocol.changes.model import Kind, Lsn
from tests.support.changes import INT4, TEXT, make_change, make_table

NOTES = make_table({"id": INT4, "body": TEXT})
LOST = "Changes were lost while the stream was away"


class MemorySource:
    """Implements `ports.ChangeSource`.

    `advice` set means that the database is away; commits go on all the same.
    A durable one repeats what a new stream missed (and all else since the last release), one that is not has a gap.
    """

    def __init__(self, *, durable: bool = True) -> None:
        self.advice: str | None = None
        self.retention_bytes: int | None = None
        self.released: list[int] = []
        self.acknowledged: list[int] = []
        self.confirmed = Lsn(0)
        self.written = Lsn(100)
        self.positions_asked = 0
        self._durable = durable
        self._commits: list[Chunk] = []
        self._send: trio.MemorySendChannel[Chunk] | None = None

    @asynccontextmanager
    async def connect(self, after):
        await trio.lowlevel.checkpoint()
        self._refuse_if_away()
        self._send, self._receive = trio.open_memory_channel(10_000)
        if self._durable:
            for chunk in self._commits:
                self._send.send_nowait(chunk)
        elif after is not None:
            self._send.send_nowait(Chunk((), self.written, Gap(LOST)))
        try:
            yield self
        finally:
            self._send = None

    async def receive(self) -> Chunk:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise DatabaseUnavailable(self.advice or "gone") from None

    def acknowledge(self, lsn) -> None:
        self.acknowledged.append(lsn)
        self.confirmed = lsn

    async def release(self, lsn) -> None:
        await trio.lowlevel.checkpoint()
        self._refuse_if_away()
        self.released.append(lsn)
        self._commits = [
            chunk for chunk in self._commits if chunk.changes[-1].position.commit_lsn >= lsn
        ]

    async def insert_position(self) -> Lsn:
        await trio.lowlevel.checkpoint()
        self._refuse_if_away()
        self.positions_asked += 1
        return Lsn(self.written + 1)

    def commit(self, *changes, gap=None) -> None:
        """Let the listener receive changes as one chunk."""
        if changes:
            self.written = Lsn(max(self.written, changes[-1].position.commit_lsn))
        chunk = Chunk(tuple(changes), Lsn(self.written + 1), gap)
        if changes:
            self._commits.append(chunk)
        if self._send is not None:
            self._send.send_nowait(chunk)

    def insert(self, *rows, table=NOTES) -> None:
        """Commit inserts of (id, body) in one transaction."""
        self.insert_raw(*(tuple(map(str, row)) for row in rows), table=table)

    def insert_raw(self, *rows, table=NOTES) -> None:
        """Commit inserts whose values are handed on as they are."""
        lsn = self.written + 10
        self.commit(
            *(
                make_change(Kind.INSERT, table, new=row, lsn=lsn, index=index)
                for index, row in enumerate(rows)
            )
        )

    def break_off(self, advice: str) -> None:
        """End the stream; the database is away until `advice` is None again."""
        self.advice = advice
        self._send.close()
        self._send = None

    def _refuse_if_away(self) -> None:
        if self.advice is not None:
            raise DatabaseUnavailable(self.advice)
