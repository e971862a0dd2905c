"""Switches row changes of a table on and off, by the functions that are installed in the database.

Implements the port `TableTriggers`; what enabling means is in `sql/templates/enable_realtime.sql`.

**Invariants**
- Names are bound, never part of a statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from attrs import define

from actors.db.isolation import is_sendable
from actors.realtime.trigger_ports import MayNotEnable, NoSuchTable

if TYPE_CHECKING:
    from typing import LiteralString

    from actors.db.pool import Pool

_ENABLE: LiteralString = "SELECT realtime.enable_realtime(%s, %s, publication => %s)"
_DISABLE: LiteralString = "SELECT realtime.disable_realtime(%s, %s, publication => %s)"
#: How long another transaction may hold the table, in milliseconds.
_PATIENCE = "SET LOCAL lock_timeout = 3000"

_NO_FUNCTION = (
    "The SQL functions of this server are missing in the database: run 'troupe migrate'."
)
_BUSY = "The table is in use by a long transaction: try again later."


@define(eq=False)
class PostgresTableTriggers:
    """See the port for the contract."""

    _pool: Pool
    _publication: str

    async def enable(self, schema: str, table: str) -> None:
        await self._call(_ENABLE, schema, table)

    async def disable(self, schema: str, table: str) -> None:
        await self._call(_DISABLE, schema, table)

    async def _call(self, statement: LiteralString, schema: str, table: str) -> None:
        if not (is_sendable(schema) and is_sendable(table)):
            raise NoSuchTable(schema, table)
        async with self._pool.connection() as connection:
            try:
                async with connection.transaction():
                    await connection.execute(_PATIENCE)
                    await connection.execute(statement, (schema, table, self._publication))
            except (psycopg.errors.UndefinedTable, psycopg.errors.WrongObjectType):
                raise NoSuchTable(schema, table) from None
            except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
                raise MayNotEnable("", _NO_FUNCTION) from None
            except psycopg.errors.LockNotAvailable:
                raise MayNotEnable("", _BUSY) from None
            except psycopg.ProgrammingError as error:
                # Who manages triggers may read what Postgres says of them.
                raise MayNotEnable("", _words(error)) from None
            except (
                psycopg.errors.ObjectNotInPrerequisiteState,
                # A temporary or unlogged table, or one of Postgres' own.
                psycopg.errors.InvalidParameterValue,
            ) as error:
                raise MayNotEnable("", _words(error)) from None


def _words(error: psycopg.Error) -> str:
    parts = (error.diag.message_primary, error.diag.message_hint)
    return ". ".join(part for part in parts if part)
