"""The script and the settings of the page on keys are used as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.compat.test_keys import handshake
from tests.support.server import PROJECT, running_server
from tests.support.tokens import mint

PAGE = (PROJECT / "docs" / "howto" / "bring-your-own-keys.md").read_text("utf-8")
SETTING = re.compile(r"^ *(REALTIME_\w+)=(.+)$", re.MULTILINE)


def blocks(language: str) -> list[str]:
    """Return the blocks of code of the page, without the indentation of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def settings(block: str) -> dict[str, str]:
    values = {name: value.strip("'") for name, value in SETTING.findall(block)}
    return values | {"REALTIME_JWT_SECRET": "", "REALTIME_NO_DATABASE": "true"}


@pytest.fixture
def sh(tmp_path):
    """The blocks of commands, in the order of the page, with files in a directory of their own."""
    files = ("jwt-secret", "jwks.json")
    return [
        re.sub(rf"({'|'.join(files)})$", rf"{tmp_path}/\1", block, flags=re.MULTILINE)
        if "make run" in block
        else block
        for block in [re.sub(r" \\$", "", text, flags=re.MULTILINE) for text in blocks("sh")]
    ]


def run(command: list[str], directory) -> str:
    finished = subprocess.run(
        command, cwd=directory, check=True, capture_output=True, text=True, timeout=60
    )
    return finished.stdout.strip()


def may_enter(server, token) -> bool:
    return handshake(f"{server.websocket_url}?apikey={token}") == {"status": 101}


def test_a_server_takes_the_secret_of_the_page(tmp_path, sh):
    run(["sh", "-c", sh[0]], tmp_path)
    secret = (tmp_path / "jwt-secret").read_text().strip()

    assert (tmp_path / "jwt-secret").stat().st_mode & 0o077 == 0
    with running_server(tmp_path / "data", settings(sh[1])) as server:
        assert may_enter(server, mint(secret=secret))
        assert not may_enter(server, mint())


def test_a_server_takes_the_keys_and_the_token_of_the_page(tmp_path, sh):
    (script,) = blocks("python")
    token = run([sys.executable, "-c", script], tmp_path)

    with running_server(tmp_path / "data", settings(sh[2])) as server:
        assert may_enter(server, token)
        assert not may_enter(server, mint())


def test_a_server_starts_with_an_address_that_does_not_answer(tmp_path, sh):
    nobody = re.sub(r"https://\S+", "http://127.0.0.1:1/jwks.json", sh[3])

    with running_server(tmp_path / "data", settings(nobody)) as server:
        assert not may_enter(server, mint())
        assert server.said.passed_over("keys.unavailable") != []


def test_a_server_refuses_tokens_that_are_meant_for_others(tmp_path, sh):
    run(["sh", "-c", sh[0]], tmp_path)
    secret = (tmp_path / "jwt-secret").read_text().strip()

    with running_server(tmp_path / "data", settings(sh[1] + sh[4])) as server:
        issuer = "https://auth.example.com/auth/v1"
        assert may_enter(server, mint(secret=secret))
        assert may_enter(server, mint(secret=secret, iss=issuer))
        assert not may_enter(server, mint(secret=secret, iss="https://elsewhere.example"))
