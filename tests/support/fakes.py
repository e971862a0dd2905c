"""Stand-ins with behaviour; each passes the contract test of the port it implements."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define, evolve, field

from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Chunk, Gap
from protocol.changes.model import Lsn, Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from protocol.changes.model import Change

MAX_CHUNK_CHANGES = 500
LSN_STEP = 100


@define(eq=False)
class FakeChangeStream:
    """What one `connect` sees; `acknowledged` is what it was told."""

    _source: FakeChangeSource
    acknowledged: Lsn = field(default=Lsn(0), init=False)
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
        self.acknowledged = max(self.acknowledged, lsn)
        if self._awaited is not None and self._awaited <= lsn:
            self._awaited = None
        if self._announced is self._source.owed:
            self._source.owed = None
        self._announced = None

    @property
    def confirmed(self) -> Lsn:
        is_idle = self._awaited is None and not self._chunks
        return self.written if is_idle else self.acknowledged

    @property
    def written(self) -> Lsn:
        return self._source.written

    def add(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._stir()

    def fail(self, advice: str) -> None:
        self._failure = advice
        self._stir()

    def _owes(self) -> bool:
        return self._source.owed is not self._announced

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()


@define(eq=False)
class FakeChangeSource:
    """A change source whose transactions the test commits.

    One that `is_durable` keeps from its first stream on what commits, until it is released.
    While `refusal` is set, whatever it is asked fails with it.
    A test may set what is `owed`: the next chunk carries it.
    """

    refusal: str | None = None
    is_durable: bool = True
    retention_bytes: int | None = None
    streams: list[FakeChangeStream] = field(factory=list, init=False)
    owed: Gap | None = field(default=None, init=False)
    released: Lsn = field(default=Lsn(0), init=False)
    #: Behind the last commit.
    written: Lsn = field(default=Lsn(LSN_STEP // 2), init=False)
    _is_underway: bool = field(default=False, init=False)
    _kept: list[Chunk] = field(factory=list, init=False)

    @asynccontextmanager
    async def connect(self, after: Position | None) -> AsyncIterator[FakeChangeStream]:
        await self._ask()
        stream = FakeChangeStream(self)
        if self._is_underway and not self.is_durable:
            self.owed = Gap("what committed meanwhile is lost")
        for chunk in self._kept:
            if after is None or chunk.changes[-1].position > after:
                stream.add(chunk)
        self._is_underway = True
        self.streams.append(stream)
        try:
            yield stream
        finally:
            self.streams.remove(stream)

    async def release(self, lsn: Lsn) -> None:
        await self._ask()
        if not self.streams:
            raise DatabaseUnavailable("no stream is live")
        self.released = max(self.released, lsn)
        self._kept = [chunk for chunk in self._kept if _commit_lsn(chunk) >= self.released]

    async def insert_position(self) -> Lsn:
        await self._ask()
        return self.written

    def commit(self, *changes: Change) -> tuple[Change, ...]:
        """Commit one transaction; return its changes with the positions they got."""
        before = self.written
        commit_lsn = Lsn(before + LSN_STEP // 2)
        self.written = Lsn(before + LSN_STEP)
        placed = tuple(
            evolve(change, position=Position(commit_lsn, index))
            for index, change in enumerate(changes)
        )
        for start in range(0, len(placed), MAX_CHUNK_CHANGES):
            part = placed[start : start + MAX_CHUNK_CHANGES]
            is_last = start + MAX_CHUNK_CHANGES >= len(placed)
            chunk = Chunk(part, self.written if is_last else before)
            if self.is_durable and self._is_underway:
                self._kept.append(chunk)
            for stream in self.streams:
                stream.add(chunk)
        return placed

    def break_off(self, advice: str = "the database went away") -> None:
        """End every stream there is."""
        for stream in self.streams:
            stream.fail(advice)

    async def _ask(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise DatabaseUnavailable(self.refusal)


def _commit_lsn(chunk: Chunk) -> Lsn:
    return chunk.changes[0].position.commit_lsn
