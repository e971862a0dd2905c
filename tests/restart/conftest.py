"""A Postgres server that tests may restart, kill and cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.postgres import PostgresServer, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def durable_server() -> Iterator[PostgresServer]:
    """A server that keeps what it has confirmed when it is killed, and soon misses a client that fell silent."""
    with running_server(
        synchronous_commit="on",
        wal_sender_timeout="3s",
        max_connections="120",
        # Little is kept for reuse, so what lies on disk is what somebody needs.
        min_wal_size="32MB",
        max_wal_size="64MB",
        max_slot_wal_keep_size="1GB",
    ) as server:
        yield server
