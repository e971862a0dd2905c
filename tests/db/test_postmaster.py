"""Reading `postmaster.pid`, in every state a server may have left it in."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from actors.db.postmaster import Postmaster, clear_leftovers, read_postmaster

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = ["{pid}", "/data", "1700000000", "54322", "/run", "127.0.0.1", "  123  456", "ready   "]


def write(data: Path, lines: list[str], pid: int) -> None:
    (data / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines).format(pid=pid))


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    write(tmp_path, WHOLE, 42)

    assert read_postmaster(tmp_path) == Postmaster(tmp_path, 42, 54322, is_ready=True)


def test_a_server_that_still_starts_is_not_ready(tmp_path: Path) -> None:
    write(tmp_path, [*WHOLE[:-1], "starting"], 42)

    found = read_postmaster(tmp_path)

    assert found is not None
    assert not found.is_ready


@pytest.mark.parametrize("length", range(8))
def test_a_file_that_is_being_written_is_not_ready(tmp_path: Path, length: int) -> None:
    write(tmp_path, WHOLE[:length], 42)

    found = read_postmaster(tmp_path)

    assert found is None if length == 0 else found is not None and not found.is_ready


@pytest.mark.parametrize("content", ["", "\n", "rubbish\n", "-17\n/data\n"])
def test_what_names_no_server_is_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content)

    assert read_postmaster(tmp_path) is None


def test_no_file_is_nothing(tmp_path: Path) -> None:
    assert read_postmaster(tmp_path) is None


def test_a_dead_process_is_not_running(tmp_path: Path) -> None:
    assert not Postmaster(tmp_path, dead_pid(), None, is_ready=False).is_running()


def test_a_process_is_known_by_its_working_directory(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        assert Postmaster(tmp_path, process.pid, None, is_ready=False).is_running()
        assert not Postmaster(tmp_path / "..", process.pid, None, is_ready=False).is_running()
        process.kill()


def test_the_file_of_a_dead_server_is_left_to_postgres(tmp_path: Path) -> None:
    write(tmp_path, WHOLE, dead_pid())

    clear_leftovers(tmp_path, tmp_path)

    assert (tmp_path / "postmaster.pid").exists()


def test_the_file_that_names_a_stranger_and_old_sockets_are_removed(tmp_path: Path) -> None:
    write(tmp_path, WHOLE, os.getpid())
    (tmp_path / ".s.PGSQL.54322").touch()
    (tmp_path / ".s.PGSQL.54322.lock").touch()

    clear_leftovers(tmp_path, tmp_path)

    assert list(tmp_path.iterdir()) == []
