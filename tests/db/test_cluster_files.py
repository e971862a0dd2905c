"""Claiming a directory: who may, what is made, and what a person is told."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from actors.db.binaries import find_binaries
from actors.db.cluster_files import EmbeddedOptions, claim_cluster
from actors.realtime.errors import DatabaseUnavailable
from tests.support.embedded import own_port, reachable_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres


@pytest.fixture
def directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_second_claim_is_told_who_has_it(directory: Path) -> None:
    options = EmbeddedOptions(directory)

    with (
        claim_cluster(options),
        pytest.raises(DatabaseUnavailable, match=rf"process {os.getpid()}\) is running on"),
        claim_cluster(options),
    ):
        pass


def test_a_claim_ends_with_its_block(directory: Path) -> None:
    options = own_port(directory)

    with claim_cluster(options) as first:
        pass
    with claim_cluster(options) as second:
        assert second == first


def test_the_usual_directory_is_in_the_working_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    monkeypatch.setattr("actors.db.cluster_files.DIRECTORY_OF_ROOT", directory / ".troupe")

    with claim_cluster(EmbeddedOptions()) as files:
        assert files.directory == directory / ".troupe"


def test_what_is_secret_is_closed_to_others(directory: Path) -> None:
    with claim_cluster(EmbeddedOptions(directory)) as files:
        assert mode(files.password_file) == 0o600
        assert mode(files.address.socket_directory) == 0o700
        assert len(files.address.password) >= 32
        assert files.address.password not in repr(files)


def test_a_socket_directory_that_others_may_enter_is_refused(directory: Path) -> None:
    (directory / "run").mkdir(mode=0o755)

    with (
        pytest.raises(DatabaseUnavailable, match="remove it"),
        claim_cluster(EmbeddedOptions(directory)),
    ):
        pass


def test_psql_is_named_by_its_path_if_the_shell_does_not_find_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = find_binaries().directory
    monkeypatch.setenv("PATH", "/nowhere")
    options = EmbeddedOptions(directory, search=(programs,))

    with claim_cluster(options) as files:
        assert files.address.psql_command.startswith(f"{programs}/psql -h {directory}/run ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_data_of_another_user_is_refused(directory: Path) -> None:
    data = directory / "data"
    data.mkdir()
    os.chown(data, 12345, 12345)

    with (
        pytest.raises(DatabaseUnavailable, match=f"{data} does not belong to"),
        claim_cluster(EmbeddedOptions(directory)),
    ):
        pass


def test_a_file_in_place_of_the_directory_is_named(directory: Path) -> None:
    path = directory / "file"
    path.touch()

    with (
        pytest.raises(DatabaseUnavailable, match=rf"{path} cannot hold .*File exists"),
        claim_cluster(EmbeddedOptions(path)),
    ):
        pass


def test_a_wanted_port_that_is_taken_is_named(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(DatabaseUnavailable, match=f"Port {port} of 127.0.0.1 is taken"),
            claim_cluster(EmbeddedOptions(directory, port=port)),
        ):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the server itself")
def test_root_without_another_account_is_told_to_make_one(directory: Path) -> None:
    options = EmbeddedOptions(directory, accounts=("no-such-account",))

    with (
        pytest.raises(DatabaseUnavailable, match="no user no-such-account"),
        claim_cluster(options),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the server itself")
def test_a_directory_that_the_account_cannot_enter_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match="may not enter"),
        claim_cluster(EmbeddedOptions(tmp_path / "inside")),
    ):
        pass
