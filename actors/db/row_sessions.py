"""Connections on which rows are judged: a few for everybody, one for queries that are slow, a few for slow claims.

Called by `row_statements`; a session keeps the functions of `row_query` that it has met.

**Invariants**
- A call is one transaction that can only read and is rolled back, and locks of the session are given back:
  it leaves nothing behind.
- It ends within the time limit, and waits for locks half as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
import trio
from attrs import define, field, frozen
from psycopg import errors

from actors.db.plan_reuse import PlanReuse
from actors.db.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.db.driver import TrioConnection
    from actors.db.row_query import RowQuery

#: How many functions a session keeps; a table makes one for each role.
MAX_FUNCTIONS = 500
#: How many connections there are for everybody.
CONNECTIONS = 3
#: How many are asked alone at a time, because their claims were slow.
ALONE = 3
#: Of the time limit: how much a statement for many may take.
TOGETHER = 1 / 4
#: Gives back what policies may take beyond their transaction.
UNLOCK = "SELECT pg_catalog.pg_advisory_unlock_all()"
#: Ends a transaction that may have failed.
LEAVE = f"ROLLBACK; {UNLOCK}"


class StatementFailed(Exception):
    """Postgres refused the whole statement."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@frozen
class Answer:
    """Place in the list of claims, rows that may be seen, SQLSTATE; only where there is something to say."""

    rows: Sequence[tuple[int, list[int] | None, str | None]]
    took_s: float


@define(eq=False)
class RowSessions:
    """The pools, and what their sessions know."""

    _usual: Pool
    _slow: Pool
    _alone: Pool
    _functions: WeakKeyDictionary[TrioConnection, set[str]] = field(
        factory=WeakKeyDictionary, init=False
    )
    _places: trio.Semaphore = field(factory=lambda: trio.Semaphore(ALONE), init=False)
    _plans: PlanReuse = field(factory=PlanReuse, init=False)

    @classmethod
    def open(cls, conninfo: str, timeout_s: float) -> RowSessions:
        """Return sessions whose statements end within `timeout_s`; connections are made when needed."""
        together, alone = (_settings(limit_s) for limit_s in (timeout_s * TOGETHER, timeout_s))
        return cls(
            Pool(conninfo, CONNECTIONS, settings=together),
            Pool(conninfo, 1, settings=together),
            Pool(conninfo, ALONE, settings=alone),
        )

    def close(self) -> None:
        self._usual.close()
        self._slow.close()
        self._alone.close()

    async def call(
        self,
        query: RowQuery,
        arguments: Sequence[Any],
        *,
        is_slow: bool = False,
        is_alone: bool = False,
    ) -> Answer:
        """Call the function of a query, which was slow the last time, or for one set of claims with all of the time.

        Raises:
            StatementFailed: Postgres refused, or it took too long.
            DatabaseUnavailable: there was no connection, or it broke.
        """
        if is_alone:
            async with self._places:
                return await self._call_on(self._alone, query, arguments)
        return await self._call_on(self._slow if is_slow else self._usual, query, arguments)

    async def _call_on(self, pool: Pool, query: RowQuery, arguments: Sequence[Any]) -> Answer:
        async with pool.connection() as connection:
            try:
                keeps_plans = await self._plans.is_safe(connection)
                await self._define(connection, query)
                return await _call(connection, query, [keeps_plans, *arguments])
            except psycopg.Error as error:
                if connection.closed:
                    raise
                if isinstance(error, errors.UndefinedFunction):
                    # Somebody discarded the session's objects.
                    self._functions.pop(connection, None)
                await connection.execute(LEAVE)
                raise StatementFailed(error.sqlstate or "") from None

    async def _define(self, connection: TrioConnection, query: RowQuery) -> None:
        known = self._functions.setdefault(connection, set())
        if query.name in known:
            return
        if len(known) >= MAX_FUNCTIONS:
            await connection.execute("DISCARD TEMP")
            known.clear()
        await connection.execute(query.creation)
        known.add(query.name)


async def _call(
    connection: TrioConnection, query: RowQuery, arguments: Sequence[Any]
) -> Answer:
    started = trio.current_time()
    async with connection.pipeline():
        await connection.execute("BEGIN READ ONLY")
        cursor = await connection.execute(query.call, arguments)
        await connection.execute("ROLLBACK")
        await connection.execute(UNLOCK)
    rows = await cursor.fetchall()
    return Answer(rows, trio.current_time() - started)


def _settings(limit_s: float) -> dict[str, str]:
    return {
        "statement_timeout": f"{limit_s * 1000:.0f}",
        "lock_timeout": f"{limit_s * 500:.0f}",
        "row_security": "on",
        # What an image is compared with must be written as the stream writes it.
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "IntervalStyle": "postgres",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "jit": "off",
    }
