"""The policies and commands of the page on private channels are used as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.compat.client import SUPABASE_JS_V2, running_client
from tests.support.server import PROJECT, running_server
from tests.support.tokens import SECRET

PAGE = (PROJECT / "docs" / "howto" / "private-channels.md").read_text("utf-8")
MEMBER, STRANGER = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "ab")
TOPIC = "room:blue"


def blocks(language: str) -> list[str]:
    """Return the blocks of code of the page, without the indentation of a list."""
    return [
        re.sub(r"^   ", "", block, flags=re.MULTILINE)
        for block in re.findall(rf"^ *```{language}\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    ]


POLICIES, ASKED = blocks("sql")
MAKE, CHECK, EXAMINE = blocks("sh")


@pytest.fixture(scope="module")
def server():
    """A server of our own, for policies hold for everybody; the account of its Postgres may enter the directory."""
    directory = Path(tempfile.mkdtemp(prefix="troupe-"))
    directory.chmod(0o755)
    with running_server(directory / "data") as server:
        server.execute(POLICIES)
        yield server
    shutil.rmtree(directory, ignore_errors=True)


def run(script: str, **variables: str) -> str:
    """Run commands of the page; `troupe` is the one of this work tree."""
    troupe = shlex.join([sys.executable, "-m", "actors.main"])
    finished = subprocess.run(
        ["sh", "-c", f'troupe() {{ {troupe} "$@"; }}\n{script}'],
        cwd=PROJECT,
        env={"REALTIME_JWT_SECRET": SECRET, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.stderr == ""
    return finished.stdout


def token(subject: str) -> str:
    return run(MAKE.replace(MEMBER, subject) + '\necho "$TOKEN"').split()[-1]


def conninfo(server) -> str:
    _psql, _h, host, _p, port, _u, user, database = shlex.split(server.ready["psql"])
    return psycopg.conninfo.make_conninfo(host=host, port=port, user=user, dbname=database)


def test_a_member_is_let_in_and_a_stranger_is_not(server):
    with running_client(SUPABASE_JS_V2, server.url, token(MEMBER)) as member:
        member.join(TOPIC, private=True)
    with running_client(SUPABASE_JS_V2, server.url, token(STRANGER)) as stranger:
        stranger.subscribe(TOPIC, private=True)
        stranger.heard.expect("status", topic=TOPIC, status="CHANNEL_ERROR")
    assert server.said.expect("join.refused")["code"] == "Unauthorized"


def test_a_token_that_is_made_is_good():
    assert "GOOD" in run(MAKE)
    assert "GOOD" in run(CHECK, TOKEN=token(MEMBER))


def test_the_doctor_has_the_lines_that_are_to_be_looked_at(server):
    said = run(EXAMINE, DATABASE_URL=conninfo(server))

    for subject in ("role", "probes", "partitions", "policies"):
        assert re.search(rf"^OK +{subject} ", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("subject", "found"), [(MEMBER, ["broadcast", "presence"]), (STRANGER, [])]
)
def test_who_asks_the_database_himself_gets_the_same_answer(server, subject, found):
    rows = []
    with psycopg.connect(conninfo(server), autocommit=True) as connection:
        for statement in ASKED.replace(MEMBER, subject).split(";\n"):
            cursor = connection.execute(statement)
            if "select extension" in statement:
                rows = sorted(extension for (extension,) in cursor.fetchall())

    assert rows == found
