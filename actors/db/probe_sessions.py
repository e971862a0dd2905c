"""Connections on which policies are tried, by the functions of `sql/probes`.

Called by `probes`.

**Invariants**
- A call is one transaction that is rolled back, and locks of the session are given back: it leaves nothing behind.
- It ends within the time limit of its pool.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import psycopg
from attrs import define, field, frozen
from psycopg import sql

from actors.db.plan_reuse import PlanReuse
from actors.db.pool import Pool
from actors.db.row_sessions import LEAVE, UNLOCK, StatementFailed
from actors.realtime.ports import Grants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.db.driver import TrioConnection

#: What policies were written for, as `row_query` has it; a temporary object stands for no other one.
SEARCH_PATH: Final = "public,extensions,pg_temp"

_CALL: Final = sql.SQL(
    "SELECT * FROM pg_temp.{}(%s::boolean, %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[])"
)


@frozen
class Probe:
    """One question as Postgres is asked it; equal ones have the same answer."""

    sub_topic: str
    role: str
    claims: str
    subject: str
    headers: str
    wants_presence: bool


@frozen
class Outcome:
    """What came out for one probe; `failure` is the SQLSTATE of what kept it from an answer."""

    grants: Grants
    failure: str | None = None


@define(eq=False)
class ProbeSessions:
    """A few connections; a session keeps the functions that it has met."""

    _pool: Pool
    _functions: WeakKeyDictionary[TrioConnection, set[str]] = field(
        factory=WeakKeyDictionary, init=False
    )
    _plans: PlanReuse = field(factory=PlanReuse, init=False)

    @classmethod
    def open(
        cls, conninfo: str, connections: int, timeout_s: float, wait_s: float
    ) -> ProbeSessions:
        """Return sessions whose statements end within `timeout_s`; connections are made when needed."""
        settings = {
            "statement_timeout": f"{timeout_s * 1000:.0f}",
            "search_path": SEARCH_PATH,
            "row_security": "on",
            "jit": "off",
            # What is asked differs in values that no plan depends on; to plan it anew takes four fifths of the time.
            "plan_cache_mode": "force_generic_plan",
        }
        return cls(Pool(conninfo, connections, wait_s=wait_s, settings=settings))

    def close(self) -> None:
        self._pool.close()

    async def call(self, name: str, probes: Sequence[Probe]) -> list[Outcome]:
        """Return what the function `name` says of the probes, in their order and up to the first that took too long.

        Raises:
            StatementFailed: Postgres refused all of it.
            DatabaseUnavailable: there was no connection, or it broke.
        """
        columns = (
            [probe.sub_topic for probe in probes],
            [probe.role for probe in probes],
            [probe.claims for probe in probes],
            [probe.subject for probe in probes],
            [probe.headers for probe in probes],
            [probe.wants_presence for probe in probes],
        )
        async with self._pool.connection() as connection:
            try:
                keeps_plans = await self._plans.is_safe(connection)
                await self._define(connection, name)
                async with connection.pipeline():
                    await connection.execute("BEGIN")
                    cursor = await connection.execute(
                        _CALL.format(sql.Identifier(name)), (keeps_plans, *columns)
                    )
                    await connection.execute("ROLLBACK")
                    await connection.execute(UNLOCK)
            except psycopg.Error as error:
                if connection.closed:
                    raise
                await connection.execute(LEAVE)
                raise StatementFailed(error.sqlstate or "") from None
            rows = await cursor.fetchall()
        return [
            Outcome(Grants(broadcast, presence), failure)
            for broadcast, presence, failure in rows
        ]

    async def _define(self, connection: TrioConnection, name: str) -> None:
        known = self._functions.setdefault(connection, set())
        if name not in known:
            folder = resources.files("actors.db").joinpath("sql", "probes")
            await connection.execute(folder.joinpath(f"{name}.sql").read_bytes())
            known.add(name)
