"""What the catalog knows of the columns that filters name: may the role read them, and how are their values compared?

Called by `filters`.

**Invariants**
- A column that is missing and one that the role may not read are the same.
- Names of types, schemas and collations are SQL that Postgres quoted; a percent sign in them is doubled.

**Source**: PostgreSQL 18 documentation, 52.7 `pg_attribute`, 52.12 `pg_collation`, 52.64 `pg_type`; 24.2 (collations),
read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from actors.db.isolation import is_sendable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.db.isolation import ReadOnlySession

_COLUMNS = """
    SELECT asked.place, readable.number, readable.index, readable.type::bigint, readable.collation_oid::bigint
    FROM unnest(%s::oid[], %s::text[], %s::text[]) WITH ORDINALITY AS asked(relation, role, name, place)
    JOIN pg_catalog.pg_roles AS role ON role.rolname = asked.role
    LEFT JOIN LATERAL (
        SELECT attribute.attnum::int AS number, attribute.atttypid AS type,
            attribute.attcollation AS collation_oid,
            (SELECT count(*)::int FROM pg_catalog.pg_attribute AS before
                WHERE before.attrelid = attribute.attrelid AND NOT before.attisdropped
                AND before.attnum > 0 AND before.attnum < attribute.attnum) AS index
        FROM pg_catalog.pg_attribute AS attribute
        WHERE attribute.attrelid = asked.relation AND attribute.attname = asked.name
        AND attribute.attnum > 0 AND NOT attribute.attisdropped
        AND pg_catalog.has_column_privilege(role.oid, attribute.attrelid, attribute.attnum, 'SELECT')
    ) AS readable ON true
"""

# The columns of the catalogs that only newer versions have are read through JSON.
# A text becomes a value by the input function of the type, unless there is a cast for texts;
# from bpchar there is none (`regclass` has one for texts, and it knows less).
_TYPES = """
    WITH RECURSIVE asked AS (
        SELECT type, collation_oid, place
        FROM unnest(%s::oid[], %s::oid[]) WITH ORDINALITY AS asked(type, collation_oid, place)
    ), base(type, oid) AS (
        SELECT type, type FROM asked
        UNION
        SELECT base.type, type.typbasetype
        FROM base JOIN pg_catalog.pg_type AS type USING (oid) WHERE type.typtype = 'd'
    ), own AS (
        SELECT encoding = pg_catalog.pg_char_to_encoding('UTF8') AS is_utf8,
            CASE coalesce(pg_catalog.to_jsonb(database) ->> 'datlocprovider', 'c')
                WHEN 'c' THEN datcollate IN ('C', 'POSIX')
                WHEN 'b' THEN true ELSE false END AS is_plain
        FROM pg_catalog.pg_database AS database WHERE datname = pg_catalog.current_database()
    )
    SELECT asked.place,
        (SELECT CASE typnamespace WHEN 'pg_catalog'::regnamespace
            THEN format_type(oid, NULL) ELSE typname::text END
            FROM pg_type WHERE oid = asked.type),
        type.oid::bigint, type.typtype::text, type.typtype = 'c' OR type.typcategory = 'A',
        EXISTS (
            WITH RECURSIVE part(oid) AS (
                SELECT type.oid
                UNION
                SELECT inner_type.oid FROM part JOIN pg_catalog.pg_type AS outer_type USING (oid)
                CROSS JOIN LATERAL (
                    SELECT outer_type.typelem
                    UNION ALL SELECT atttypid FROM pg_catalog.pg_attribute
                        WHERE attrelid = outer_type.typrelid AND attnum > 0 AND NOT attisdropped
                    UNION ALL SELECT rngsubtype FROM pg_catalog.pg_range
                        WHERE outer_type.oid IN (rngtypid, rngmultitypid)
                ) AS inner_type(oid) WHERE inner_type.oid <> 0
            ) SELECT FROM part JOIN pg_catalog.pg_type AS found_part USING (oid)
            WHERE found_part.typtype = 'd'),
        schema.name,
        CASE WHEN type.typcategory <> 'S' AND EXISTS (SELECT FROM pg_catalog.pg_cast
            WHERE castsource = 'text'::regtype AND casttarget = type.oid AND castmethod = 'f')
            THEN 'pg_catalog.bpchar::' ELSE '' END
            || schema.name || '.' || pg_catalog.quote_ident(type.typname),
        (SELECT schema.name || '.' || pg_catalog.quote_ident(list.typname)
            FROM pg_catalog.pg_type AS list WHERE list.oid = type.typarray),
        ARRAY(SELECT operator.oprname::text FROM pg_catalog.pg_operator AS operator
            JOIN pg_catalog.pg_depend AS part
                ON part.classid = 'pg_operator'::regclass AND part.objid = operator.oid
            JOIN pg_catalog.pg_depend AS whole
                ON whole.classid = 'pg_type'::regclass AND whole.objid = type.oid
                AND whole.refclassid = part.refclassid AND whole.refobjid = part.refobjid
            WHERE operator.oprnamespace = type.typnamespace AND type.typtype = 'b'
            AND operator.oprleft = type.oid AND operator.oprright = type.oid
            AND part.refclassid = 'pg_extension'::regclass AND part.deptype = 'e' AND whole.deptype = 'e'),
        CASE WHEN found.oid IS NOT NULL THEN
            (SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace
                WHERE oid = found.collnamespace)
            || '.' || pg_catalog.quote_ident(found.collname) END,
        own.is_utf8 AND coalesce(found.collisdeterministic, false),
        own.is_utf8 AND CASE found.collprovider
            WHEN 'd' THEN own.is_plain
            WHEN 'c' THEN found.collcollate IN ('C', 'POSIX')
            WHEN 'b' THEN true ELSE false END
    FROM asked CROSS JOIN own JOIN base USING (type)
    JOIN pg_catalog.pg_type AS type ON type.oid = base.oid AND type.typtype <> 'd'
    CROSS JOIN LATERAL (
        SELECT pg_catalog.quote_ident(nspname) AS name FROM pg_catalog.pg_namespace
        WHERE oid = type.typnamespace) AS schema
    LEFT JOIN pg_catalog.pg_collation AS found
        ON found.oid = coalesce(nullif(asked.collation_oid, 0), type.typcollation)
        AND type.typcollation <> 0
"""


@frozen
class ColumnKey:
    """A column as somebody names it on behalf of a role."""

    relation_oid: int
    role: str
    name: str


@frozen
class FoundColumn:
    """A column that the role may read; `index` is its place among the columns there are, from 0."""

    number: int
    index: int
    kind: TypeKey


@frozen
class TypeKey:
    """A type, and the collation of a column that has it; 0 for the type's own."""

    type_oid: int
    collation_oid: int = 0


def _in_a_statement(name: str | None) -> str:
    """A percent sign would be taken for the place of a parameter."""
    return (name or "").replace("%", "%%")


@frozen
class ValueType:
    """How values of a type are compared; that of a domain is what the domain goes back to.


    `label` is how messages call the type itself.
    `hides_domain` says that elements, fields or bounds are of a domain, whose checks are functions of somebody else.
    `own_operators` are those between two such values that came with the type, in its schema, from one extension:
    anybody else's would run his function with the rights of this server.
    `list_name` is empty if there is no array of it, `collation` if the type has none.
    For `has_exact_texts` and `has_code_point_order` see `protocol.changes.comparing`.
    """

    label: str
    base_oid: int
    base_kind: str
    has_members: bool
    hides_domain: bool
    schema: str = field(converter=_in_a_statement)
    name: str = field(converter=_in_a_statement)
    list_name: str = field(converter=_in_a_statement)
    own_operators: list[str]
    collation: str = field(converter=_in_a_statement)
    has_exact_texts: bool
    has_code_point_order: bool


async def find_columns(
    session: ReadOnlySession, keys: Iterable[ColumnKey]
) -> dict[ColumnKey, FoundColumn | None]:
    """Return the columns that there are, None for those that are not there or not for the role.

    A key without an answer has a role that does not exist.
    """
    asked = [key for key in keys if is_sendable(key.role) and is_sendable(key.name)]
    parameters = (
        [key.relation_oid for key in asked],
        [key.role for key in asked],
        [key.name for key in asked],
    )
    columns: dict[ColumnKey, FoundColumn | None] = {}
    for place, number, index, type_oid, collation_oid in await session.catalog_rows(
        _COLUMNS.encode(), parameters
    ):
        found = number is not None
        kind = TypeKey(type_oid, collation_oid) if found else None
        columns[asked[place - 1]] = FoundColumn(number, index, kind) if kind else None
    return columns


async def find_types(
    session: ReadOnlySession, keys: Iterable[TypeKey]
) -> dict[TypeKey, ValueType]:
    """Return what is known of the types; those that are gone are left out."""
    asked = list(keys)
    parameters = ([key.type_oid for key in asked], [key.collation_oid for key in asked])
    return {
        asked[place - 1]: ValueType(*facts)
        for place, *facts in await session.catalog_rows(_TYPES.encode(), parameters)
    }
