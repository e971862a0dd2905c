"""The partitions of realtime.messages: one a day (UTC), made ahead and dropped when they are old.

Called by `janitor`; without today's partition nothing can be sent from SQL and nobody joins a private channel.

**Source**: spec 4.4 (names, from yesterday to three days ahead, 72 hours).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from attrs import field, frozen
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import LiteralString

    from actors.db.driver import TrioConnection

DAYS_BEFORE: Final = 1
DAYS_AHEAD: Final = 3

_NAME: Final = re.compile(r"messages_(\d{4})_(\d{2})_(\d{2})")
_DAYS = "SELECT now.utc::date, (now.utc - %s)::date FROM (SELECT now() AT TIME ZONE 'utc' AS utc) AS now"
_IS_PARTITIONED = "SELECT FROM pg_catalog.pg_partitioned_table WHERE partrelid = to_regclass('realtime.messages')"
# A default partition has no end.
_PRESENT = r"""
    SELECT child.relname, nullif(
        (regexp_match(pg_get_expr(child.relpartbound, child.oid), $$ TO \('([^']+)'\)$$))[1]::timestamp, 'infinity')
    FROM pg_catalog.pg_inherits AS link
    JOIN pg_catalog.pg_class AS child ON child.oid = link.inhrelid
    WHERE link.inhparent = to_regclass('realtime.messages')
    AND child.relnamespace = 'realtime'::regnamespace
"""
_MAKE = """
    CREATE TABLE realtime.{name} PARTITION OF realtime.messages FOR VALUES FROM ({start}) TO ({end})
"""
#: Another partition has that time, a table that name, the default partition such rows; or a view depends on it.
_IN_THE_WAY = (
    psycopg.errors.InvalidObjectDefinition,
    psycopg.errors.DuplicateTable,
    psycopg.errors.CheckViolation,
    psycopg.errors.DependentObjectsStillExist,
)
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('troupe partitions'))"
# Whoever wants to write waits behind us while we wait for whoever reads, a backup for instance.
_PATIENCE = "SET LOCAL lock_timeout = 1000"
# Else who names the partition instead of the table would pass by the policies.
_SECURE = "ALTER TABLE realtime.{name} ENABLE ROW LEVEL SECURITY"


@frozen
class Upkeep:
    """Names of the partitions that were made and dropped, and in sentences those that could not be."""

    made: list[str] = field(factory=list[str])
    dropped: list[str] = field(factory=list[str])
    left_out: list[str] = field(factory=list[str])


async def keep_partitions(connection: TrioConnection, retention: timedelta) -> Upkeep:
    """Make the partitions that are missing, and drop those of days that ended longer than `retention` ago.

    Does nothing where realtime.messages is missing or not partitioned.

    Raises:
        psycopg.errors.InsufficientPrivilege: the table belongs to another role.
        psycopg.errors.LockNotAvailable: somebody reads the table for so long that no partition could be made.
    """
    upkeep = Upkeep()
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute(_PATIENCE)
        if await _rows(connection, _IS_PARTITIONED) == []:
            return upkeep
        ((today, oldest),) = await _rows(connection, _DAYS, retention)
        present = dict(await _rows(connection, _PRESENT))
        for offset in range(-DAYS_BEFORE, DAYS_AHEAD + 1):
            day = today + timedelta(days=offset)
            if (name := partition_name(day)) not in present:
                with _each(name, upkeep.made, upkeep.left_out):
                    async with connection.transaction():
                        await _make(connection, name, day)
    for name, end in sorted(present.items()):
        # It is the end that says how old it is; the name says that it is one of these.
        if partition_day(name) is not None and end is not None and end.date() <= oldest:
            with _each(name, upkeep.dropped, upkeep.left_out, psycopg.errors.LockNotAvailable):
                await _drop(connection, name)
    return upkeep


@contextmanager
def _each(
    name: str, done: list[str], left_out: list[str], *too: type[psycopg.Error]
) -> Iterator[None]:
    """Note what became of one partition; what is in its way, or one of `too`, is in nobody else's."""
    try:
        yield
    except _IN_THE_WAY + too as error:
        left_out.append(f"{name}: {error.diag.message_primary}")
    else:
        done.append(name)


def partition_name(day: date) -> str:
    """Return the name of a day's partition."""
    return f"messages_{day:%Y_%m_%d}"


def partition_day(name: str) -> date | None:
    """Return the day of a partition, None if the name is not one that we or upstream give."""
    found = _NAME.fullmatch(name)
    try:
        return None if found is None else date(*map(int, found.groups()))
    except ValueError:
        return None


async def _make(connection: TrioConnection, name: str, day: date) -> None:
    # The bounds of a partition cannot be parameters.
    make = sql.SQL(_MAKE).format(
        name=sql.Identifier(name),
        start=sql.Literal(day.isoformat()),
        end=sql.Literal((day + timedelta(days=1)).isoformat()),
    )
    await connection.execute(make)
    await connection.execute(sql.SQL(_SECURE).format(name=sql.Identifier(name)))


async def _drop(connection: TrioConnection, name: str) -> None:
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute(_PATIENCE)
        # Another server may just have dropped it.
        drop = sql.SQL("DROP TABLE IF EXISTS realtime.{}").format(sql.Identifier(name))
        await connection.execute(drop)


async def _rows(
    connection: TrioConnection, statement: LiteralString, *values: Any
) -> list[Any]:
    cursor = await connection.execute(statement, values)
    return await cursor.fetchall()
