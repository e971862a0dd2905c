"""Makes the embedded Postgres a small Supabase project: what `schema` installs, and one table that is published.

Handed by `actors.node` to `embedded` as what prepares a server; the statements are in `sql/demo.sql`.
"""

from __future__ import annotations

from importlib import resources

from actors.db.schema import migrate
from actors.db.visit import visit

#: How the demo is called among the steps that were done.
STEP = "demo"


async def prepare_demo(conninfo: str) -> None:
    """Install the schema, and run the script unless that was done before.

    So what people change or drop afterwards stays as they left it.

    Raises:
        DatabaseUnavailable: the database cannot be reached, or does not let us.
    """
    script = resources.files("actors.db").joinpath("sql", "demo.sql").read_bytes()
    async with visit(conninfo) as connection, connection.transaction():
        await migrate(connection)
        # Two at once would trip over each other; the row is theirs until the transaction ends.
        noted = await connection.execute(
            "INSERT INTO realtime.troupe_steps VALUES (%s) ON CONFLICT DO NOTHING", (STEP,)
        )
        if noted.rowcount:
            await connection.execute(script)
