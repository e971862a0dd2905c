"""The process: what signals do to it at any time of its life."""

from __future__ import annotations

import signal
import socket
import sys

import pytest

from tests.support import subprocesses
from tests.support.server import PROJECT, Server
from tests.support.tokens import mint
from tests.support.web import upgrade_head

# Sends itself signals when a module is first asked for, or a log line written, then goes on as `python -m actors.main`.
STARTED_LIKE_THAT = """
import builtins, os, signal, sys
from actors import main
ordinary = builtins.__import__
module, count = sys.argv[1], int(sys.argv[2])
def importing(name, *arguments, **keywords):
    if name == module:
        builtins.__import__ = ordinary
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGTERM)
    return ordinary(name, *arguments, **keywords)
builtins.__import__ = importing
sys.exit(main.main(["--no-database", "--port", "0"]))
"""
MODULES = ["actors.command_line", "structlog", "trio", "actors.node", "actors.welcome"]


def start_and_signal(module: str, count: int):
    process = subprocesses.start(
        [sys.executable, "-c", STARTED_LIKE_THAT, module, str(count)], cwd=str(PROJECT)
    )
    output, complaints = process.communicate(timeout=subprocesses.PATIENCE_S)
    return process.returncode, output + complaints


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_signal_while_the_server_is_imported_ends_it_in_peace(module):
    status, said = start_and_signal(module, 1)

    assert (status, "node.draining" in said, "Traceback" in said) == (0, True, False)


@pytest.mark.slow
def test_a_second_signal_while_it_is_imported_ends_it_at_once():
    status, said = start_and_signal("trio", 2)

    assert (status, said) == (128 + signal.SIGTERM, "")


@pytest.fixture
def server(tmp_path):
    settings = {"REALTIME_NO_DATABASE": "1", "REALTIME_GRACE_S": "60"}
    server = Server(tmp_path, settings)
    server.start()
    yield server
    if server.is_running:
        server.stop()


def open_websocket(server: Server) -> socket.socket:
    """Return a socket behind its handshake; it never answers a CLOSE frame."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.settimeout(subprocesses.PATIENCE_S)
    client.sendall(upgrade_head(f"/socket/websocket?vsn=2.0.0&apikey={mint()}"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return client


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_peace(server, how):
    assert server.stop(how) == 0


@pytest.mark.slow
def test_a_draining_server_takes_nobody_in_and_a_second_signal_ends_it(server):
    with open_websocket(server) as client:
        server.send_signal(signal.SIGTERM)
        assert (
            client.recv(100) == b"\x88\x02\x03\xf4"
        )  # CLOSE 1012, as the first of all clients

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
        assert server.stop(signal.SIGTERM) == 128 + signal.SIGTERM
