"""Sees to it that every published table tells of its changes, where no log is read.

Called by `notify` before its stream is live and every few seconds then: tables are published by whoever owns them,
with or without our SQL, and nobody else would make the triggers.

**Invariants**
- Nothing but a trigger of ours is made or switched on, and none is dropped.
- A table that is in use by a long transaction is tried again later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import structlog
from attrs import define, field
from psycopg import sql

from actors.db.advice import plain_or_quoted
from actors.db.functions import CHANNELS, LOCK
from actors.db.publications import MESSAGES_PUBLICATION
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from actors.db.driver import TrioConnection
    from actors.db.pool import Pool

ENDING: Final = "_notify_change"
#: The longest name, in bytes (NAMEDATALEN - 1).
MAX_NAME_BYTES: Final = 63
_PATIENCE: Final = "SET LOCAL lock_timeout = 1000"

# Seen in pg_locks by `enable_realtime`, which then switches its triggers on.
_ANNOUNCE = "SELECT pg_advisory_lock_shared(%s, 1)"

# A table without any of our triggers in force, its own trigger if it sleeps, and whether its rows are broadcasts.
_UNARMED = """
    SELECT namespace.nspname, class.relname, (
            SELECT asleep.tgname FROM pg_catalog.pg_trigger AS asleep
            WHERE asleep.tgrelid = class.oid AND asleep.tgenabled = 'D'
            AND asleep.tgfoid = to_regprocedure('realtime.notify_table_change()') LIMIT 1),
        published.pubname = %(messages)s, to_regprocedure('realtime.notify_table_change()') IS NOT NULL
    FROM pg_catalog.pg_publication_tables AS published
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = published.schemaname
    JOIN pg_catalog.pg_class AS class
        ON class.relnamespace = namespace.oid AND class.relname = published.tablename
    WHERE published.pubname IN (%(publication)s, %(messages)s)
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS trigger
        JOIN pg_catalog.pg_proc AS function ON function.oid = trigger.tgfoid
        WHERE trigger.tgrelid = class.oid AND NOT trigger.tgisinternal AND trigger.tgenabled <> 'D'
        AND function.proname = ANY(%(functions)s))
    ORDER BY 1, 2
"""
_ENABLE = "ALTER TABLE {table} ENABLE TRIGGER {name}"
_CREATE = """
    CREATE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION realtime.notify_table_change()
"""
# Of a broadcast only the key is told: anybody may listen.
_CREATE_FOR_MESSAGES = """
    CREATE TRIGGER {name} AFTER INSERT ON {table}
    FOR EACH ROW EXECUTE FUNCTION realtime.notify_table_change('key')
"""


@define(eq=False)
class Arming:
    """Looks after the tables of one publication, and after those of broadcasts."""

    _pool: Pool
    _publication: str
    #: Tables of which it was said that they tell nothing.
    _told: set[tuple[str, str]] = field(factory=set[tuple[str, str]], init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    async def announce(self, connection: TrioConnection) -> None:
        """Let it be seen, for as long as the connection lives, that triggers are needed."""
        await connection.execute(_ANNOUNCE, (LOCK,))

    async def arm(self) -> None:
        """Switch on or make the triggers that are missing; what cannot be done is logged once."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    _UNARMED,
                    {
                        "publication": self._publication,
                        "messages": MESSAGES_PUBLICATION,
                        "functions": list(CHANNELS),
                    },
                )
                for (
                    schema,
                    table,
                    asleep,
                    is_for_messages,
                    is_installed,
                ) in await cursor.fetchall():
                    if not is_installed:
                        self._tell(schema, table, "the SQL functions are missing")
                        continue
                    await self._arm(connection, (schema, table), asleep, is_for_messages)
        except (DatabaseUnavailable, psycopg.Error) as error:
            self._log.warning("triggers.not_looked_at", error=type(error).__name__)

    async def _arm(
        self,
        connection: TrioConnection,
        table: tuple[str, str],
        asleep: str | None,
        is_for_messages: bool,
    ) -> None:
        create = _CREATE_FOR_MESSAGES if is_for_messages else _CREATE
        statement = create if asleep is None else _ENABLE
        name = trigger_name(table[1]) if asleep is None else asleep
        try:
            async with connection.transaction():
                await connection.execute(_PATIENCE)
                await connection.execute(
                    sql.SQL(statement).format(
                        name=sql.Identifier(name), table=sql.Identifier(*table)
                    )
                )
        except psycopg.errors.LockNotAvailable:
            self._log.info("trigger.delayed", table=".".join(table))
        except psycopg.errors.DuplicateObject:
            # Another server just did, or somebody has another trigger by that name.
            self._tell(*table, "another trigger has the name")
        except (psycopg.ProgrammingError, psycopg.errors.ObjectNotInPrerequisiteState) as error:
            self._tell(*table, error.diag.message_primary or "")
        else:
            self._told.discard(table)
            self._log.info(
                "trigger.made" if asleep is None else "trigger.enabled", table=".".join(table)
            )

    def _tell(self, schema: str, table: str, why: str) -> None:
        if (schema, table) in self._told:
            return
        self._told.add((schema, table))
        name = f"{plain_or_quoted(schema)}.{plain_or_quoted(table)}"
        self._log.warning(
            "trigger.missing",
            table=name,
            reason=why,
            advice="Its changes are not delivered: run 'troupe migrate', then as its owner"
            " SELECT enable_realtime(<schema>, <table>).",
        )


def trigger_name(table: str) -> str:
    """Return what the trigger of a table is called, as `enable_realtime` calls it."""
    stem = table.encode()[: MAX_NAME_BYTES - len(ENDING)].decode(errors="ignore")
    return stem + ENDING
