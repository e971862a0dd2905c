"""Stored broadcasts for who joins: the newest rows of realtime.messages on a topic.

Implements `stored_ports.ReplayStore`, as the service's own connection: whether the client may read was decided before.

**Invariants**
- A replay is bounded by number, by bytes and by time, whatever is stored.

**Source**: spec 4.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import structlog
import trio
from attrs import frozen
from psycopg import sql

from actors.db.storing import has_ttl
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.stored import StoredBroadcast, stored_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.db.pool import Pool
    from actors.realtime.stored_ports import ReplayQuestion

TIMEOUT_S: Final = 5.0
FAILED: Final = "Stored broadcasts could not be read; the log has the SQLSTATE."

# Rows of one transaction have one time; then the place in the table says which came first, as rows are only ever added.
# Sizes are looked at when few rows are left: they may have to be fetched from elsewhere.
_NEWEST: Final = """
    WITH found AS (
        SELECT id, event, payload, binary_payload, inserted_at, ctid AS place
        FROM realtime.messages
        WHERE topic = %(topic)s AND private AND extension = 'broadcast' AND event IS NOT NULL
            AND (payload IS NOT NULL OR binary_payload IS NOT NULL)
            AND inserted_at >= timestamp 'epoch' + %(since_ms)s * interval '1 millisecond'
            AND inserted_at < timezone('utc', now()) + interval '1 minute'
            AND {unexpired}
        ORDER BY inserted_at DESC, place DESC
        LIMIT %(limit)s
    ), rendered AS (
        SELECT id, event, payload::text AS text, encode(binary_payload, 'hex') AS data, inserted_at, place
        FROM found
    ), counted AS (
        SELECT *, row_number() OVER newest_first AS number,
            sum(coalesce(octet_length(text), length(data) / 2)) OVER newest_first AS total
        FROM rendered WINDOW newest_first AS (ORDER BY inserted_at DESC, place DESC)
    )
    SELECT id::text, event, text, data FROM counted
    WHERE number = 1 OR total <= %(size_bytes)s
    ORDER BY inserted_at, place
"""


_UNEXPIRED: Final = sql.SQL("(replay_until IS NULL OR replay_until > timezone('utc', now()))")
_ANY_AGE: Final = sql.SQL("true")


@frozen
class PostgresReplay:
    """The rows of one database."""

    pool: Pool

    async def newest(self, question: ReplayQuestion) -> Sequence[StoredBroadcast]:
        """Return the newest broadcasts that were stored for a private topic, oldest first.

        Raises:
            DatabaseUnavailable: they could not be read in time.
        """
        arguments = {
            "topic": question.sub_topic,
            "since_ms": question.since_ms,
            "limit": question.limit,
            "size_bytes": question.size_bytes,
        }
        with trio.move_on_after(TIMEOUT_S):
            async with self.pool.connection() as connection:
                try:
                    async with connection.transaction():
                        await connection.execute(
                            "SELECT set_config('statement_timeout', %s, true)",
                            (f"{TIMEOUT_S:.0f}s",),
                        )
                        unexpired = _UNEXPIRED if await has_ttl(connection) else _ANY_AGE
                        query = sql.SQL(_NEWEST).format(unexpired=unexpired)
                        cursor = await connection.execute(query, arguments)
                        rows = await cursor.fetchall()
                except psycopg.OperationalError:
                    raise
                except (psycopg.Error, UnicodeEncodeError) as error:
                    # The second is for a topic that is no text to Postgres.
                    sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
                    structlog.get_logger().warning("replay.failed", sqlstate=sqlstate)
                    raise DatabaseUnavailable(FAILED) from None
            return [
                StoredBroadcast(
                    row_id,
                    question.sub_topic,
                    is_private=True,
                    message=stored_message(row_id, event, text, data, replayed=True),
                )
                for row_id, event, text, data in rows
            ]
        raise DatabaseUnavailable("Stored broadcasts could not be read in time.")
