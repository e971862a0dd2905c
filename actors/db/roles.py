"""Which roles the database has; asked for every token that names one of an application's own.

Implements `ports.DatabaseRoles`. Answers are kept for a while, and for longer while the database is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import trio
from attrs import define, field

from actors.db.isolation import is_sendable
from actors.realtime.errors import DatabaseUnavailable, Refused

if TYPE_CHECKING:
    from typing import LiteralString

    from actors.db.pool import Pool

_EXISTS: LiteralString = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s)"
#: Seconds for which an answer counts: a role that is created is known after that at the latest.
KEPT_S: Final = 30.0
#: Seconds that the database may take to answer: whoever connects waits for that.
WITHIN_S: Final = 5.0
TOO_SLOW: Final = "The roles of the database cannot be read in time."
#: Roles that are remembered; tokens are signed, so nobody but the project chooses them.
KEPT: Final = 1000


@define(eq=False)
class PostgresRoles:
    """See the module's text."""

    _pool: Pool
    _within_s: float = WITHIN_S
    #: By role: whether it exists, and since when (trio clock) that is known.
    _known: dict[str, tuple[bool, float]] = field(factory=dict, init=False)

    async def exists(self, role: str) -> bool:
        """Return whether the database has a role of that name; see the port."""
        if not is_sendable(role):
            return False
        known = self._known.get(role)
        if known is not None and trio.current_time() - known[1] < KEPT_S:
            return known[0]
        try:
            exists = await self._ask(role)
        except DatabaseUnavailable as away:
            if known is not None:
                return known[0]
            raise Refused("UnableToConnectToProject", away.advice) from None
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[role] = exists, trio.current_time()
        return exists

    async def _ask(self, role: str) -> bool:
        try:
            with trio.fail_after(self._within_s):
                async with self._pool.connection() as connection:
                    cursor = await connection.execute(_EXISTS, (role,))
                    row = await cursor.fetchone()
        except trio.TooSlowError:
            raise DatabaseUnavailable(TOO_SLOW) from None
        except psycopg.ProgrammingError as error:
            raise DatabaseUnavailable("The roles of the database cannot be read.") from error
        return row is not None and bool(row[0])
