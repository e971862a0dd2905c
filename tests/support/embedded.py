"""The embedded Postgres for tests: run by a real supervisor here, or by a process that may be killed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import trio
from attrs import define

from actors.core.spec import ChildSpec
from actors.core.supervisor import Supervisor
from actors.db.account import Account
from actors.db.cluster_files import ClusterFiles, EmbeddedOptions, claim_cluster
from actors.db.embedded import EmbeddedPostgres, ServerState
from actors.db.postmaster import Postmaster, read_postmaster

if TYPE_CHECKING:
    import pwd
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from actors.core.ref import Ref

PROJECT = Path(__file__).parents[2]
PACKAGES = Path(trio.__file__).parents[1]
PROCESS = Path(__file__).with_name("embedded_process.py")


@contextmanager
def reachable_directory() -> Iterator[Path]:
    """Make a directory that other accounts may enter: pytest's own are closed to them."""
    directory = Path(tempfile.mkdtemp(prefix="troupe-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def own_port(directory: Path, **options: Any) -> EmbeddedOptions:
    """Return options with a port of their own: another run of the suite may want the usual one at the same time."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return EmbeddedOptions(directory, port=probe.getsockname()[1], **options)


@define
class Embedded:
    """A server kept running by an actor; `starts` yields the connection string at each start."""

    files: ClusterFiles
    state: ServerState
    supervisor: Supervisor
    ref: Ref[Any]
    starts: trio.MemoryReceiveChannel[str]
    reports: list[Any]

    @property
    def conninfo(self) -> str:
        return self.files.address.conninfo

    @property
    def postmaster(self) -> Postmaster:
        found = read_postmaster(self.files.data)
        assert found is not None
        return found


async def nothing(_conninfo: str) -> None:
    pass


@asynccontextmanager
async def supervised(
    options: EmbeddedOptions, prepare: Callable[[str], Awaitable[None]] = nothing
) -> AsyncIterator[Embedded]:
    """Run the actor as a dynamic child, so that one that never gets ready can be looked at, too."""
    tell, starts = trio.open_memory_channel[str](100)

    async def prepare_and_tell(conninfo: str) -> None:
        await prepare(conninfo)
        tell.send_nowait(conninfo)

    reports: list[Any] = []
    state = ServerState()
    with claim_cluster(options) as files, tell, starts:
        supervisor = Supervisor(random=Random(0), observe=reports.append)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            spec = ChildSpec(
                "postgres", lambda: EmbeddedPostgres(files, state, prepare_and_tell), rank=0
            )
            ref = supervisor.start_child(spec)
            yield Embedded(files, state, supervisor, ref, starts, reports)
            nursery.cancel_scope.cancel()
    assert reports == []


@define
class EmbeddedProcess:
    """The same in a process of its own."""

    process: subprocess.Popen[str]
    conninfo: str
    postmaster: int

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def separate(
    directory: Path, account: pwd.struct_passwd | None = None
) -> Iterator[EmbeddedProcess]:
    """Run a process with an embedded server, wait until that is ready, and stop it in due order."""
    demotion: dict[str, Any] = {}
    interpreter = sys.executable
    if account is not None:
        demotion = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        interpreter = _interpreter_for(account)
    path = os.pathsep.join(map(str, (PROJECT, PACKAGES)))
    process = subprocess.Popen(
        [interpreter, PROCESS, directory, str(own_port(directory).port)],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **demotion,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"the process with the embedded Postgres ended: {process.wait()}")
        yield EmbeddedProcess(process, **json.loads(line))


def _interpreter_for(account: pwd.struct_passwd) -> str:
    """Return a Python of our version that `account` may run, with our packages and this project in reach."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    who = Account(account.pw_name, account.pw_uid, account.pw_gid, is_ours=False)
    for candidate in (Path(sys.executable), Path(f"/usr/bin/python{version}")):
        if candidate.exists() and all(map(who.may_reach, (candidate, PROJECT, PACKAGES))):
            return str(candidate)
    pytest.skip(
        f"{account.pw_name} can reach no Python {version} with the packages of this one"
    )


def query(conninfo: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own and return its rows, none if it has none."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something outside of this process; the caller sets the deadline."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)
