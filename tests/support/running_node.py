"""A node in the test's own process, so that its actors can be reached and crashed."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager

import trio

from actors.node import Node, Surroundings
from actors.settings import Settings
from actors.telemetry.metrics import Metrics


@asynccontextmanager
async def running_node(conninfo: str | None, **settings):
    """Run a node on a free port for the length of a `with` block; `settings` are those of the server."""
    chosen = Settings(port=0, database_url=conninfo, grace_s=2.0, **settings)
    node = Node(chosen, Surroundings(random.Random(7), time.time), Metrics())  # noqa: TID251
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        try:
            yield node
        finally:
            nursery.cancel_scope.cancel()
