"""Fixtures that more than one folder uses."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.support.postgres import Database, PostgresServer, fresh_database, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole run."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    return (f"test_{number}" for number in itertools.count(1))


@pytest.fixture
def database(
    postgres_server: PostgresServer, database_names: Iterator[str]
) -> Iterator[Database]:
    """A fresh database of the server that the whole run shares."""
    with fresh_database(postgres_server, next(database_names)) as database:
        yield database
