"""Tables that are switched on and off in memory."""

from __future__ import annotations

import trio
from attrs import define, field

from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.trigger_ports import MayNotEnable, NoSuchTable


@define(eq=False)
class MemoryTableTriggers:
    """Implements `TableTriggers` for the tables that there are; `enabled` are those that may be followed.

    `advice` set means that the database is away.
    """

    tables: set[tuple[str, str]] = field(factory=set)
    #: Tables of somebody else.
    foreign: set[tuple[str, str]] = field(factory=set)
    enabled: set[tuple[str, str]] = field(factory=set)
    advice: str | None = None

    async def enable(self, schema: str, table: str) -> None:
        await self._look_at(schema, table)
        self.enabled.add((schema, table))

    async def disable(self, schema: str, table: str) -> None:
        await self._look_at(schema, table)
        self.enabled.discard((schema, table))

    async def _look_at(self, schema: str, table: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.advice is not None:
            raise DatabaseUnavailable(self.advice)
        if (schema, table) in self.foreign:
            raise MayNotEnable("", f"must be owner of table {table}")
        if (schema, table) not in self.tables:
            raise NoSuchTable(schema, table)
