"""`troupe migrate`: install what an application of Supabase finds in its database, once and now.

The server does the same at each start, unless it is told not to.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from actors.commands.database import open_database, say
from actors.db.partitions import keep_partitions
from actors.db.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return 0 if everything is installed, 1 if something had to be left out, 2 if nothing could be done."""
    return trio.run(_run, arguments, environment)


async def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    async with open_database(arguments, environment) as database:
        migration = await migrate(database.connection, database.settings.publication)
        retention = timedelta(hours=database.settings.messages_kept_h)
        upkeep = await keep_partitions(database.connection, retention)
    for name in migration.done:
        say(f"done     {name}")
    for name in upkeep.made:
        say(f"made     {name}")
    for name in upkeep.dropped:
        say(f"dropped  {name}")
    for sentence in migration.left_out:
        say(f"left out {sentence}")
    if not (migration.done or upkeep.made or upkeep.dropped or migration.left_out):
        say("Nothing to do: everything is installed.")
    return 1 if migration.left_out else 0
