"""What can be subscribed to: which published tables match, and what a role may select of them.

Implements the port `Subscriptions`; called by the rows actors for whoever joined, and now and then by the listener.
A thousand clients that come back together are a handful of statements: who asks while one runs shares the next.

**Invariants**
- Names are bound, never part of a statement; a text that Postgres could not take matches nothing.
- A statement has `MAX_SCOPES` scopes at most.

**Source**: spec 6.1 and 6.2; `LIKE` has no escape character there. PostgreSQL 18 documentation, 53.17
`pg_publication_tables`, 52.7 `pg_attribute`, 52.26 `pg_index`, read 2026-11-21.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import define, field

from actors.db.coalescer import Coalescer
from actors.db.functions import CHANNELS
from actors.db.isolation import Fault, is_sendable, raised
from actors.realtime.change_ports import Extent, PublishedTable, TableAccess
from protocol.changes.patterns import ANY
from protocol.changes.stored import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.db.pool import Pool
    from actors.realtime.change_ports import Scope

MAX_SCOPES = 500
#: A pattern that is longer than any name and cannot shrink to one matches nothing, and need not be sent.
MAX_PATTERN_CHARACTERS = 1000
#: More tables than that are not listed: nobody can subscribe to them one by one.
MAX_LISTED = 1000
#: The catalog may be locked, and a statement may have many scopes.
TIMEOUT_S = 5.0

# The tables that carry a trigger which tells of their changes are live as well, whoever made it.
_TOLD = f"""
    FROM pg_catalog.pg_trigger AS trigger
    JOIN pg_catalog.pg_proc AS function ON function.oid = trigger.tgfoid
    JOIN pg_catalog.pg_class AS class ON class.oid = trigger.tgrelid
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE function.proname IN ({", ".join(f"'{name}'" for name in CHANNELS)})
    AND NOT trigger.tgisinternal AND trigger.tgenabled <> 'D' AND trigger.tgparentid = 0
    AND NOT (namespace.nspname = '{SCHEMA}' AND class.relname = 'messages')
"""  # names of our own

_RESOLVE = f"""
    WITH published AS MATERIALIZED (
        SELECT class.oid, listed.schemaname::text AS schema, listed.tablename::text AS name
        FROM pg_catalog.pg_publication_tables AS listed
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = listed.schemaname
        JOIN pg_catalog.pg_class AS class
            ON class.relnamespace = namespace.oid AND class.relname = listed.tablename
        WHERE listed.pubname = %s
        UNION
        SELECT class.oid, namespace.nspname::text, class.relname::text {_TOLD}
    ), asked AS (
        SELECT asked.*, role.oid AS role_oid
        FROM ROWS FROM (
            unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[], %s::bool[])
        ) WITH ORDINALITY AS asked(role, schema, name, selected, is_listed, place)
        LEFT JOIN pg_catalog.pg_roles AS role ON role.rolname = asked.role
    )
    SELECT matched.tables,
        CASE WHEN asked.is_listed THEN ARRAY(
            SELECT NOT EXISTS (
                SELECT FROM pg_catalog.pg_index AS index
                CROSS JOIN unnest((index.indkey::int2[])[0:index.indnkeyatts - 1]) AS key(number)
                WHERE index.indrelid = one.oid AND index.indisprimary
                AND NOT coalesce(
                    has_column_privilege(asked.role_oid, one.oid, key.number, 'SELECT'), false))
            FROM unnest(matched.tables::oid[]) WITH ORDINALITY AS one(oid, place) ORDER BY one.place
        ) END,
        asked.role_oid IS NOT NULL,
        (
            SELECT selected.name
            FROM unnest(matched.tables::oid[]) AS one(oid)
            CROSS JOIN jsonb_array_elements_text(asked.selected) AS selected(name)
            LEFT JOIN pg_catalog.pg_attribute AS attribute
                ON attribute.attrelid = one.oid AND attribute.attname = selected.name
                AND attribute.attnum > 0 AND NOT attribute.attisdropped
            WHERE NOT coalesce(
                has_column_privilege(asked.role_oid, one.oid, attribute.attnum, 'SELECT'), false)
            ORDER BY selected.name LIMIT 1
        )
    FROM asked
    CROSS JOIN LATERAL (
        SELECT array_agg(found.oid::bigint ORDER BY found.oid) AS tables FROM (
            SELECT published.oid FROM published
            WHERE (asked.schema IS NULL OR published.schema LIKE asked.schema ESCAPE '')
            AND (asked.name IS NULL OR published.name LIKE asked.name ESCAPE '')
            ORDER BY published.oid
            LIMIT CASE WHEN asked.is_listed OR asked.selected IS NOT NULL THEN {MAX_LISTED} ELSE 1 END
        ) AS found
    ) AS matched
    ORDER BY asked.place
"""  # noqa: S608  # a number of our own

_ACCESS = """
    SELECT coalesce(has_any_column_privilege(role.oid, class.oid, 'SELECT'), false)
    FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_catalog.pg_roles AS role ON role.rolname = %s
    WHERE namespace.nspname = %s AND class.relname = %s AND class.relkind IN ('r', 'p')
"""

_PUBLISHED = f"""
    SELECT md5(coalesce(string_agg(
        quote_ident(schemaname) || '.' || quote_ident(tablename), ',' ORDER BY schemaname, tablename), ''))
    FROM (
        SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = %s
        UNION
        SELECT namespace.nspname, class.relname {_TOLD}
    ) AS live
"""  # noqa: S608  # names of our own


@define(eq=False)
class PostgresSubscriptions:
    """See the port for the contract."""

    _pool: Pool
    _publication: str
    _timeout_s: float = TIMEOUT_S
    _questions: Coalescer[frozenset[Scope], Mapping[Scope, Extent]] = field(init=False)

    @_questions.default
    def _make_questions(self) -> Coalescer[frozenset[Scope], Mapping[Scope, Extent]]:
        return Coalescer(self._ask)

    async def resolve(self, scopes: Sequence[Scope]) -> Sequence[Extent]:
        known = {scope: Extent(False) for scope in scopes if not _can_match(scope)}
        missing = frozenset(scopes) - known.keys()
        if missing:
            known |= await self._questions.answer(missing)
        return [known[scope] for scope in scopes]

    async def access(self, role: str, schema: str, table: str) -> TableAccess:
        if not all(map(is_sendable, (role, schema, table))):
            return TableAccess.MISSING
        async with self._pool.transaction(self._timeout_s) as connection:
            cursor = await connection.execute(_ACCESS, (role, schema, table))
            row = await cursor.fetchone()
        if row is None:
            return TableAccess.MISSING
        return TableAccess.GRANTED if row[0] else TableAccess.DENIED

    async def published(self) -> str:
        async with self._pool.transaction(self._timeout_s) as connection:
            cursor = await connection.execute(_PUBLISHED, (self._publication,))
            row = await cursor.fetchone()
        return str(row[0]) if row else ""

    async def _ask(self, requests: Sequence[frozenset[Scope]]) -> Mapping[Scope, Extent]:
        scopes = list({scope for request in requests for scope in request})
        extents: dict[Scope, Extent] = {}
        async with self._pool.transaction(self._timeout_s) as connection:
            for start in range(0, len(scopes), MAX_SCOPES):
                part = scopes[start : start + MAX_SCOPES]
                cursor = await connection.execute(_RESOLVE, self._parameters(part))
                rows = await cursor.fetchall()
                extents |= {
                    scope: _extent(scope, *row) for scope, row in zip(part, rows, strict=True)
                }
        return extents

    def _parameters(self, scopes: Sequence[Scope]) -> tuple[object, ...]:
        return (
            self._publication,
            [scope.role if is_sendable(scope.role) else "" for scope in scopes],
            [_pattern(scope.schema) for scope in scopes],
            [_pattern(scope.table) for scope in scopes],
            [_selected(scope) for scope in scopes],
            [scope.is_listed for scope in scopes],
        )


def _can_match(scope: Scope) -> bool:
    """Whether Postgres could have a name like these."""
    return all(
        len(pattern) <= MAX_PATTERN_CHARACTERS and is_sendable(pattern)
        for pattern in (scope.schema, scope.table)
    )


def _pattern(text: str) -> str | None:
    """Return what goes behind LIKE, None for any name."""
    return None if text == ANY else text


def _selected(scope: Scope) -> str | None:
    if scope.select is None:
        return None
    return json.dumps([column for column in scope.select if is_sendable(column)])


def _extent(
    scope: Scope,
    tables: list[int] | None,
    reads_keys: list[bool] | None,
    has_role: bool,  # a column of the statement
    not_selectable: str | None,
) -> Extent:
    if tables is None:
        return Extent(False)
    if not has_role:
        role = f'role "{scope.role}" does not exist'
        return Extent(True, fault=Fault("42704", role).text)
    unsendable = (column for column in scope.select or () if not is_sendable(column))
    column = next(unsendable, not_selectable)
    fault = None if column is None else raised(f"invalid column for select {column}").text
    listed = zip(tables, reads_keys, strict=True) if reads_keys is not None else ()
    return Extent(True, tuple(PublishedTable(*table) for table in listed), fault)
