"""The publications: which tables are listened to is their owner's business, that they are there is ours.

Called by `replication` before there is a slot. The one for messages is made with their table (`schema`), not here.

**Invariants**
- The publication is there before the slot: Postgres looks for it only at the first change,
  and a slot older than its publication cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import structlog
from psycopg import sql

from actors.db.advice import plain_or_quoted, publication_missing

if TYPE_CHECKING:
    from actors.db.driver import TrioConnection


PUBLICATION: Final = "supabase_realtime"
#: What stored broadcasts come by.
MESSAGES_PUBLICATION: Final = "supabase_realtime_messages_publication"

_HAS_PUBLICATION: Final = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = %s)"
)


async def has_publication(connection: TrioConnection, name: str) -> bool:
    """Whether there is a publication of that name.

    Raises:
        psycopg.Error: it could not be asked.
    """
    found = await connection.execute(_HAS_PUBLICATION, (name,))
    return await found.fetchone() == (True,)


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
