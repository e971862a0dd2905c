"""One connection for one errand, for those who have no pool: the demo and the commands."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg

from actors.db.advice import unavailable
from actors.db.driver import connect
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors.db.driver import TrioConnection


@asynccontextmanager
async def visit(conninfo: str) -> AsyncIterator[TrioConnection]:
    """Connect, in autocommit mode.

    Raises:
        DatabaseUnavailable: the database cannot be reached, or refused what it was asked; the sentence says why.
    """
    try:
        async with await connect(conninfo) as connection:
            yield connection
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError) or error.sqlstate is None:
            raise unavailable(error) from None
        raise DatabaseUnavailable(f"Postgres refused: {error.diag.message_primary}") from error
