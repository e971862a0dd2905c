"""Fixtures that more than one folder uses."""

from __future__ import annotations

import functools
import inspect
import itertools
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.postgres import Database, PostgresServer, fresh_database, running_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

#: How long a test with a real server may take, in seconds; a module that needs more has a DEADLINE_S of its own.
DEADLINE_S = 120.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every asynchronous test with a real server fail when it hangs.

    A fixture cannot do that: a cancel scope around its `yield` ends its own task, not the test's.
    """
    for item in items:
        if item.get_closest_marker("postgres") is None or not isinstance(item, pytest.Function):
            continue
        if inspect.iscoroutinefunction(item.obj):
            item.obj = bounded(item.obj, getattr(item.module, "DEADLINE_S", DEADLINE_S))


def bounded(
    test: Callable[..., Awaitable[None]], deadline_s: float
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: object, **kwargs: object) -> None:
        with trio.fail_after(deadline_s):
            await test(*args, **kwargs)

    return run


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
