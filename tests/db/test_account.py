"""What another account may reach, judged by modes along the whole path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from actors.db.account import Account, runnable_binaries
from actors.db.binaries import Binaries
from tests.support.embedded import reachable_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRANGER = Account("stranger", os.getuid() + 1000, os.getgid() + 1000, is_ours=False)


@pytest.fixture
def program() -> Iterator[Path]:
    """A program that everybody may run, in a directory of its own."""
    with reachable_directory() as directory:
        path = directory / "bin" / "postgres"
        path.parent.mkdir(mode=0o755)
        path.touch(mode=0o755)
        path.chmod(0o755)
        yield path


def test_an_open_path_is_reached(program: Path) -> None:
    assert STRANGER.may_reach(program)


def test_a_closed_directory_above_is_in_the_way(program: Path) -> None:
    program.parent.parent.chmod(0o750)

    assert not STRANGER.may_reach(program)


def test_a_program_that_may_not_be_run_is_not_reached(program: Path) -> None:
    program.chmod(0o744)

    assert not STRANGER.may_reach(program)


def test_the_group_of_the_account_counts(program: Path) -> None:
    program.chmod(0o750)
    member = Account("member", STRANGER.uid, program.stat().st_gid, is_ours=False)

    assert member.may_reach(program)


def test_a_link_leads_to_what_counts(program: Path) -> None:
    link = program.parent.parent / "link"
    link.symlink_to(program)
    program.chmod(0o700)

    assert not STRANGER.may_reach(link)


def test_our_own_account_needs_no_copy(program: Path, tmp_path: Path) -> None:
    ours = Account("ours", os.getuid(), os.getgid(), is_ours=True)
    binaries = Binaries(program.parent, 15)
    program.parent.parent.chmod(0o700)

    assert runnable_binaries(binaries, ours, tmp_path / "copy") == binaries


def test_a_copy_is_open_to_all_whatever_the_original_was(program: Path, tmp_path: Path) -> None:
    program.chmod(0o700)
    secret = program.with_name("data")
    secret.touch(mode=0o600)

    copy = runnable_binaries(Binaries(program.parent, 15), STRANGER, tmp_path / "copy")

    assert copy.directory.is_relative_to(tmp_path)
    assert copy.postgres.stat().st_mode & 0o777 == 0o755
    assert (copy.directory / "data").stat().st_mode & 0o777 == 0o644
