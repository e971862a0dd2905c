"""Where the programs of Postgres are looked for, and what is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.db.binaries import (
    Binaries,
    debian_directories,
    find_binaries,
    package_directories,
    path_directories,
)
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def install(directory: Path, version: str = "15.18 (Debian)", *, initdb: bool = True) -> Path:
    """Write programs that report `version` and do nothing else."""
    directory.mkdir(parents=True)
    for program in ("postgres", "initdb") if initdb else ("postgres",):
        path = directory / program
        path.write_text(f"#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")
        path.chmod(0o755)
    return directory


def test_the_first_usable_directory_wins(tmp_path: Path) -> None:
    first, second = install(tmp_path / "a"), install(tmp_path / "b", "16.4")

    assert find_binaries([first, second]) == Binaries(first, 15)
    assert find_binaries([second, first]) == Binaries(second, 16)


def test_a_wanted_version_is_found_behind_others(tmp_path: Path) -> None:
    first, second = install(tmp_path / "a"), install(tmp_path / "b", "16.4")

    assert find_binaries([first, second], version=16).directory == second


def test_a_wanted_version_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="written by Postgres 14"):
        find_binaries([install(tmp_path / "a")], version=14)


def test_nothing_found_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(
        DatabaseUnavailable, match=r"apt install postgresql.*troupe\[embedded\]"
    ):
        find_binaries([tmp_path, tmp_path / "absent"])


def test_a_directory_without_initdb_is_passed_over(tmp_path: Path) -> None:
    client_only, whole = install(tmp_path / "a", initdb=False), install(tmp_path / "b")

    assert find_binaries([client_only, whole]).directory == whole


def test_a_version_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        find_binaries([install(tmp_path / "a", "13.16")])


def test_a_beta_version_is_understood(tmp_path: Path) -> None:
    assert find_binaries([install(tmp_path / "a", "19beta1")]).version == 19


def test_a_program_that_does_not_run_here_is_passed_over(tmp_path: Path) -> None:
    foreign, whole = install(tmp_path / "a"), install(tmp_path / "b")
    (foreign / "postgres").write_bytes(b"\x7fELF of another machine")

    assert find_binaries([foreign, whole]).directory == whole


def test_links_lead_to_the_real_directory(tmp_path: Path) -> None:
    real, links = install(tmp_path / "real"), tmp_path / "links"
    links.mkdir()
    (links / "postgres").symlink_to(real / "postgres")

    assert find_binaries([links]).directory == real


def test_the_path_is_searched_in_its_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'one'}::{tmp_path / 'two'}")

    assert list(path_directories()) == [tmp_path / "one", tmp_path / "two"]


def test_the_highest_version_of_debian_comes_first(tmp_path: Path) -> None:
    for name in ("9", "15", "17", "common"):
        (tmp_path / name / "bin").mkdir(parents=True)

    found = [path.parent.name for path in debian_directories(tmp_path)]

    assert found == ["17", "15", "9"]


def test_the_package_holds_usable_programs() -> None:
    directories = list(package_directories())
    if not directories:
        pytest.skip("the extra is not installed")

    binaries = find_binaries(directories)

    assert binaries.version == 18
    assert binaries.postgres.is_file()
    assert (binaries.installation / "share").is_dir()
