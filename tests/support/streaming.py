"""A live replication stream for tests, read as a client with every privilege would read it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from attrs import define, field

from actors.db.catalog import Catalog
from actors.db.pool import Pool
from actors.db.replication import ReplicationSource
from protocol.changes.render import ChangeRenderer
from tests.contracts.change_source import receive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors.db.replication_stream import ReplicationStream
    from protocol.changes.model import Change

#: Some moment of the past, in seconds since 1970.
NOW = 1_700_000_000.0


@asynccontextmanager
async def live_stream(conninfo: str) -> AsyncIterator[ReplicationStream]:
    pool = Pool(conninfo)
    try:
        source = ReplicationSource(conninfo, Catalog(pool), lambda: NOW)
        async with source.connect(None) as stream:
            yield stream
    finally:
        pool.close()


@define
class Reader:
    """Receives changes from a stream and renders them with all columns."""

    stream: ReplicationStream
    _ahead: list[Change] = field(factory=list, init=False)

    async def changes(self, count: int) -> list[Change]:
        missing = count - len(self._ahead)
        if missing > 0:
            self._ahead += await receive(self.stream, missing)
        changes, self._ahead = self._ahead[:count], self._ahead[count:]
        return changes

    async def data(self, count: int) -> list[dict]:
        """Return the `data` objects of the next changes."""
        renderer = ChangeRenderer()
        return [
            json.loads(renderer.render(change, all_columns(change)))
            for change in await self.changes(count)
        ]

    async def records(self, count: int) -> list[dict]:
        return [data["record"] for data in await self.data(count)]


@asynccontextmanager
async def reading(conninfo: str) -> AsyncIterator[Reader]:
    async with live_stream(conninfo) as stream:
        yield Reader(stream)


def all_columns(change: Change) -> frozenset[str]:
    return frozenset(column.name for column in change.table.relation.columns)
