"""From notices to changes: finds their tables, has fetched what was too large to be told, and puts the rows together.

Called by `notify_stream`; `notified_tables` knows the tables, `row_fetch` fetches.

**Invariants**
- A change has the values that the log would carry: of the old row those of the replica identity only.
- A broadcast is what is stored, never what was told: anybody may send a notification.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
from attrs import define, field, frozen

from actors.db.row_fetch import RowFetch
from protocol.changes.model import Absent, Change, Kind
from protocol.changes.stored import holds_broadcasts
from protocol.errors import MalformedChange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actors.db.notified_tables import NotifiedTable, NotifiedTables
    from actors.db.pool import Pool
    from actors.db.row_fetch import Row
    from protocol.changes.model import Position
    from protocol.changes.notify import RowNotice

#: What the values depend on (`server_facts` has them for the log); row security is an error instead of a question.
SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "row_security": "off",
    "search_path": "pg_catalog",
}


@frozen
class Told:
    """A notice, on which channel it came, and where it stands; `at_us` is when it came, in microseconds since 1970."""

    notice: RowNotice
    channel: str
    position: Position
    at_us: int


@define(eq=False)
class NotifiedRows:
    """Makes changes; `pool` has sessions with `SETTINGS`.

    `wants` says which live tables are followed.
    """

    _tables: NotifiedTables
    _pool: Pool
    _wants: Callable[[NotifiedTable], bool]
    #: How many notices could not be read.
    unreadable: int = field(default=0, init=False)
    _fetched: RowFetch = field(init=False)

    @_fetched.default
    def _on_the_pool(self) -> RowFetch:
        return RowFetch(self._pool)

    async def changes(self, told: Sequence[Told]) -> list[Change]:
        """Return the changes of live tables, in their order.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        tables = await self._tables.find(
            {(one.notice.schema, one.notice.table) for one in told}
        )
        live: list[tuple[Told, NotifiedTable]] = []
        for one in told:
            table = tables.get((one.notice.schema, one.notice.table))
            if table is not None and self._is_wanted(one, table):
                live.append((one, table))
        fetched = await self._fetch(live)
        changes = []
        for index, (one, table) in enumerate(live):
            if holds_broadcasts(table.table.relation) and index not in fetched:
                continue
            try:
                changes.append(_change(one, table, fetched.get(index)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MalformedChange):
                self.unreadable += 1
        return changes

    def _is_wanted(self, one: Told, table: NotifiedTable) -> bool:
        is_heard = table.channel is None or one.channel == table.channel
        told_by = one.notice.trigger
        if told_by is not None and told_by != table.triggers.get(one.notice.kind, told_by):
            return False
        return is_heard and one.notice.kind in table.kinds and self._wants(table)

    async def _fetch(self, live: Sequence[tuple[Told, NotifiedTable]]) -> Mapping[int, Row]:
        """Return the new rows that were not told, as they are now, by their places in `live`."""
        missing: dict[NotifiedTable, list[int]] = defaultdict(list)
        for index, (one, table) in enumerate(live):
            is_stored = holds_broadcasts(table.table.relation)
            if one.notice.new is not None and (one.notice.is_partial or is_stored):
                missing[table].append(index)
        rows: dict[int, Row] = {}
        for table, indexes in missing.items():
            notices = [live[index][0].notice for index in indexes]
            for place, row in (await self._fetched.rows(table, notices)).items():
                rows[indexes[place]] = row
        return rows


def _change(one: Told, table: NotifiedTable, fetched: Row | None) -> Change:
    notice, relation = one.notice, table.table.relation
    new = None
    if notice.new is not None:
        new = _row(table, notice.new) if fetched is None else fetched
    old = None
    if notice.kind is not Kind.INSERT:
        # A trigger that tells no old row of an update changed no key, as far as we know.
        before = new if notice.old is None else _row(table, notice.old)
        old = tuple(
            value if column.is_identity and value is not Absent.UNCHANGED else Absent.NOT_LOGGED
            for column, value in zip(relation.columns, before or (), strict=True)
        )
    at_us = one.at_us if notice.at_s is None else int(notice.at_s * 1_000_000)
    return Change(notice.kind, table.table, one.position, at_us, new, old, notice.transaction)


def _row(table: NotifiedTable, told: Mapping[str, msgspec.Raw]) -> Row:
    """Return the texts of a row; a column that was not told is taken to be as it was.

    Raises:
        MalformedChange: nothing was told of what tells the row from others.
    """
    relation = table.table.relation
    identity = [column.name for column in relation.columns if column.is_identity]
    if identity and told.keys().isdisjoint(identity):
        raise MalformedChange("a notification of no row in particular")
    columns = zip(relation.columns, table.readers, strict=True)
    return tuple(
        read(told[column.name]) if column.name in told else Absent.UNCHANGED
        for column, read in columns
    )
