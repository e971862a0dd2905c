"""From an error of Postgres to one sentence that says what to change.

Called by `pool`, `replication` and their neighbours where a database that is away, or not set up, is expected.

**Source**: the error table of PostgreSQL 15 to 18 in use, tried on 15.18, 2026-11-21.
Errors that refuse a connection carry no SQLSTATE through libpq, so their text is looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import structlog

from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger()

_REFUSED = "Postgres refused; the log of this server has its words."
_REPLICATION_RIGHT = (
    "The database role may not replicate: run 'ALTER ROLE <role> REPLICATION' as a superuser,"
    " or connect as a role that may."
)
_NO_WALSENDER = (
    "All WAL senders of Postgres are taken: raise max_wal_senders and restart it,"
    " or stop a standby or subscriber that is no longer needed."
)
_NO_SLOT = (
    "All replication slots of Postgres are taken: raise max_replication_slots and restart it,"
    " or drop slots that nobody reads (select * from pg_replication_slots)."
)
_SLOT_IN_USE = "The replication slot is in use by another server: stop that one or set another slot suffix."
_WAL_LEVEL = (
    "Postgres does not log what logical replication needs:"
    " set wal_level = logical and restart it."
)
_OPEN_TRANSACTION = (
    "A transaction open for long keeps Postgres from starting the stream: end it"
    " (select pid, xact_start, query from pg_stat_activity order by xact_start)."
)
_STOPPING = "Postgres is shutting down or starting up: waiting for it to come back."
_ENDED = "Postgres ended the connection: waiting for it to come back."
_CLOSED = "The connection to Postgres was closed: connecting again."
_TOO_MANY = (
    "Postgres has no connection left: raise max_connections and restart it,"
    " or let its clients use fewer."
)
_CREDENTIALS = "Postgres does not let us in: correct user and password in the database URL."
_NO_DATABASE = "The database does not exist: create it or correct its name in the database URL."
_UNREADABLE = (
    "The database URL cannot be read: correct it, percent-encoding what is special in it"
    " (postgresql://user:password@host:port/database)."
)
_UNREACHABLE = "Postgres cannot be reached: start it or correct the database URL."

_BY_SQLSTATE: Mapping[str, str] = {
    "42501": _REPLICATION_RIGHT,
    "42710": _SLOT_IN_USE,
    "53300": _TOO_MANY,
    "53400": _NO_SLOT,
    "55006": _SLOT_IN_USE,
    "55P03": _OPEN_TRANSACTION,
    "57P01": _ENDED,
    "57P02": _ENDED,
    "57P03": _STOPPING,
}
_BY_TEXT: Mapping[str, str] = {
    "max_wal_senders": _NO_WALSENDER,
    "must be superuser or replication role": _REPLICATION_RIGHT,
    "permission denied to start WAL sender": _REPLICATION_RIGHT,
    "the database system is": _STOPPING,
    "too many clients": _TOO_MANY,
    "too many connections": _TOO_MANY,
    "remaining connection slots": _TOO_MANY,
    "authentication failed": _CREDENTIALS,
    "no password supplied": _CREDENTIALS,
    "pg_hba.conf": "Postgres does not let us in: allow our address and role in its pg_hba.conf.",
    "server closed the connection": _ENDED,
    "the server ended the stream": _STOPPING,
    "terminating connection": _ENDED,
    "wal_level": _WAL_LEVEL,
    "Connection refused": _UNREACHABLE,
    "No such file or directory": _UNREACHABLE,
    "the connection was closed": _CLOSED,
    "the connection is closed": _CLOSED,
    "timeout expired": _UNREACHABLE,
    "failed to resolve host": _UNREACHABLE,
    "Name or service not known": _UNREACHABLE,
}

#: Both errors can come without an SQLSTATE, or with one that means many things.
_MISSING = re.compile(r'(database|publication) "(.*)" does not exist')


#: What no patience helps against.
_NO_REPLICATION = frozenset({_REPLICATION_RIGHT, _WAL_LEVEL})


class NoLogicalReplication(DatabaseUnavailable):
    """The database, or what the login role may do there, is not made for reading the log."""


def unavailable(error: psycopg.Error) -> DatabaseUnavailable:
    """Return the error to raise in place of `error`; raise it `from None`, the sentence says it all."""
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        # From libpq's parser, which quotes what it could not read: that may be the password.
        return DatabaseUnavailable(_UNREADABLE)
    text = str(error)
    for sign, advice in _BY_TEXT.items():
        if sign in text:
            return _refusal(advice)
    if missing := _MISSING.search(text):
        kind, name = missing.groups()
        return (
            DatabaseUnavailable(_NO_DATABASE)
            if kind == "database"
            else publication_missing(name)
        )
    if (advice_by_state := _BY_SQLSTATE.get(error.sqlstate or "")) is not None:
        return _refusal(advice_by_state)
    # Whatever it is, it was not written for clients.
    words = " ".join(text.split()) or type(error).__name__
    log.warning("postgres.refused", reason=words, sqlstate=error.sqlstate)
    return DatabaseUnavailable(_REFUSED)


def _refusal(advice: str) -> DatabaseUnavailable:
    kind = NoLogicalReplication if advice in _NO_REPLICATION else DatabaseUnavailable
    return kind(advice)


def wal_level_too_low() -> DatabaseUnavailable:
    return NoLogicalReplication(_WAL_LEVEL)


def publication_missing(name: str) -> DatabaseUnavailable:
    """Return the error for a publication that its owner has yet to create."""
    return DatabaseUnavailable(
        f"The publication is missing: run 'CREATE PUBLICATION {plain_or_quoted(name)} FOR TABLE <table>'"
        " with the tables to listen to, or FOR ALL TABLES."
    )


def plain_or_quoted(name: str) -> str:
    """Return an identifier as a person would write it."""
    is_plain = name.isidentifier() and name == name.lower()
    return name if is_plain else '"' + name.replace('"', '""') + '"'
