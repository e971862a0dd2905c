"""The JavaScript examples for GoForward: the client on timers of its own, and all of them against the server."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.compat.client import JS, node_command
from tests.support.extent import is_long
from tests.support.goforward import user_token

if TYPE_CHECKING:
    from tests.support.server import Server

WITHIN_S = 60
EXAMPLES = JS.parents[2] / "examples" / "goforward"


def run(*arguments: str, within_s: float = WITHIN_S, **environment: str) -> str:
    """Run Node.js in the folder of the scripts, and return what it said; it must end well."""
    node, *rest = node_command(arguments[0])
    ended = subprocess.run(
        [node, *rest, *arguments[1:]],
        cwd=JS,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.capability("GF-063", "GF-064", "GF-065", "GF-066", "GF-067", "GF-068", "GF-069")
@pytest.mark.capability("GF-127", "GF-128", "GF-135", "GF-153")
def test_the_client_comes_back_pings_and_dispatches():
    run("--test", "goforward-client.test.mjs")


@pytest.mark.capability("GF-070", "GF-071", "GF-072", "GF-073", "GF-074")
def test_client_hook_and_component_work_with_the_server(server: Server):
    run(
        "--import",
        "./examples.mjs",
        "--test",
        "goforward-live.test.mjs",
        GOFORWARD_URL=server.url.replace("http", "ws"),
        GOFORWARD_ALICE=user_token("alice"),
        GOFORWARD_BOB=user_token("bob"),
    )


@pytest.mark.capability("GF-141")
def test_a_hundred_sockets_hear_each_other_every_second(server: Server):
    seconds = 60 if is_long() else 3
    said = run(
        str(EXAMPLES / "load-test.js"),
        user_token("load"),
        server.url.replace("http", "ws"),
        "100",
        str(seconds),
        within_s=seconds + WITHIN_S,
    )

    assert json.loads(said) == {
        "sockets": 100,
        "sent": 100 * seconds,
        "expected": 10_000 * seconds,
        "received": 10_000 * seconds,
    }
