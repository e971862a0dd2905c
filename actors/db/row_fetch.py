"""Fetches rows that were too large to be told, as they are now, by their primary keys.

Called by `notified_rows`, on sessions with its settings.

**Invariants**
- Nothing of a table's owner is run with our rights. To plan a query evaluates expressions of its indexes, so it is
  the owner who fetches, in a transaction that only reads; values are fetched as they are written out,
  and where row security or a key's type would have to be asked, the row is told without them.
- What one table lets wait, or one key makes fail, no other row pays for: anybody may send a notification.

**Source**: PostgreSQL 18, `RelationGetIndexPredicate` (evaluated when a query is planned), read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import psycopg
import structlog
import trio
from attrs import define, field
from psycopg import sql

from actors.db.privileges import Privileges
from protocol.changes.literals import composite_fields
from protocol.changes.stored import holds_broadcasts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from structlog.stdlib import BoundLogger

    from actors.db.driver import TrioConnection
    from actors.db.notified_tables import NotifiedTable
    from actors.db.pool import Pool
    from actors.db.privileges import KeyColumn
    from protocol.changes.model import Value
    from protocol.changes.notify import RowNotice

#: How long rows of one table may take, in seconds; whoever locks it may not hold up the others.
WITHIN_S: Final = 2.0
#: How long nothing is fetched of a table after that, in seconds.
QUARANTINE_S: Final = 30.0

# `concat` writes a value by the output function of its type, whatever casts there are.
_FETCH = """
    SELECT asked.place::int, pg_catalog.concat(ROW({columns}))
    FROM ROWS FROM (unnest({arrays})) WITH ORDINALITY AS asked({names}, place)
    JOIN {table} AS found ON {condition}
"""
# Whom we may become; a superuser may become anybody.
_OWNER = """
    SELECT pg_catalog.pg_get_userbyid(class.relowner)::text FROM pg_catalog.pg_class AS class
    WHERE class.oid = %s AND pg_has_role(class.relowner, 'MEMBER')
"""

#: The texts of a row, one per column of its relation.
Row = tuple["Value", ...]
#: The texts of a primary key.
Key = tuple[str, ...]


@define(eq=False)
class RowFetch:
    """Remembers which tables let us wait."""

    _pool: Pool
    _privileges: Privileges = field(init=False)
    #: Until when nothing is fetched of a table, by its OID.
    _quarantine: dict[int, float] = field(factory=dict[int, float], init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    @_privileges.default
    def _on_the_pool(self) -> Privileges:
        return Privileges(self._pool)

    async def rows(
        self, table: NotifiedTable, notices: Sequence[RowNotice]
    ) -> Mapping[int, Row]:
        """Return the new rows that could be fetched, by the places of their notices.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        relation = table.table.relation
        access = (await self._privileges.find([(relation.oid, "")])).get((relation.oid, ""))
        if access is None or not access.key or not _is_plain(table):
            return {}
        if tuple(column.name for column in access.key) != table.table.primary_key:
            return {}
        if self._quarantine.get(relation.oid, 0.0) > trio.current_time():
            return {}
        keys = {
            place: key
            for place, notice in enumerate(notices)
            if (key := _key(table, notice)) is not None
        }
        async with self._pool.connection() as connection:
            try:
                return await _Question(connection, table, access.key).answer(keys)
            except psycopg.errors.QueryCanceled as error:
                self._quarantine[relation.oid] = trio.current_time() + QUARANTINE_S
                sqlstate = error.sqlstate
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except psycopg.Error as error:
                sqlstate = error.sqlstate
        name = f"{relation.schema}.{relation.name}"
        self._log.warning("row.not_fetched", table=name, sqlstate=sqlstate)
        return {}


@define(eq=False)
class _Question:
    """Asks for rows of one table; `_columns` are those of its primary key."""

    _connection: TrioConnection
    _table: NotifiedTable
    _columns: Sequence[KeyColumn]
    _until: float = field(factory=lambda: trio.current_time() + WITHIN_S, init=False)

    async def answer(self, keys: Mapping[int, Key]) -> Mapping[int, Row]:
        """Return the rows by the numbers of their keys; if Postgres cannot read one of these, the rows of the others.

        Raises:
            psycopg.Error: Postgres refused for another reason than a value, or took too long.
        """
        if not keys or trio.current_time() > self._until:
            return {}
        try:
            return await self._ask(keys)
        except psycopg.DataError:
            if len(keys) == 1:
                return {}
        numbers = sorted(keys)
        rows: dict[int, Row] = {}
        for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
            rows |= await self.answer({number: keys[number] for number in half})
        return rows

    async def _ask(self, keys: Mapping[int, Key]) -> Mapping[int, Row]:
        relation, numbers = self._table.table.relation, sorted(keys)
        arrays = [
            [keys[number][place] for number in numbers] for place in range(len(self._columns))
        ]
        async with self._connection.transaction(force_rollback=True):
            await self._connection.execute("SET TRANSACTION READ ONLY")
            # The table of broadcasts is waited for: it is ours, and none of them may be missing.
            if not holds_broadcasts(relation):
                limit_ms = int(WITHIN_S * 1000)
                await self._connection.execute(f"SET LOCAL statement_timeout = {limit_ms}")
            await self._become_owner(relation.oid)
            query = _fetching(self._table, self._columns)
            rows = await (await self._connection.execute(query, arrays)).fetchall()
        found = (
            (numbers[place - 1], composite_fields(text, len(relation.columns)))
            for place, text in rows
        )
        return {number: tuple(texts) for number, texts in found if texts is not None}

    async def _become_owner(self, oid: int) -> None:
        owner = await (await self._connection.execute(_OWNER, (oid,))).fetchone()
        if owner is not None:
            role = sql.Identifier(*owner)
            await self._connection.execute(sql.SQL("SET LOCAL ROLE {}").format(role))


def _key(table: NotifiedTable, notice: RowNotice) -> Key | None:
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


def _is_plain(table: NotifiedTable) -> bool:
    """Whether to read a key runs nothing but what Postgres or an extension brings.

    A domain has constraints, which run what its owner likes, and types may be made of domains.
    """
    names = (column.name for column in table.table.relation.columns)
    types = dict(zip(names, table.table.types, strict=True))
    return all(
        types[name].kind in {"b", "e"} and types[name].element is None
        for name in table.table.primary_key
    )


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
