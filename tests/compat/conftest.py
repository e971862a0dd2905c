"""Fixtures of the compatibility tests: one server for all of them, and clients of every kind."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.compat.client import KINDS, Client, Kind, running_client
from tests.compat.target import Target, named, own
from tests.support.server import Server, running_server
from tests.support.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.compat)


@pytest.fixture
def own_directory() -> Iterator[Path]:
    """A directory that the account of an embedded Postgres may enter, which pytest's own does not allow."""
    directory = Path(tempfile.mkdtemp(prefix="troupe-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that all tests share: they use topics and rows of their own and leave it as it is."""
    directory = Path(tempfile.mkdtemp(prefix="troupe-"))
    directory.chmod(0o755)
    with running_server(directory / "data") as server:
        yield server
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The shared server, or the one that variables name."""
    return named(os.environ) or own(request.getfixturevalue("server"))


@pytest.fixture
def start_client(server: Server) -> Iterator[Callable[[Kind], Client]]:
    """Start a client of a kind at the shared server, with a good key."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(running_client(kind, server.url, mint()))


@pytest.fixture(params=KINDS, ids=str)
def client(request: pytest.FixtureRequest, start_client: Callable[[Kind], Client]) -> Client:
    """One client of each kind in turn."""
    return start_client(request.param)


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def topic(numbers: Iterator[int]) -> str:
    """A topic that no other test uses."""
    return f"room-{next(numbers)}"
