"""The publication: which tables are listened to is its owner's business, that it is there is ours.

Called by `slot_preparation` before there is a slot.

**Invariants**
- The publication is there before the slot: Postgres looks for it only at the first change,
  and a slot older than its publication cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg import sql

from actors.db.advice import plain_or_quoted, publication_missing

if TYPE_CHECKING:
    from actors.db.driver import TrioConnection


async def create_publication(connection: TrioConnection, name: str) -> None:
    """Create an empty publication, so that tables can be added to it while we listen.

    Raises:
        DatabaseUnavailable: the role may not; the sentence says what its owner has to run.
        psycopg.Error: anything else went wrong.
    """
    statement = sql.SQL("CREATE PUBLICATION {}").format(sql.Identifier(name))
    try:
        await connection.execute(statement)
    except psycopg.errors.DuplicateObject:
        # Somebody else just did.
        return
    except psycopg.errors.InsufficientPrivilege:
        raise publication_missing(name) from None
    structlog.get_logger().info(
        "publication.created",
        publication=name,
        advice=f"Add tables to it: ALTER PUBLICATION {plain_or_quoted(name)} ADD TABLE <table>",
    )
