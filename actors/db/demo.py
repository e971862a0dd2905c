"""Makes the embedded Postgres look like a small Supabase project: roles, grants, one table, one publication.

Handed by `actors.node` to `embedded` as what prepares a server; the statements are in `sql/demo.sql`.
"""

from __future__ import annotations

from importlib import resources

import psycopg

from actors.db.driver import connect
from actors.realtime.errors import DatabaseUnavailable

PUBLICATION = "supabase_realtime"


async def prepare_demo(conninfo: str) -> None:
    """Run the script unless the database has the publication, which the script makes last.

    So what people change or drop afterwards stays as they left it.

    Raises:
        DatabaseUnavailable: the database cannot be reached, or does not let us.
    """
    script = resources.files("actors.db").joinpath("sql", "demo.sql").read_bytes()
    try:
        async with await connect(conninfo) as connection, connection.transaction():
            # Two at once would trip over each other; the lock is released with the transaction.
            await connection.execute("select pg_advisory_xact_lock(hashtext('troupe demo'))")
            found = await connection.execute(
                "select 1 from pg_publication where pubname = %s", (PUBLICATION,)
            )
            if await found.fetchone() is None:
                await connection.execute(script)
    except psycopg.Error as error:
        raise DatabaseUnavailable(f"The demo could not be set up: {error}") from error
