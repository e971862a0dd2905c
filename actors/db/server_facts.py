"""What a server says of itself when a replication connection is opened to it.

Called by `slot_preparation` first of all; it also pins the settings that the values in the stream depend on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from psycopg import sql

from actors.db.continuity import System
from protocol.changes.model import Lsn, parse_lsn

if TYPE_CHECKING:
    from actors.db.driver import TrioConnection

# What the output functions of the types depend on; `protocol.changes.values` knows these forms only.
_PIN_SETTINGS = """
    SET client_encoding = 'UTF8';
    SET timezone = 'UTC';
    SET datestyle = 'ISO';
    SET intervalstyle = 'postgres';
    SET extra_float_digits = 1;
    SET bytea_output = 'hex'
"""

# A replication connection takes no parameters, so the name is quoted into the text.
_EXAMINE = """
    SELECT current_setting('wal_level') = 'logical',
        EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {publication}),
        EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {messages}),
        (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'),
        (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
        (SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()),
        (SELECT backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid())
"""
_END_SESSION = """
    SELECT pg_terminate_backend(pid, {patience_ms}) FROM pg_catalog.pg_stat_activity
    WHERE pid = {pid} AND backend_start = {started}::timestamptz
"""
_MEGABYTE = 1024 * 1024


@frozen
class Session:
    """One connection as the server knows it; process ids alone are used again."""

    pid: int
    started: str


@frozen
class ServerFacts:
    """`keeps_bytes` is how much of its log the server keeps for a slot at most, None if all.

    `patience_s` is how long it waits to hear from us, 0 for ever.
    """

    system: System
    written: Lsn
    database_oid: int
    session: Session
    is_logical: bool
    has_publication: bool
    has_messages_publication: bool
    keeps_bytes: int | None
    patience_s: float


async def examine(
    connection: TrioConnection, publication: str, messages_publication: str
) -> ServerFacts:
    """Pin the session's settings and ask the server what it is, and which of the two publications it has.

    Raises:
        psycopg.Error: it could not be asked.
    """
    await connection.execute(_PIN_SETTINGS)
    row = await _first_row(connection, sql.SQL("IDENTIFY_SYSTEM"))
    identifier, timeline, written, _database = row
    query = sql.SQL(_EXAMINE).format(
        publication=sql.Literal(publication), messages=sql.Literal(messages_publication)
    )
    is_logical, has_one, has_other, patience_ms, keeps_mb, oid, started = await _first_row(
        connection, query
    )
    return ServerFacts(
        system=System(identifier, timeline),
        written=parse_lsn(written),
        database_oid=oid,
        session=Session(connection.info.backend_pid, started),
        is_logical=is_logical,
        has_publication=has_one,
        has_messages_publication=has_other,
        keeps_bytes=keeps_mb * _MEGABYTE if keeps_mb >= 0 else None,
        patience_s=patience_ms / 1000,
    )


async def end_session(connection: TrioConnection, session: Session, patience_s: float) -> None:
    """End another session of our role, if it still goes on, and wait for it to be gone, `patience_s` at most."""
    statement = sql.SQL(_END_SESSION).format(
        patience_ms=sql.Literal(int(patience_s * 1000)),
        pid=sql.Literal(session.pid),
        started=sql.Literal(session.started),
    )
    await connection.execute(statement)


async def _first_row(
    connection: TrioConnection, query: sql.SQL | sql.Composed
) -> tuple[Any, ...]:
    row = await (await connection.execute(query)).fetchone()
    # Each of these queries has exactly one row.
    return row or ()
