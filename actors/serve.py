"""One run of the server: from its settings to the exit status.

Called by `actors.command_line`.
Sets up the log, claims the embedded database's directory, runs the node, and listens to signals:
the first SIGTERM or SIGINT drains (stop accepting, tell clients, flush, exit 0), a second one ends at once.
"""

from __future__ import annotations

import gc
import os
import platform
import signal
import time
from contextlib import ExitStack
from random import SystemRandom
from typing import TYPE_CHECKING

import structlog
import trio

from actors.core.errors import RestartLimitReached
from actors.db.cluster_files import EmbeddedOptions, claim_cluster
from actors.node import Node, Surroundings
from actors.realtime.errors import DatabaseUnavailable
from actors.settings import DEVELOPMENT_SECRET, Settings
from actors.telemetry.log import LogOptions, configure
from actors.telemetry.metrics import Metrics
from actors.welcome import welcome

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Trade-off: fewer collections cost memory that is not free yet and save up to a third of CPU on allocation-heavy paths.
GC_THRESHOLDS = (50_000, 20, 100)


def run_server(settings: Settings, received: Sequence[int]) -> int:
    """Serve until told to stop; return the exit status.

    `received` has the signal to stop if that came before now, and gets it if it comes before the event loop listens.
    """
    is_development = settings.env == "development"
    configure(LogOptions(platform.node(), settings.log_level, is_development))
    log = structlog.get_logger()
    with ExitStack() as stack:
        cluster = None
        if settings.database_url is None and not settings.no_database:
            options = EmbeddedOptions(settings.data_directory, settings.postgres_port)
            try:
                cluster = stack.enter_context(claim_cluster(options))
            except DatabaseUnavailable as unavailable:
                log.error("node.refused", advice=unavailable.advice)  # noqa: TRY400
                return 1
        surroundings = Surroundings(SystemRandom(), time.time, cluster)  # noqa: TID251  # the one clock
        node = Node(settings, surroundings, Metrics())
        return trio.run(serve, node, settings, surroundings, received)


async def serve(
    node: Node, settings: Settings, surroundings: Surroundings, received: Sequence[int]
) -> int:
    """Run the node until a signal says otherwise; return the exit status."""
    status = 0
    async with trio.open_nursery() as nursery:
        draining = trio.CancelScope()
        await nursery.start(drain_on_signal, draining, received)
        try:
            with draining:
                async with trio.open_nursery() as running:
                    await running.start(node.run)
                    settle_memory()
                    announce(node, settings, surroundings)
        except* RestartLimitReached:
            # Each crash has been logged with its stack.
            structlog.get_logger().error("node.given_up")
            status = 1
        nursery.cancel_scope.cancel()
    return status


def settle_memory() -> None:
    """Take what lives as long as the process out of garbage collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def announce(node: Node, settings: Settings, surroundings: Surroundings) -> None:
    """Say where the server is: in the log for programs, and in development on stdout for people."""
    address = None if surroundings.cluster is None else surroundings.cluster.address
    structlog.get_logger().info(
        "node.ready",
        host=settings.host,
        port=node.port,
        psql=None if address is None else address.psql_command,
    )
    if settings.allowed_origins.are_all_allowed:
        structlog.get_logger().warning(
            "origins.unchecked",
            advice="Pages of any origin may connect: list yours with --allowed-origins.",
        )
    if settings.signing_secret == DEVELOPMENT_SECRET:
        url = f"http://{settings.host}:{node.port}"
        text = welcome(url, DEVELOPMENT_SECRET, surroundings.now(), address)
        print(text, flush=True)  # noqa: T201  # meant for a person


async def drain_on_signal(
    scope: trio.CancelScope,
    received: Sequence[int],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Cancel the scope at the first signal, which may be in `received`; end the process at the second."""
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        for number in received:
            drain(scope, number)
        task_status.started()
        async for number in signals:
            if scope.cancel_called:
                # The embedded Postgres is stopped by its guard, everything else by the kernel.
                os._exit(128 + number)
            drain(scope, number)


def drain(scope: trio.CancelScope, number: int) -> None:
    """Let the node stop because of a signal."""
    structlog.get_logger().info("node.draining", signal=signal.Signals(number).name)
    scope.cancel()
