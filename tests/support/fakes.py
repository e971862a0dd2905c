"""Stand-ins with behaviour; each passes the contract test of the port it implements."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define, evolve, field

from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Chunk
from protocol.changes.model import Lsn, Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from protocol.changes.model import Change

MAX_CHUNK_CHANGES = 500
LSN_STEP = 100


@define(eq=False)
class FakeChangeStream:
    """What one `connect` sees; `acknowledged` is what it was told."""

    acknowledged: Lsn = field(default=Lsn(0), init=False)
    _chunks: deque[Chunk] = field(factory=deque, init=False)
    _failure: str | None = field(default=None, init=False)
    _stirred: trio.Event = field(factory=trio.Event, init=False)

    async def receive(self) -> Chunk:
        await trio.lowlevel.checkpoint()
        while not self._chunks and self._failure is None:
            await self._stirred.wait()
        if self._failure is not None:
            raise DatabaseUnavailable(self._failure)
        return self._chunks.popleft()

    def acknowledge(self, lsn: Lsn) -> None:
        self.acknowledged = max(self.acknowledged, lsn)

    def add(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._stir()

    def fail(self, advice: str) -> None:
        self._failure = advice
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()


@define(eq=False)
class FakeChangeSource:
    """A change source whose transactions the test commits.

    While `refusal` is set, connecting fails with it.
    """

    refusal: str | None = None
    streams: list[FakeChangeStream] = field(factory=list, init=False)
    _lsn: int = field(default=LSN_STEP, init=False)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FakeChangeStream]:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise DatabaseUnavailable(self.refusal)
        stream = FakeChangeStream()
        self.streams.append(stream)
        try:
            yield stream
        finally:
            self.streams.remove(stream)

    def commit(self, *changes: Change) -> tuple[Change, ...]:
        """Commit one transaction; return its changes with the positions they got."""
        commit_lsn, end_lsn = Lsn(self._lsn), Lsn(self._lsn + LSN_STEP // 2)
        before = Lsn(self._lsn - LSN_STEP // 2)
        self._lsn += LSN_STEP
        placed = tuple(
            evolve(change, position=Position(commit_lsn, index))
            for index, change in enumerate(changes)
        )
        for start in range(0, len(placed), MAX_CHUNK_CHANGES):
            part = placed[start : start + MAX_CHUNK_CHANGES]
            is_last = start + MAX_CHUNK_CHANGES >= len(placed)
            for stream in self.streams:
                stream.add(Chunk(part, end_lsn if is_last else before))
        return placed

    def break_off(self, advice: str = "the database went away") -> None:
        """End every stream there is."""
        for stream in self.streams:
            stream.fail(advice)
