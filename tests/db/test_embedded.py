"""A real server under a real supervisor: start, stop, and everything that may go wrong between."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio

from actors.db.binaries import debian_directories, package_directories
from actors.db.embedded import SERVER_SETTINGS
from actors.db.postmaster import read_postmaster
from actors.realtime.errors import DatabaseUnavailable
from tests.support.embedded import (
    Embedded,
    own_port,
    query,
    reachable_directory,
    separate,
    supervised,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


@pytest.fixture(params=["debian", "package"])
def installation(request: pytest.FixtureRequest) -> tuple[Path, ...]:
    """The programs of Debian, then those of the extra."""
    directories = debian_directories() if request.param == "debian" else package_directories()
    found = tuple(directories)
    if not found:
        pytest.skip(f"no Postgres of the {request.param} is installed")
    return found


@contextmanager
def stranger_as(user: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that is no server; of the server's user, or Postgres itself would see through it."""
    with subprocess.Popen(["sleep", "60"], user=user) as stranger:
        yield stranger
        stranger.kill()


async def next_start(embedded: Embedded) -> str:
    with trio.fail_after(30):
        return await embedded.starts.receive()


async def test_a_server_of_either_installation_starts(
    directory: Path, installation: tuple[Path, ...]
) -> None:
    async with supervised(own_port(directory, search=installation)) as embedded:
        conninfo = await next_start(embedded)

        assert query(conninfo, "show wal_level") == [("logical",)]
        assert query(conninfo, "show server_encoding") == [("UTF8",)]
        assert query(conninfo, "select 'a' < 'B' collate \"default\"") == [(False,)]
        assert query(conninfo, "show max_slot_wal_keep_size") == [("1GB",)]


async def test_a_server_of_either_installation_decodes_changes(
    directory: Path, installation: tuple[Path, ...]
) -> None:
    async with supervised(own_port(directory, search=installation)) as embedded:
        conninfo = await next_start(embedded)

        query(conninfo, "select pg_create_logical_replication_slot('s', 'pgoutput')")
        query(conninfo, "select pg_copy_logical_replication_slot('s', 't', true)")


async def test_the_loopback_port_asks_for_the_password(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        await next_start(embedded)
        address = embedded.files.address

        assert query(address.url, "select current_user") == [("postgres",)]
        with pytest.raises(psycopg.OperationalError, match="password"):
            query(address.url.replace(address.password, "guess"), "select 1")


async def test_stopping_takes_less_than_two_seconds(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        conninfo = await next_start(embedded)
        postmaster = embedded.postmaster
        with psycopg.connect(conninfo), trio.fail_after(2):
            await embedded.supervisor.stop_child(embedded.ref)

        assert not postmaster.is_running()
        assert (
            read_postmaster(embedded.files.data) is None
        )  # It took its file along: a clean end.
        assert embedded.state.advice == "The embedded Postgres has stopped."


async def test_a_crash_of_the_actor_takes_the_server_along(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        await next_start(embedded)
        first = embedded.postmaster

        embedded.supervisor.poison(embedded.ref)
        await next_start(embedded)

        assert not first.is_running()
        assert embedded.postmaster.is_running()
        assert [report.name for report in embedded.reports] == ["postgres", "postgres"]
        embedded.reports.clear()  # A crash and a restart, as wished.


async def test_the_data_outlives_the_server(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        query(await next_start(embedded), "create table kept as select 7 as n")

    async with supervised(own_port(directory)) as embedded:
        assert query(await next_start(embedded), "select n from kept") == [(7,)]


async def test_a_killed_server_comes_back_with_its_data(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        query(await next_start(embedded), "create table kept as select 7 as n")
        first = embedded.postmaster.pid

        os.kill(first, signal.SIGKILL)

        assert query(await next_start(embedded), "select n from kept") == [(7,)]
        assert embedded.postmaster.pid != first


async def test_a_server_that_cannot_start_is_a_state(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        await next_start(embedded)
        settings = embedded.files.data / "postgresql.conf"
        good = settings.read_text()
        settings.write_text("no_such_setting = 1\n")

        os.kill(embedded.postmaster.pid, signal.SIGKILL)
        with trio.fail_after(30):
            await until(lambda: "FATAL" in (embedded.state.advice or ""))

        settings.write_text(good)
        await next_start(embedded)


async def test_programs_that_fail_or_vanish_are_a_state(directory: Path) -> None:
    programs = directory / "bin"
    programs.mkdir(mode=0o755)
    for name, script in (
        ("postgres", "echo 'postgres (PostgreSQL) 15.1'"),
        ("initdb", "echo 'initdb: error: no luck' >&2; exit 1"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    async with supervised(own_port(directory, search=(programs,))) as embedded:
        with trio.fail_after(30):
            await until(lambda: "error: no luck" in (embedded.state.advice or ""))
            (programs / "initdb").unlink()
            await until(lambda: "No such file" in (embedded.state.advice or ""))


async def test_preparing_is_tried_again_while_the_server_runs(directory: Path) -> None:
    seen: list[str] = []

    async def prepare(conninfo: str) -> None:
        seen.append(conninfo)
        if len(seen) < 3:
            raise DatabaseUnavailable("not yet")

    async with supervised(own_port(directory), prepare) as embedded:
        await next_start(embedded)

        assert seen == [embedded.conninfo] * 3


async def test_a_server_left_by_a_killed_process_is_stopped_by_its_guard(
    directory: Path,
) -> None:
    with separate(directory) as earlier:
        postmaster = read_postmaster(directory / "data")
        assert postmaster is not None
        earlier.kill()

    with trio.fail_after(10):
        await until(lambda: not postmaster.is_running())
    assert read_postmaster(directory / "data") is None


async def test_a_server_that_still_runs_from_before_makes_way(directory: Path) -> None:
    with separate(directory) as earlier:
        query(earlier.conninfo, "create table kept as select 7 as n")
        os.kill(
            earlier.postmaster, signal.SIGSTOP
        )  # So the guard's request is not heard at once.
        earlier.kill()

    async with supervised(own_port(directory)) as embedded:
        os.kill(earlier.postmaster, signal.SIGCONT)

        assert query(await next_start(embedded), "select n from kept") == [(7,)]


async def test_a_stranger_with_the_old_process_number_is_left_alone(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        await next_start(embedded)
        left = (embedded.files.data / "postmaster.pid").read_text().splitlines()
    with stranger_as(embedded.files.account.user) as stranger:
        left[0] = str(stranger.pid)
        (directory / "data" / "postmaster.pid").write_text("\n".join(left) + "\n")
        async with supervised(own_port(directory)) as embedded:
            await next_start(embedded)

            assert stranger.poll() is None


async def test_data_decides_which_installation_runs_it(directory: Path) -> None:
    older = [path for path in package_directories() if path.parent.name == "pginstall"]
    if not older:
        pytest.skip("the extra with Postgres 16 is not installed")
    async with supervised(own_port(directory, search=tuple(older))) as embedded:
        await next_start(embedded)

    search = (*debian_directories(), *package_directories())
    async with supervised(own_port(directory, search=search)) as embedded:
        (version,) = query(await next_start(embedded), "show server_version_num")[0]

    assert version.startswith("16")


async def test_a_long_path_gets_a_socket_elsewhere(directory: Path) -> None:
    deep = directory / ("d" * 60) / ("e" * 60)

    async with supervised(own_port(deep)) as embedded:
        await next_start(embedded)
        sockets = embedded.files.address.socket_directory

        assert query(embedded.conninfo, "select 1") == [(1,)]
    sockets.rmdir()


async def test_the_bound_on_wal_cannot_be_lifted_from_inside(directory: Path) -> None:
    async with supervised(own_port(directory)) as embedded:
        conninfo = await next_start(embedded)
        query(conninfo, "alter system set max_slot_wal_keep_size = -1")
        query(conninfo, "select pg_reload_conf()")
        os.kill(embedded.postmaster.pid, signal.SIGKILL)

        found = query(await next_start(embedded), "show max_slot_wal_keep_size")

    assert found == [(SERVER_SETTINGS["max_slot_wal_keep_size"],)]


@as_root
def test_an_ordinary_user_runs_it_as_itself() -> None:
    nobody = pwd.getpwnam("nobody")
    with reachable_directory() as directory:
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        with separate(directory / "own", account=nobody) as process:
            found = query(process.conninfo, "select 1")

        assert found == [(1,)]
        assert (directory / "own").stat().st_mode & 0o777 == 0o700
        assert (directory / "own" / "data").stat().st_uid == nobody.pw_uid


@as_root
async def test_root_hands_it_to_nobody_if_there_is_no_better_account(directory: Path) -> None:
    options = own_port(directory, accounts=("no-such-account", "nobody"))
    async with supervised(options) as embedded:
        await next_start(embedded)

        assert embedded.files.data.stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_root
async def test_programs_that_the_account_cannot_reach_are_copied(
    directory: Path, tmp_path: Path
) -> None:
    """pytest's own directory is closed to others, as /root is."""
    original = next(package_directories(), None)
    if original is None:
        pytest.skip("the extra is not installed")
    package = original.parent.parent
    hidden = tmp_path / package.name / original.parent.name
    shutil.copytree(original.parent, hidden, symlinks=True)
    shutil.copytree(f"{package}.libs", tmp_path / f"{package.name}.libs")

    async with supervised(own_port(directory, search=(hidden / "bin",))) as embedded:
        assert query(await next_start(embedded), "select 1") == [(1,)]
        assert embedded.files.binaries.postgres.is_relative_to(directory)
