"""May a session keep its plans from one identity to the next?

Asked by `row_sessions`, `probe_sessions` and `storing` on the connection on which they are about to ask policies.
Postgres evaluates a function that is declared IMMUTABLE when it makes a plan, and the plan keeps the value.
A function that reads claims and is wrongly declared so would give the answer of one identity to the next,
also from plans inside other functions, which no setting reaches: there only `DISCARD PLANS` helps (ADR 0080).

**Invariants**
- An answer is older than the question by `MAX_AGE_S` at most.
- When in doubt, plans are not kept: that costs time and nothing else.

**Source**: PostgreSQL 18 documentation, 36.7 "Function Volatility Categories"; `choose_custom_plan` for what
`plan_cache_mode` leaves alone. Read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.db.driver import TrioConnection

#: How long an answer counts, in seconds.
MAX_AGE_S: Final = 1.0

#: Functions that are declared IMMUTABLE, and by their text may be something else: they name a setting, a role or a
#: privilege, read a table, run a statement made at run time, or name a function that is not IMMUTABLE itself.
#: Those of Postgres and of extensions are trusted, and so is what is compiled.
DOUBTFUL_FUNCTIONS: Final = r"""
    WITH own AS (
        SELECT function.oid, function.proname, function.provolatile, language.lanname,
            coalesce(pg_catalog.pg_get_function_sqlbody(function.oid), function.prosrc) AS body
        FROM pg_catalog.pg_proc AS function
        JOIN pg_catalog.pg_language AS language ON language.oid = function.prolang
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
        WHERE function.oid >= '16384' AND NOT pg_catalog.starts_with(namespace.nspname, 'pg_temp_')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            AND objid = function.oid AND deptype = 'e')
    )
    SELECT declared.oid FROM own AS declared
    WHERE declared.provolatile = 'i' AND declared.lanname NOT IN ('c', 'internal')
    AND (declared.body ~* '\m(current_|session_user|user\M|pg_has_role|has_|from\M|execute\M|now\M)'
        OR EXISTS (
            SELECT FROM own AS called WHERE called.provolatile <> 'i'
            AND pg_catalog.strpos(pg_catalog.lower(declared.body), pg_catalog.lower(called.proname)) > 0))
"""
_IS_SAFE: Final = f"SELECT NOT EXISTS ({DOUBTFUL_FUNCTIONS})"


@define(eq=False)
class PlanReuse:
    """Remembers the answer for one database; `clock` returns seconds, from any start."""

    _clock: Callable[[], float] = trio.current_time
    _is_safe: bool = field(default=False, init=False)
    _until: float = field(default=float("-inf"), init=False)

    async def is_safe(self, connection: TrioConnection) -> bool:
        """Whether no plan can contain what depends on who asked; the connection is in no transaction.

        Raises:
            psycopg.Error: Postgres could not say.
        """
        now = self._clock()
        if now >= self._until:
            cursor = await connection.execute(_IS_SAFE)
            self._is_safe = await cursor.fetchone() == (True,)
            self._until = now + MAX_AGE_S
        return self._is_safe
