"""Which change source a database gets: its log where that can be read, triggers where not.

Made by `actors.database`.

**Invariants**
- Positions of one kind of source mean nothing to the other: a change between them starts over.
- A database that is away decides nothing; it is what it was.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING

import psycopg
import structlog
import trio
from attrs import define, field

from actors.db.advice import NoLogicalReplication, unavailable, wal_level_too_low
from actors.db.driver import connect
from actors.db.notify import NotifySource
from actors.db.publications import PUBLICATION
from actors.db.replication import REPORT_EVERY_S, ReplicationSource
from actors.db.slots import SlotMode, SlotOptions
from actors.db.with_triggers import SourceWithTriggers
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from structlog.stdlib import BoundLogger

    from actors.db.catalog import Catalog
    from actors.realtime.change_ports import ChangeSource, ChangeStream
    from protocol.changes.model import Lsn, Position

_OTHER_SOURCE = (
    "Row changes come in another way than before: changes made meanwhile may be missing."
)
_FALLBACK = (
    " Until then triggers tell of changes: what commits while this server is away is lost,"
    " and whoever may connect to the database hears of every row."
)


class SourceMode(Enum):
    """Where changes come from; the value is the word of the setting. Three of them say which slot as well."""

    AUTO = "auto"
    REPLICATION = "replication"
    DURABLE = "durable"
    TEMPORARY = "temporary"
    NOTIFY = "notify"

    @property
    def slots(self) -> SlotMode:
        """Which slot keeps our place, where the log is read."""
        return SlotMode(self.value) if self in _SLOTS else SlotMode.AUTO


_SLOTS = frozenset({SourceMode.DURABLE, SourceMode.TEMPORARY})


def change_source(  # noqa: PLR0913  # all that a source may need, by name
    mode: SourceMode,
    conninfo: str,
    catalog: Catalog,
    now: Callable[[], float],
    publication: str = PUBLICATION,
    *,
    slot_suffix: str = "",
    report_within_s: float = REPORT_EVERY_S,
) -> ChangeSource:
    """Return the source of a mode; nothing is connected yet. For `report_within_s` see `ReplicationSource`."""
    told = NotifySource(conninfo, catalog, now, publication)
    if mode is SourceMode.NOTIFY:
        return told
    slots = SlotOptions(mode.slots, slot_suffix)
    log = SourceWithTriggers(
        ReplicationSource(
            conninfo, catalog, now, publication, slots, report_within_s=report_within_s
        )
    )
    return FittingSource(conninfo, log, told) if mode is SourceMode.AUTO else log


@define(eq=False)
class FittingSource:
    """Implements the port `ChangeSource`: looks at each connect what the database allows."""

    _conninfo: str = field(repr=False)
    _log_source: SourceWithTriggers
    _told_source: NotifySource
    _chosen: SourceWithTriggers | NotifySource | None = field(default=None, init=False)
    _was_live: bool = field(default=False, init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    @property
    def retention_bytes(self) -> int | None:
        return None if self._chosen is None else self._chosen.retention_bytes

    @asynccontextmanager
    async def connect(self, after: Position | None) -> AsyncIterator[ChangeStream]:
        """Return a context that is a live stream; see the port for the contract."""
        before = self._chosen
        chosen = await self._choose()
        if before is not None and chosen is not before and self._was_live:
            chosen.start_over(_OTHER_SOURCE)
            after = None
        async with chosen.connect(after) as stream:
            self._was_live = True
            yield stream

    async def release(self, lsn: Lsn) -> None:
        if self._chosen is None:
            await trio.lowlevel.checkpoint()
            raise DatabaseUnavailable("The stream is interrupted: waiting for it to come back.")
        await self._chosen.release(lsn)

    async def insert_position(self) -> Lsn:
        chosen = self._chosen or await self._choose()
        return await chosen.insert_position()

    async def _choose(self) -> SourceWithTriggers | NotifySource:
        reason = await why_no_log(self._conninfo)
        chosen = self._log_source if reason is None else self._told_source
        if chosen is not self._chosen and reason is not None:
            self._log.warning("source.chosen", mode="notify", advice=reason + _FALLBACK)
        elif chosen is not self._chosen:
            self._log.info("source.chosen", mode="replication")
        self._chosen = chosen
        return chosen


async def why_no_log(conninfo: str) -> str | None:
    """Return what would have to change for the log to be read, None if it can be.

    Raises:
        DatabaseUnavailable: the database cannot be reached, or does not let us in at all.
    """
    try:
        async with await connect(conninfo, replication="database") as connection:
            cursor = await connection.execute("SELECT current_setting('wal_level')")
            if await cursor.fetchone() == ("logical",):
                return None
    except psycopg.Error as error:
        away = unavailable(error)
        if isinstance(away, NoLogicalReplication):
            return away.advice
        raise away from None
    return wal_level_too_low().advice
