"""Ports, socket paths, and the texts that are made of them."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict

from actors.db import address as address_module
from actors.db.address import Address, choose_port, socket_directory
from actors.realtime.errors import DatabaseUnavailable

AWKWARD = Path("/home/ann o'hara/a\\b/run")


def test_the_connection_string_survives_awkward_paths() -> None:
    conninfo = Address(AWKWARD, 54322, "secret").conninfo

    assert conninfo_to_dict(conninfo) == {
        "host": str(AWKWARD),
        "port": "54322",
        "user": "postgres",
        "dbname": "postgres",
    }


def test_the_psql_command_survives_awkward_paths() -> None:
    command = Address(AWKWARD, 54322, "secret").psql_command

    assert shlex.split(command) == [
        *("psql", "-h", str(AWKWARD), "-p", "54322", "-U", "postgres", "postgres")
    ]


def test_the_password_is_in_the_url_and_nowhere_else() -> None:
    address = Address(Path("/run/x"), 54322, "a/b@c")

    assert urlsplit(address.url).hostname == "127.0.0.1"
    assert conninfo_to_dict(address.url)["password"] == "a/b@c"
    assert "a/b@c" not in address.conninfo + address.psql_command + repr(address)


def test_a_taken_usual_port_gives_way_to_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(address_module, "USUAL_PORT", taken)

        chosen = choose_port(None)

    assert chosen != taken
    assert chosen > 1023


def test_a_taken_port_that_was_asked_for_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]

        with pytest.raises(DatabaseUnavailable, match=str(taken)):
            choose_port(taken)


def test_the_port_of_our_own_earlier_server_may_be_taken_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as earlier:
        port = earlier.getsockname()[1]

        assert choose_port(port, in_use_by_ours=port) == port


def test_the_socket_lies_beside_the_data_when_its_path_fits() -> None:
    fits = Path("/" + "x" * 87)
    too_long = Path("/" + "x" * 88)

    assert socket_directory(fits, 7) == fits
    assert socket_directory(too_long, 7).parent == Path("/tmp")


def test_different_data_never_share_a_socket_directory() -> None:
    first, second = Path("/" + "x" * 100), Path("/" + "y" * 100)

    assert socket_directory(first, 7) != socket_directory(second, 7)
    assert socket_directory(first, 7) == socket_directory(first, 7)
