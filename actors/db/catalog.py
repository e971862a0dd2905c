"""What the write-ahead log does not say of a table: its types, its primary key, its row security.

Called by the replication stream at each relation message, before any row of that relation is read.
Postgres sends one when a relation is first used and whenever something about it may have changed,
so a message that comes again is looked up again: remembered row security could be out of date.

The log speaks of the time of the row and the catalog of now; `columns` brings them together.
A type's OID means the same at both times, as long as the type is there.

**Invariants**
- What cannot be brought together is withheld: a column without its number, a primary key that is not whole.

**Source**: PostgreSQL 18 documentation, 52.11 `pg_class`, 52.26 `pg_index` and 52.64 `pg_type`, read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from actors.db.columns import column_numbers
from protocol.changes.model import Table, TypeFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.db.driver import TrioConnection
    from actors.db.pool import Pool
    from protocol.changes.model import Relation

_TABLE = """
    SELECT class.relrowsecurity,
        ARRAY(
            SELECT key.number::int
            FROM pg_catalog.pg_index AS index
            CROSS JOIN unnest(index.indkey) WITH ORDINALITY AS key(number, place)
            WHERE index.indrelid = class.oid AND index.indisprimary
            AND key.place <= index.indnkeyatts
            ORDER BY key.place),
        ARRAY(
            SELECT CASE WHEN NOT attribute.attisdropped THEN attribute.attname::text END
            FROM pg_catalog.pg_attribute AS attribute
            WHERE attribute.attrelid = class.oid AND attribute.attnum > 0
            ORDER BY attribute.attnum)
    FROM pg_catalog.pg_class AS class WHERE class.oid = %s
"""

# An array is what is written as one: `point`, `name` and `int2vector` have elements, too.
_TYPES = """
    WITH RECURSIVE used(oid) AS (
        SELECT unnest(%s::oid[])
        UNION
        SELECT part.oid
        FROM used JOIN pg_catalog.pg_type AS type USING (oid)
        CROSS JOIN LATERAL (
            SELECT type.typelem WHERE type.typoutput = 'pg_catalog.array_out'::regproc
            UNION ALL SELECT type.typbasetype
            UNION ALL SELECT attribute.atttypid FROM pg_catalog.pg_attribute AS attribute
                WHERE type.typtype = 'c' AND attribute.attrelid = type.typrelid
                AND attribute.attnum > 0 AND NOT attribute.attisdropped
        ) AS part(oid)
        WHERE part.oid <> 0
    )
    SELECT type.oid::bigint, type.typname::text, type.typtype::text,
        CASE type.typoutput WHEN 'pg_catalog.array_out'::regproc THEN type.typelem::bigint ELSE 0 END,
        type.typbasetype::bigint, type.typdelim::text,
        coalesce(member.names, '{}'), coalesce(member.types, '{}')
    FROM used JOIN pg_catalog.pg_type AS type USING (oid)
    CROSS JOIN LATERAL (
        SELECT array_agg(attribute.attname::text ORDER BY attribute.attnum) AS names,
            array_agg(attribute.atttypid::bigint ORDER BY attribute.attnum) AS types
        FROM pg_catalog.pg_attribute AS attribute
        WHERE type.typtype = 'c' AND attribute.attrelid = type.typrelid
        AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS member
"""


@frozen
class _TypeRow:
    """One row of `_TYPES`; 0 means that there is no element or base."""

    oid: int
    name: str
    kind: str
    element_oid: int
    base_oid: int
    delimiter: str
    field_names: list[str]
    field_oids: list[int]


@frozen
class Catalog:
    """Looks things up on a connection of the pool."""

    pool: Pool

    async def describe(self, relation: Relation) -> Table:
        """Return `relation` with its facts as they are now.

        A table that is gone meanwhile counts as under row security and its columns have no numbers,
        so that nobody sees what is left of it.

        Raises:
            DatabaseUnavailable: the database could not be asked.
        """
        async with self.pool.connection() as connection:
            cursor = await connection.execute(_TABLE, (relation.oid,))
            row_security, key_numbers, names_now = await cursor.fetchone() or (True, [], [])
            types = await _types(connection, [column.type_oid for column in relation.columns])
        names = [column.name for column in relation.columns]
        numbers = column_numbers(names, names_now)
        primary_key = _names(key_numbers, dict(zip(numbers, names, strict=True)))
        return Table(relation, types, primary_key, row_security, numbers)


def _names(key_numbers: list[int], names: Mapping[int | None, str]) -> tuple[str, ...]:
    """Return the names of all these columns, or none: a part of a key would find other rows."""
    if not names.keys() >= set(key_numbers):
        return ()
    return tuple(names[number] for number in key_numbers)


async def _types(connection: TrioConnection, oids: list[int]) -> tuple[TypeFacts, ...]:
    """Return the facts of each type, with all it is made of."""
    cursor = await connection.execute(_TYPES, (oids,))
    rows = {row[0]: _TypeRow(*row) for row in await cursor.fetchall()}
    return tuple(_facts(oid, rows) for oid in oids)


def _facts(oid: int, rows: Mapping[int, _TypeRow]) -> TypeFacts:
    """Put the facts of one type together; Postgres forbids types that contain themselves."""
    row = rows.get(oid)
    if row is None:
        # Dropped meanwhile; its values are rendered as strings.
        return TypeFacts(oid, "unknown")
    return TypeFacts(
        oid,
        row.name,
        row.kind,
        element=_facts(row.element_oid, rows) if row.element_oid else None,
        base=_facts(row.base_oid, rows) if row.base_oid else None,
        fields=tuple(
            (name, _facts(field_oid, rows))
            for name, field_oid in zip(row.field_names, row.field_oids, strict=True)
        ),
        delimiter=row.delimiter,
    )
