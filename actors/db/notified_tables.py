"""The tables that notifications are about: whether they are live, and what their rows look like.

Called by `notified_rows` for each batch, as no notification says that a table has changed.
A table is live if it is published, or if it carries one of the triggers, whoever made it;
a partition stands for the table above it that is.

**Invariants**
- A table that is as it was before is the same `Table` object, on which others have hung what they know of it.
- What a publication leaves out is left out here: columns, kinds of changes, and with a row filter the table altogether.

**Source**: PostgreSQL 18 documentation, 53.17 `pg_publication_tables`, 52.42 `pg_publication`, 52.59 `pg_trigger`,
55.9 "Relation" for what the log would say of a table, read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import trio
from attrs import define, field, frozen

from actors.db.functions import CHANNELS
from protocol.changes.json_texts import text_reader
from protocol.changes.model import Column, Kind, Relation, ReplicaIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from structlog.stdlib import BoundLogger

    from actors.db.catalog import Catalog
    from protocol.changes.json_texts import Reader
    from protocol.changes.model import Table

#: Schema and name.
Name = tuple[str, str]

#: How long what is told of a table counts after it was published, in seconds.
NEWLY_PUBLISHED_S = 10.0
#: How many tables are remembered.
MAX_TABLES = 10_000

# The one that is published goes before the one that carries a trigger.
# Neither columns nor filters are known to Postgres 14.
# Generated columns are listed by every version, but not published before 18.
_LIVE = """
    SELECT asked.schema, asked.name, class.oid::bigint, namespace.nspname, class.relname, class.relreplident::text,
        class.relrowsecurity, live.is_published, live.has_filter, live.kinds,
        ARRAY(
            SELECT ARRAY[trigger.tgname::text, function.proname::text, (CASE
                WHEN trigger.tgqual IS NULL AND cardinality(trigger.tgattr::int2[]) = 0
                    AND trigger.tgenabled <> 'R' THEN trigger.tgtype ELSE 0 END)::text]
            FROM pg_catalog.pg_trigger AS trigger
            JOIN pg_catalog.pg_proc AS function ON function.oid = trigger.tgfoid
            WHERE trigger.tgrelid = live.told AND trigger.tgenabled <> 'D'
            AND (NOT trigger.tgisinternal OR trigger.tgparentid <> 0)
            AND function.proname = ANY(%(functions)s) ORDER BY trigger.tgname),
        ARRAY(
            SELECT key.number::int
            FROM pg_catalog.pg_index AS index
            CROSS JOIN unnest(index.indkey) WITH ORDINALITY AS key(number, place)
            WHERE index.indrelid = class.oid AND index.indisprimary
            AND key.place <= index.indnkeyatts ORDER BY key.place),
        coalesce((
            SELECT jsonb_agg(jsonb_build_array(
                attribute.attname, attribute.atttypid::bigint, attribute.atttypmod,
                class.relreplident = 'f' OR EXISTS (
                    SELECT FROM pg_catalog.pg_index AS index WHERE index.indrelid = class.oid
                    AND CASE class.relreplident WHEN 'd' THEN index.indisprimary
                        WHEN 'i' THEN index.indisreplident ELSE false END
                    AND attribute.attnum = ANY((index.indkey::int2[])[0:index.indnkeyatts - 1]))
                ) ORDER BY attribute.attnum)
            FROM pg_catalog.pg_attribute AS attribute
            WHERE attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
            AND (live.columns IS NULL OR live.columns ? attribute.attname::text)
            AND (attribute.attgenerated = '' OR (
                live.columns IS NOT NULL AND current_setting('server_version_num')::int >= 180000))), '[]')
    FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS asked(schema, name)
    CROSS JOIN LATERAL (
        SELECT told.oid AS told, above.oid, listed.pubname IS NOT NULL AS is_published,
            coalesce(to_jsonb(listed) -> 'rowfilter', 'null') <> 'null' AS has_filter,
            to_jsonb(listed) -> 'attnames' AS columns,
            CASE WHEN listed.pubname IS NULL THEN ARRAY[true, true, true]
                ELSE ARRAY[publication.pubinsert, publication.pubupdate, publication.pubdelete] END AS kinds
        FROM pg_catalog.pg_class AS told
        JOIN pg_catalog.pg_namespace AS told_space ON told_space.oid = told.relnamespace
        CROSS JOIN LATERAL (
            SELECT told.oid UNION SELECT relid FROM pg_catalog.pg_partition_ancestors(told.oid)
        ) AS above(oid)
        JOIN pg_catalog.pg_class AS class ON class.oid = above.oid
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
        LEFT JOIN pg_catalog.pg_publication_tables AS listed
            ON listed.pubname = ANY(%(publications)s)
            AND listed.schemaname = namespace.nspname AND listed.tablename = class.relname
        LEFT JOIN pg_catalog.pg_publication AS publication ON publication.pubname = listed.pubname
        WHERE told_space.nspname = asked.schema AND told.relname = asked.name
        AND (listed.pubname IS NOT NULL OR EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS trigger
            JOIN pg_catalog.pg_proc AS function ON function.oid = trigger.tgfoid
            WHERE trigger.tgrelid = above.oid AND NOT trigger.tgisinternal AND trigger.tgenabled <> 'D'
            AND trigger.tgparentid = 0 AND function.proname = ANY(%(functions)s)))
        ORDER BY listed.pubname IS NULL, above.oid = told.oid LIMIT 1
    ) AS live
    JOIN pg_catalog.pg_class AS class ON class.oid = live.oid
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
"""
_FILTER = "Its publication has a row filter, which triggers cannot heed: use logical replication, or drop the filter."
_KINDS = (Kind.INSERT, Kind.UPDATE, Kind.DELETE)
#: The bits of `tgtype` that say of what a trigger tells.
_TOLD_KINDS = {Kind.INSERT: 4, Kind.DELETE: 8, Kind.UPDATE: 16}


@frozen(eq=False)
class NotifiedTable:
    """A live table.

    `channel` is the one on which its changes are listened to, if it carries triggers for more than one.
    `published_at` is when it was found to be published after it had not been, on trio's clock; None if it always was.
    `triggers` has for each kind the one that is listened to, if there are several that tell of every such change.
    `readers` make the text forms of its columns of their JSON, in the order of the relation.
    """

    table: Table
    is_published: bool
    published_at: float | None
    kinds: frozenset[Kind]
    channel: str | None
    triggers: Mapping[Kind, str]
    readers: tuple[Reader, ...]


@define(eq=False)
class NotifiedTables:
    """Asks on a connection of the catalog's pool; `publications` are those whose tables are live."""

    _catalog: Catalog
    _publications: Sequence[str]
    #: What was found last, by what Postgres said of it.
    _known: dict[Name, tuple[tuple[Any, ...], NotifiedTable | None]] = field(
        factory=dict[Name, tuple[tuple[Any, ...], "NotifiedTable | None"]], init=False
    )
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    async def find(self, names: Iterable[Name]) -> Mapping[Name, NotifiedTable]:
        """Return the tables of these names that are live now.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        schemas, tables = zip(*names, strict=True)
        async with self._catalog.pool.connection() as connection:
            cursor = await connection.execute(
                _LIVE,
                {
                    "schemas": list(schemas),
                    "names": list(tables),
                    "publications": list(self._publications),
                    "functions": list(CHANNELS),
                },
            )
            rows = await cursor.fetchall()
        if len(self._known) > MAX_TABLES:
            self._known.clear()
        found: dict[Name, NotifiedTable] = {}
        for schema, name, *facts in rows:
            table = await self._table((schema, name), tuple(facts))
            if table is not None:
                found[schema, name] = table
        return found

    async def _table(self, name: Name, facts: tuple[Any, ...]) -> NotifiedTable | None:
        known = self._known.get(name)
        if known is not None and known[0] == facts:
            return known[1]
        oid, schema, relation_name, identity, _security, is_published, has_filter, *rest = facts
        kinds, triggers, _key, columns = rest
        if has_filter:
            self._log.warning(
                "table.not_followed", table=f"{schema}.{relation_name}", advice=_FILTER
            )
            table = None
        else:
            relation = Relation(
                oid,
                schema,
                relation_name,
                ReplicaIdentity(identity),
                tuple(Column(*column) for column in columns),
            )
            described = await self._catalog.describe(relation)
            channel = min((CHANNELS[function] for _, function, _ in triggers), default=None)
            table = NotifiedTable(
                described,
                is_published,
                self._published_at(known) if is_published else None,
                frozenset(kind for kind, is_in in zip(_KINDS, kinds, strict=True) if is_in),
                channel,
                _heard([one for one in triggers if CHANNELS[one[1]] == channel]),
                tuple(map(text_reader, described.types)),
            )
        self._known[name] = (facts, table)
        return table

    def _published_at(
        self, known: tuple[tuple[Any, ...], NotifiedTable | None] | None
    ) -> float | None:
        """Return since when a table is published of which `known` is what was known before."""
        before = None if known is None else known[1]
        if before is None:
            return None
        return before.published_at if before.is_published else trio.current_time()


def may_lack_in_log(table: NotifiedTable) -> bool:
    """Whether the log may not have a change of the table: it is not published, or was not a moment ago."""
    since = table.published_at
    is_new = since is not None and trio.current_time() < since + NEWLY_PUBLISHED_S
    return is_new or not table.is_published


def _heard(triggers: Iterable[tuple[str, str, str]]) -> Mapping[Kind, str]:
    """Return for each kind the first trigger that tells of all such changes; a partition may have two, too."""
    return {
        kind: name
        for name, _, kinds in reversed(list(triggers))
        for kind, bit in _TOLD_KINDS.items()
        if int(kinds) & bit
    }
