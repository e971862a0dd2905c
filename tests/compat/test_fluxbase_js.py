"""The JavaScript examples for Fluxbase: the client on timers of its own, the hooks against the server."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.compat.client import JS, node_command
from tests.support.goforward import user_token

if TYPE_CHECKING:
    from tests.support.server import Server

WITHIN_S = 60
#: SolidJS renders once where it takes itself to be on a server.
FLAGS = ("--import", "./examples.mjs", "--experimental-strip-types", "--conditions=browser")


def command(*arguments: str) -> list[str]:
    node, first = node_command(arguments[0])
    return [node, *FLAGS, first, *arguments[1:]]


@pytest.mark.capability("FB-046", "FB-050", "FB-055", "FB-058", "FB-083")
def test_the_client_comes_back_and_says_what_it_hears():
    ended = subprocess.run(
        command("--test", "fluxbase-client.test.mjs"),
        cwd=JS,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


class Page:
    """Both hooks, as they tell what they show."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def show(self, holds) -> dict:
        """Return the first state that is as it should be; there is one within the time of the test."""
        for line in self._process.stdout:
            state = json.loads(line)
            if state["react"] and state["solid"] and holds(state):
                return state
        raise AssertionError(self._process.stderr.read())

    def leave(self) -> None:
        self._process.stdin.close()


@contextmanager
def page(server: Server, **environment: str):
    process = subprocess.Popen(
        command("fluxbase-live.mjs"),
        cwd=JS,
        env={
            **os.environ,
            "FLUXBASE_URL": server.url.replace("http", "ws") + "/realtime",
            "FLUXBASE_CHANNEL": "table:public.messages",
            **environment,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Page(process)
        process.stdin.close()
        assert process.wait(WITHIN_S) == 0, process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("user", ["", "ann"])
@pytest.mark.capability("FB-028", "FB-029", "FB-030", "FB-031", "FB-047", "FB-059", "FB-062")
def test_the_hooks_keep_a_list_of_rows(server: Server, user: str):
    body = f"fluxbase {uuid.uuid4()}"

    def rows(state, kind):
        return [row["sender"] for row in state[kind]["data"] if row["body"] == body]

    def both_have(*senders):
        return lambda state: rows(state, "react") == rows(state, "solid") == list(senders)

    token = user_token(user) if user else ""
    with page(server, FLUXBASE_TOKEN=token) as shown:
        shown.show(lambda state: state["subscribed"] == 2)
        shown.show(lambda state: state["react"]["connected"] and state["solid"]["connected"])
        server.execute(f"INSERT INTO public.messages (sender, body) VALUES ('ann', '{body}')")
        shown.show(both_have("ann"))
        server.execute(f"UPDATE public.messages SET sender = 'bob' WHERE body = '{body}'")
        shown.show(both_have("bob"))
        server.execute(f"DELETE FROM public.messages WHERE body = '{body}'")
        shown.show(both_have())
        shown.leave()
        shown.show(lambda state: state["open"] == 0)
