"""A change source in memory: the test commits, the listener hears."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Chunk
from protocol.changes.model import Kind, Lsn
from tests.support.changes import INT4, TEXT, make_change, make_table

NOTES = make_table({"id": INT4, "body": TEXT})


class MemorySource:
    """Implements `ports.ChangeSource`; `advice` set means that the database is away."""

    def __init__(self) -> None:
        self.advice: str | None = None
        self.acknowledged: list[int] = []
        self._lsn = 100
        self._send: trio.MemorySendChannel[Chunk] | None = None

    @asynccontextmanager
    async def connect(self, after):
        await trio.lowlevel.checkpoint()
        if self.advice is not None:
            raise DatabaseUnavailable(self.advice)
        self._send, self._receive = trio.open_memory_channel(1000)
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

    def commit(self, *changes) -> None:
        """Let the listener receive changes as one chunk."""
        self._lsn += 1
        self._send.send_nowait(Chunk(tuple(changes), Lsn(self._lsn)))

    def insert(self, *rows, table=NOTES) -> None:
        """Commit inserts of (id, body) in one transaction."""
        self.insert_raw(*(tuple(map(str, row)) for row in rows), table=table)

    def insert_raw(self, *rows, table=NOTES) -> None:
        """Commit inserts whose values are handed on as they are."""
        lsn = self._lsn + 1
        self.commit(
            *(
                make_change(Kind.INSERT, table, new=tuple(map(str, row)), lsn=lsn, index=index)
                for index, row in enumerate(rows)
            )
        )

    def break_off(self, advice: str) -> None:
        """End the stream; the database is away until `advice` is None again."""
        self.advice = advice
        self._send.close()
