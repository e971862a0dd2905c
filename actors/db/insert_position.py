"""Where the database writes next, asked once for all who want to know at the same time.

Called by `replication` for each join; a thousand clients that come back together must not be a thousand queries.

**Invariants**
- One query at a time.
- A position was read after it was asked for: who comes while a query runs shares the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from actors.realtime.errors import Unavailable
from protocol.changes.model import Lsn, parse_lsn

if TYPE_CHECKING:
    from actors.db.pool import Pool


@define(eq=False)
class _Query:
    """One query that has not been sent when it is shared; `outcome` once it was."""

    outcome: Lsn | Unavailable | None = None


@define(eq=False)
class InsertPosition:
    """Asks on a connection of the pool."""

    _pool: Pool
    _next: _Query = field(factory=_Query, init=False)
    _turn: trio.Lock = field(factory=trio.Lock, init=False)

    async def read(self) -> Lsn:
        """Return a position that no transaction is behind which commits from now on.

        Raises:
            Unavailable: the database could not be asked; all who shared the query hear of it.
        """
        query = self._next
        async with self._turn:
            # Who waited before us may have asked for us; or was cancelled, then it is ours to ask.
            if query.outcome is None:
                if self._next is query:
                    self._next = _Query()
                query.outcome = await self._ask()
        if isinstance(query.outcome, Unavailable):
            raise query.outcome
        return query.outcome

    async def _ask(self) -> Lsn | Unavailable:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute("SELECT pg_current_wal_insert_lsn()::text")
                row = await cursor.fetchone()
        except Unavailable as away:
            return away
        return parse_lsn(row[0]) if row else Lsn(0)
