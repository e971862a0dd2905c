"""Replication slots: how ours are called, and the statements that make, copy, drop and advance them.

Called by `slot_preparation` on the connection that is going to stream, and by `replication` on one of the pool.

**Invariants**
- A durable slot is never streamed, only copied and advanced.
- Who copies or advances a durable slot holds its lock, which ends with the connection that took it.

**Source**: PostgreSQL 18 documentation, 9.28.6 "Replication Management Functions", 53.20 `pg_replication_slots`,
read 2026-11-21; that a slot which streams may be copied was tried on 15.18.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

import psycopg
from attrs import Attribute, field, frozen
from psycopg import sql

from protocol.changes.model import Lsn, format_lsn, parse_lsn

if TYPE_CHECKING:
    from typing import LiteralString

    from actors.db.driver import TrioConnection

#: What the names of our slots begin with.
PREFIX = "troupe"
#: Postgres allows 63 bytes, of which the prefix and the longest OID take these.
MAX_SUFFIX_BYTES = 63 - len("troupe_4294967295_")
_SUFFIX = re.compile(rf"[a-z0-9_]{{0,{MAX_SUFFIX_BYTES}}}")

# `conflicting` is known to Postgres 16 and later only.
_FIND = """
    SELECT active,
        wal_status IS NOT DISTINCT FROM 'lost'
        OR coalesce((to_jsonb(slot) ->> 'conflicting')::bool, false)
    FROM pg_catalog.pg_replication_slots AS slot WHERE slot_name = {name}
"""
_COPY = (
    "SELECT lsn::text FROM pg_copy_logical_replication_slot({source}, {copy}, {is_temporary})"
)
_LOCK = "SELECT pg_advisory_lock(hashtextextended({name}, 0))"
# Given back as soon as the statement is over.
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended({name}, 0))"


class SlotMode(Enum):
    """Which slot keeps the place of a server that is away; the value is the word of the setting."""

    AUTO = "auto"
    DURABLE = "durable"
    TEMPORARY = "temporary"


@frozen
class SlotOptions:
    """`suffix` tells servers apart that each want a durable slot of the same database.

    Raises:
        ValueError: the suffix cannot be part of a slot's name.
    """

    mode: SlotMode = SlotMode.AUTO
    suffix: str = field(default="")

    @suffix.validator
    def _check_suffix(self, _attribute: Attribute[str], value: str) -> None:
        if not _SUFFIX.fullmatch(value):
            raise ValueError(
                f"the slot suffix may have up to {MAX_SUFFIX_BYTES} of the characters a-z, 0-9 and _"
            )


def durable_name(database_oid: int, suffix: str) -> str:
    """Return what the durable slot of a database is called."""
    return "_".join(filter(None, (PREFIX, str(database_oid), suffix)))


async def lock_timeout(connection: TrioConnection, seconds: float) -> None:
    """Let statements of this connection wait for locks that long; 0 is for ever."""
    await connection.execute(f"SET lock_timeout = {int(seconds * 1000)}")


@frozen
class TemporarySlot:
    """A slot that ends with the connection it was made on, where it is streamed."""

    name: str

    @classmethod
    def of(cls, connection: TrioConnection) -> TemporarySlot:
        # The process id is not used twice while the slot lives.
        return cls(f"{PREFIX}_temporary_{connection.info.backend_pid}")

    async def make(self, connection: TrioConnection, patience_s: float) -> None:
        """Make the slot where the log ends, as soon as all transactions of now have ended; `patience_s` for each."""
        # Given up by the server itself: one that we leave alone would wait on, and keep its WAL sender.
        await lock_timeout(connection, patience_s)
        await connection.execute(
            f"CREATE_REPLICATION_SLOT {self.name} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"
        )
        await lock_timeout(connection, 0)


@frozen
class SlotState:
    """`is_lost`: Postgres has removed what the slot was to keep, so it cannot be used any more."""

    is_active: bool
    is_lost: bool


@frozen
class DurableSlot:
    """A slot that outlives connections and servers."""

    name: str

    async def hold(self, connection: TrioConnection, patience_s: float) -> bool:
        """Take the slot's lock for as long as `connection` lives; False if another keeps it for `patience_s`."""
        await lock_timeout(connection, patience_s)
        try:
            await connection.execute(_statement(_LOCK, name=self.name))
        except psycopg.errors.LockNotAvailable:
            return False
        finally:
            await lock_timeout(connection, 0)
        return True

    async def is_free(self, connection: TrioConnection) -> bool:
        """Return whether nobody holds the slot's lock at this moment."""
        cursor = await connection.execute(_statement(_TRY_LOCK, name=self.name))
        return await cursor.fetchone() == (True,)

    async def find(self, connection: TrioConnection) -> SlotState | None:
        """Return the slot's state, or None if there is no such slot."""
        cursor = await connection.execute(_statement(_FIND, name=self.name))
        row = await cursor.fetchone()
        return None if row is None else SlotState(*row)

    async def copy_to(self, connection: TrioConnection, copy: TemporarySlot) -> Lsn:
        """Make `copy` stand where this slot does; return from where on it streams."""
        return await _copy(connection, self.name, copy.name, is_temporary=True)

    async def copy_from(self, connection: TrioConnection, source: TemporarySlot) -> Lsn:
        """Make this slot stand where `source` does; return from where on it keeps the log."""
        return await _copy(connection, source.name, self.name, is_temporary=False)

    async def drop(self, connection: TrioConnection) -> None:
        """Drop the slot, if there is one."""
        statement = "SELECT pg_drop_replication_slot({name})"
        try:
            await connection.execute(_statement(statement, name=self.name))
        except psycopg.errors.UndefinedObject:
            return

    async def advance(self, connection: TrioConnection, lsn: Lsn) -> None:
        """Let Postgres forget what committed before `lsn`, which must not be behind the slot's position."""
        statement = "SELECT pg_replication_slot_advance({name}, {lsn})"
        await connection.execute(_statement(statement, name=self.name, lsn=format_lsn(lsn)))


async def _copy(
    connection: TrioConnection, source: str, copy: str, *, is_temporary: bool
) -> Lsn:
    statement = _statement(_COPY, source=source, copy=copy, is_temporary=is_temporary)
    row = await (await connection.execute(statement)).fetchone()
    return parse_lsn(row[0]) if row else Lsn(0)


def _statement(text: LiteralString, **values: object) -> sql.Composed:
    """Quote the values into the text: a replication connection takes no parameters."""
    return sql.SQL(text).format(**{name: sql.Literal(value) for name, value in values.items()})
