"""Broadcasts that clients want stored: inserted into realtime.messages as the role of their sender.

Implements `stored_ports.BroadcastStorage`; row security decides as it does in `policies`, by the same settings.

**Invariants**
- Nothing is stored that the sender's role may not insert: there is no other check, and none is needed.
- The settings of a sender end with its transaction.

**Source**: spec 7 (settings), 4.4 (columns).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import psycopg

from actors.db.plan_reuse import PlanReuse
from actors.db.policies import away_from, failed_policy, probe_of, undecided
from actors.db.pool import Pool
from actors.db.probe_sessions import SEARCH_PATH
from actors.db.row_sessions import UNLOCK
from actors.realtime.errors import DatabaseUnavailable, Forbidden, NotPersisted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors.db.driver import TrioConnection
    from actors.realtime.stored_ports import Storage

CODE: Final = "UnableToPersistBroadcast"
CONNECTIONS: Final = 4
UNSTORABLE: Final = "The payload cannot be stored: Postgres does not take it as jsonb"

_BECOME: Final = """
    SELECT set_config('realtime.topic', %s, true), set_config('request.jwt.claims', %s, true),
        set_config('request.jwt.claim.sub', %s, true), set_config('app.current_user_id', %s, true),
        set_config('request.jwt.claim.role', %s, true),
        set_config('request.headers', %s, true), set_config('role', %s, true)
"""
# Without RETURNING: to write does not take the right to read.
_INSERT: Final = """
    INSERT INTO realtime.messages (id, topic, extension, event, private, payload, binary_payload)
    VALUES (%s, %s, 'broadcast', %s, true, %s::jsonb, %s)
"""
_INSERT_WITH_TTL: Final = """
    INSERT INTO realtime.messages (id, topic, extension, event, private, payload, binary_payload, replay_until)
    VALUES (%s, %s, 'broadcast', %s, true, %s::jsonb, %s, timezone('utc', now()) + %s * interval '1 second')
"""
_HAS_TTL: Final = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass('realtime.messages')
        AND attname = 'replay_until' AND NOT attisdropped)
"""


async def has_ttl(connection: TrioConnection) -> bool:
    """Whether the table says until when a row may be replayed; one that came with a Supabase stack does not."""
    found = await connection.execute(_HAS_TTL)
    return await found.fetchone() == (True,)


class PostgresStorage:
    """Stores in one database; `timeout_s` bounds each statement."""

    def __init__(self, conninfo: str, timeout_s: float) -> None:
        settings = {"statement_timeout": f"{timeout_s * 1000:.0f}", "search_path": SEARCH_PATH}
        self._pool = Pool(conninfo, CONNECTIONS, wait_s=timeout_s, settings=settings)
        self._plans = PlanReuse()

    def close(self) -> None:
        self._pool.close()

    async def store(self, storage: Storage) -> None:
        """Store a broadcast; see the port for the contract."""
        question, message = storage.question, storage.message
        probe = probe_of(question, presence=False)
        if probe is None:
            raise failed_policy(question)
        become = (
            *(probe.sub_topic, probe.claims, probe.subject, probe.subject),
            *(probe.role, probe.headers),
            probe.role,
        )
        text = None if message.is_binary else message.payload.decode()
        data = message.payload if message.is_binary else None
        row: tuple[object, ...] = (
            storage.row_id,
            question.sub_topic,
            message.event,
            text,
            data,
        )
        try:
            async with self._pool.connection() as connection:
                keeps_ttl = storage.ttl_s is not None and await has_ttl(connection)
                if not await self._plans.is_safe(connection):
                    await connection.execute("DISCARD PLANS")
                async with _transaction(connection):
                    await _check(connection, message.event, text)
                    await connection.execute(_BECOME, become)
                    if keeps_ttl:
                        row = (*row, storage.ttl_s)
                    stored = await connection.execute(
                        _INSERT_WITH_TTL if keeps_ttl else _INSERT, row
                    )
        except DatabaseUnavailable as away:
            raise away_from(away) from None
        except psycopg.errors.InsufficientPrivilege:
            raise Forbidden("Unauthorized", "Unauthorized") from None
        except psycopg.Error as error:
            raise undecided(error.sqlstate or "", question) from None
        if stored.rowcount == 0:
            # A trigger swallowed it.
            raise Forbidden("Unauthorized", "Unauthorized")


@asynccontextmanager
async def _transaction(connection: TrioConnection) -> AsyncIterator[None]:
    """Run a transaction in which policies are asked, and give back the locks that they took for the session."""
    try:
        async with connection.transaction():
            yield
    finally:
        if connection.is_idle():
            await connection.execute(UNLOCK)


async def _check(connection: TrioConnection, event: str, text: str | None) -> None:
    """Let Postgres read what is to be stored, before a policy does: so it is clear whose fault it is.

    Raises:
        NotPersisted: it cannot.
    """
    try:
        await connection.execute("SELECT %s::text, %s::jsonb", (event, text))
    except (psycopg.DataError, UnicodeEncodeError):
        raise NotPersisted(CODE, UNSTORABLE) from None
