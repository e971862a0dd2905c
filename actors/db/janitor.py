"""The janitor: installs the schema at start, then keeps the partitions of realtime.messages.

Started by `actors.node` before anybody is let in; see `schema` and `partitions` for what it does.

Truth: none, the database is. Rank 3. Mailbox: nothing is ever sent to it. Restart: endless.
Recovery: rung 1; a database that is away, or does not let us, is a state: it is tried again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Never

import psycopg
import structlog
import trio
from attrs import define, field, frozen

from actors.core.signals import Stopping
from actors.core.spec import Backoff
from actors.db.partitions import keep_partitions
from actors.db.publications import PUBLICATION
from actors.db.schema import migrate
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from actors.core.inbox import Inbox
    from actors.db.pool import Pool

#: How long messages are kept unless somebody says otherwise.
KEPT = timedelta(hours=72)
RETRY = Backoff(first=1.0, base=1.0, factor=2.0, ceiling=60.0)


@frozen
class JanitorOptions:
    """`every_s`: seconds between two looks at the partitions; `retention`: how long messages are kept at least.

    `publication` is what tables are added to.
    """

    migrates: bool = True
    every_s: float = 4 * 3600.0
    retention: timedelta = KEPT
    publication: str = PUBLICATION


@define(eq=False)
class Janitor:
    """The actor; ready after its first attempt, so that a database that is away keeps nobody from broadcasting."""

    _pool: Pool
    _options: JanitorOptions
    _left_out: list[str] = field(factory=list[str], init=False)

    async def run(self, inbox: Inbox[Never]) -> None:
        """Look after the schema until told to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_after, inbox)
            async for signal in inbox:
                if isinstance(signal, Stopping):
                    break
            nursery.cancel_scope.cancel()

    async def _look_after(self, inbox: Inbox[Never]) -> None:
        attempt = 0
        while True:
            try:
                await self._tidy()
            except DatabaseUnavailable as away:
                attempt += 1
                structlog.get_logger().warning("schema.unprepared", advice=away.advice)
            else:
                attempt = 0
            inbox.ready()
            pause_s = RETRY.delay(attempt, 0.5) if attempt else self._options.every_s
            await trio.sleep(pause_s)

    async def _tidy(self) -> None:
        """Install what is missing, make partitions and drop old ones.

        Raises:
            DatabaseUnavailable: it could not be done now.
        """
        log = structlog.get_logger()
        try:
            async with self._pool.connection() as connection:
                if self._options.migrates:
                    migration = await migrate(connection, self._options.publication)
                    self._tell(migration.left_out)
                    if migration.done:
                        log.info("schema.migrated", steps=migration.done)
                upkeep = await keep_partitions(connection, self._options.retention)
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseUnavailable(
                f"The partitions of realtime.messages cannot be kept ({error.diag.message_primary}):"
                " let the login role own the table, or leave it to the server that made it."
            ) from None
        except psycopg.Error as error:
            raise DatabaseUnavailable(f"The schema could not be installed: {error}") from None
        for sentence in upkeep.left_out:
            log.warning("partition.left_out", reason=sentence)
        if upkeep.made or upkeep.dropped:
            log.info("partitions.kept", made=upkeep.made, dropped=upkeep.dropped)

    def _tell(self, left_out: list[str]) -> None:
        """Say what was left out, once for as long as it is the same."""
        if left_out != self._left_out:
            for sentence in left_out:
                structlog.get_logger().warning("schema.incomplete", advice=sentence)
        self._left_out = left_out
