"""Keeps managed channels in the tables realtime.troupe_channels and realtime.troupe_subscriptions.

Implements `channel_store.ChannelStore`; the step `0008_channels` makes the tables.

**Invariants**
- Values are bound, never part of a statement.
- A row that this server would not have written is left out, with a warning: nobody is let in by it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog
import trio
from attrs import define

from actors.realtime.channel_store import StoredChannel, StoredSubscription
from actors.realtime.errors import DatabaseUnavailable
from protocol.errors import ProtocolError
from protocol.managed_json import config_json, filter_json, read_config, read_filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from actors.db.driver import TrioConnection
    from actors.db.pool import Pool

log = structlog.get_logger()

NO_TABLES: Final = (
    "The table realtime.troupe_channels is missing: let this server migrate the database,"
    " or run the command migrate."
)
#: Seconds that the database may take for one change: others wait for it.
WITHIN_S: Final = 10.0
TOO_SLOW: Final = "The channel cannot be kept: the database does not answer in time."
_MISSING: Final = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)

_CHANNELS: Final = """
    SELECT name, config::text, is_created, created_by, created_at
    FROM realtime.troupe_channels ORDER BY created_at, name
"""
_SUBSCRIPTIONS: Final = """
    SELECT channel, id, wanted::text, user_id, created_at
    FROM realtime.troupe_subscriptions ORDER BY created_at, id
"""
# What came into being by a join may have been kept for its subscriptions; somebody decides about it now.
_ADD: Final = """
    INSERT INTO realtime.troupe_channels AS known (name, config, is_created, created_by, created_at)
    VALUES (%s, %s::json, %s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET (config, is_created, created_by, created_at)
        = (excluded.config, excluded.is_created, excluded.created_by, excluded.created_at)
        WHERE NOT known.is_created
    RETURNING true
"""
_KEEP: Final = """
    INSERT INTO realtime.troupe_channels (name, config, is_created, created_by, created_at)
    VALUES (%s, %s::json, %s, %s, %s) ON CONFLICT (name) DO NOTHING
"""
_SUBSCRIBE: Final = """
    INSERT INTO realtime.troupe_subscriptions (id, channel, wanted, user_id, created_at)
    VALUES (%s, %s, %s::json, %s, %s)
"""


@define(eq=False)
class PostgresChannelStore:
    """See the port for the contract; `within_s` are the seconds that a statement may take."""

    _pool: Pool
    _within_s: float = WITHIN_S

    async def load(self) -> Sequence[StoredChannel]:
        try:
            async with self._connection() as connection:
                channels = await (await connection.execute(_CHANNELS)).fetchall()
                subscriptions = await (await connection.execute(_SUBSCRIPTIONS)).fetchall()
        except DatabaseUnavailable as away:
            if away.advice == NO_TABLES:
                return ()
            raise
        of_channel: dict[str, list[StoredSubscription]] = {}
        for name, *row in subscriptions:
            subscription = _subscription(*row)
            if subscription is not None:
                of_channel.setdefault(name, []).append(subscription)
        found = [_channel(row, tuple(of_channel.get(row[0], ()))) for row in channels]
        return [channel for channel in found if channel is not None]

    async def add(self, channel: StoredChannel) -> bool:
        async with self._connection() as connection:
            cursor = await connection.execute(_ADD, _row(channel))
            return await cursor.fetchone() is not None

    async def remove(self, name: str) -> None:
        async with self._connection() as connection:
            await connection.execute(
                "DELETE FROM realtime.troupe_channels WHERE name = %s", (name,)
            )

    async def subscribe(self, channel: StoredChannel, subscription: StoredSubscription) -> None:
        row = (
            subscription.id,
            channel.name,
            filter_json(subscription.wanted).decode(),
            subscription.user_id,
            subscription.created_at,
        )
        async with self._connection() as connection:
            await connection.execute(_KEEP, _row(channel))
            await connection.execute(_SUBSCRIBE, row)

    async def unsubscribe(self, subscription_id: str) -> None:
        async with self._connection() as connection:
            await connection.execute(
                "DELETE FROM realtime.troupe_subscriptions WHERE id = %s", (subscription_id,)
            )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[TrioConnection]:
        """Lend a connection in a transaction.

        Raises:
            DatabaseUnavailable: there is none, or it cannot do this.
        """
        try:
            # A statement that is given up here alone might still be carried out there.
            with trio.fail_after(2 * self._within_s):
                async with self._pool.transaction(self._within_s) as connection:
                    yield connection
        except trio.TooSlowError:
            raise DatabaseUnavailable(TOO_SLOW) from None
        except _MISSING:
            raise DatabaseUnavailable(NO_TABLES) from None
        except psycopg.Error as error:
            raise DatabaseUnavailable(
                f"The channel cannot be kept: {error.sqlstate}."
            ) from None


def _row(channel: StoredChannel) -> tuple[object, ...]:
    return (
        channel.name,
        config_json(channel.config).decode(),
        channel.is_created,
        channel.created_by,
        channel.created_at,
    )


def _channel(
    row: tuple[Any, ...], subscriptions: tuple[StoredSubscription, ...]
) -> StoredChannel | None:
    name, config, is_created, created_by, created_at = row
    try:
        read = read_config(config.encode())
    except ProtocolError as error:
        log.warning("channel.unreadable", channel=name, reason=error.reason)
        return None
    return StoredChannel(name, read, is_created, created_by, created_at, subscriptions)


def _subscription(
    subscription_id: str, wanted: str, user_id: str, created_at: float
) -> StoredSubscription | None:
    try:
        read = read_filter(wanted.encode())
    except ProtocolError as error:
        log.warning("subscription.unreadable", id=subscription_id, reason=error.reason)
        return None
    return StoredSubscription(subscription_id, read, user_id, created_at)
