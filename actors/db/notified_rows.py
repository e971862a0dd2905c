"""From notices to changes: finds their tables, fetches what was too large to be told, and puts the rows together.

Called by `notify_stream`; `notified_tables` knows the tables.

**Invariants**
- A change has the values that the log would carry: of the old row those of the replica identity only.
- A broadcast is what is stored, never what was told: anybody may send a notification.
- Nothing of a table's owner is run with our rights: values are fetched as they are written out,
  and where row security or a domain would have to be asked, the row is told without them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import psycopg
import structlog
from attrs import define, field, frozen
from psycopg import sql

from actors.db.privileges import Privileges
from protocol.changes.literals import composite_fields
from protocol.changes.model import Absent, Change, Kind
from protocol.changes.stored import holds_broadcasts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from structlog.stdlib import BoundLogger

    from actors.db.notified_tables import NotifiedTable, NotifiedTables
    from actors.db.pool import Pool
    from actors.db.privileges import KeyColumn
    from protocol.changes.model import Position, Value
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
# `concat` writes a value by the output function of its type, whatever casts there are.
_FETCH = """
    SELECT asked.place::int, pg_catalog.concat(ROW({columns}))
    FROM ROWS FROM (unnest({arrays})) WITH ORDINALITY AS asked({names}, place)
    JOIN {table} AS found ON {condition}
"""

#: The texts of a row, one per column of its relation.
Row = tuple["Value", ...]


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
    _privileges: Privileges = field(init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    @_privileges.default
    def _on_the_pool(self) -> Privileges:
        return Privileges(self._pool)

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
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.unreadable += 1
        return changes

    def _is_wanted(self, one: Told, table: NotifiedTable) -> bool:
        is_heard = table.channel is None or one.channel == table.channel
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
            for place, row in (await self._fetch_rows(table, notices)).items():
                rows[indexes[place]] = row
        return rows

    async def _fetch_rows(
        self, table: NotifiedTable, notices: Sequence[RowNotice]
    ) -> Mapping[int, Row]:
        relation = table.table.relation
        access = (await self._privileges.find([(relation.oid, "")])).get((relation.oid, ""))
        keys = [_key(table, notice) for notice in notices]
        if access is None or not access.key or _has_domain(table):
            return {}
        if tuple(column.name for column in access.key) != table.table.primary_key:
            return {}
        query = _fetching(table, access.key)
        columns = [
            [key[place] if key else None for key in keys] for place in range(len(access.key))
        ]
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(query, columns)
                rows = await cursor.fetchall()
        except (psycopg.ProgrammingError, psycopg.DataError) as error:
            name = f"{relation.schema}.{relation.name}"
            self._log.warning("row.not_fetched", table=name, sqlstate=error.sqlstate)
            return {}
        found = (
            (place - 1, composite_fields(text, len(relation.columns))) for place, text in rows
        )
        return {place: tuple(texts) for place, texts in found if texts is not None}


def _key(table: NotifiedTable, notice: RowNotice) -> tuple[str, ...] | None:
    """Return the texts of the primary key of the new row, None if they were not told whole."""
    relation, new = table.table.relation, notice.new or {}
    readers = dict(
        zip((column.name for column in relation.columns), table.readers, strict=True)
    )
    try:
        texts = [readers[name](new[name]) for name in table.table.primary_key if name in new]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    known = tuple(text for text in texts if text is not None and "\0" not in text)
    return known if len(known) == len(table.table.primary_key) else None


def _has_domain(table: NotifiedTable) -> bool:
    """Whether to compare a key would ask the constraints of a domain, which run what its owner likes."""
    names = (column.name for column in table.table.relation.columns)
    types = dict(zip(names, table.table.types, strict=True))
    return any(types[name].base is not None for name in table.table.primary_key)


def _fetching(table: NotifiedTable, key: Sequence[KeyColumn]) -> sql.Composed:
    relation = table.table.relation
    names = [sql.Identifier(f"key {place}") for place in range(len(key))]
    return sql.SQL(_FETCH).format(
        columns=sql.SQL(", ").join(
            sql.Identifier("found", column.name) for column in relation.columns
        ),
        arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(key)),
        names=sql.SQL(", ").join(names),
        table=sql.Identifier(relation.schema, relation.name),
        condition=sql.SQL(" AND ").join(
            sql.SQL("{} OPERATOR({}.{}) asked.{}::{}").format(
                sql.Identifier("found", column.name),
                sql.Identifier(column.operator[0]),
                sql.SQL(column.operator[1]),
                name,
                sql.Identifier(*column.type),
            )
            for column, name in zip(key, names, strict=True)
        ),
    )


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
    """Return the texts of a row; a column that was not told is taken to be as it was."""
    columns = zip(table.table.relation.columns, table.readers, strict=True)
    return tuple(
        read(told[column.name]) if column.name in told else Absent.UNCHANGED
        for column, read in columns
    )
