"""The statements of the page on broadcasts from the database do what it says."""

from __future__ import annotations

import re
import time

import pytest

from tests.compat.client import SUPABASE_JS_V2, running_client
from tests.support.server import PROJECT
from tests.support.tokens import mint

PAGE = (PROJECT / "docs" / "howto" / "broadcast-from-the-database.md").read_text("utf-8")
BLOCKS = re.findall(r"^   ```(\w+)\n(.*?)^   ```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def written(server):
    """The database after the first two steps of the page."""
    server.execute(*(text for language, text in BLOCKS[:2]))
    yield server
    server.execute(
        "drop table public.tasks cascade",
        "drop function public.tell_of_tasks",
        'drop policy "members read rooms" on realtime.messages',
    )


def test_the_page_is_true(written):
    assert [language for language, _ in BLOCKS] == ["sql", "sql", "sql", "js"]
    assert "replay: { since: Date.now() - 3600_000, limit: 10 }" in BLOCKS[3][1]
    since = int(time.time() * 1000) - 3_600_000  # noqa: TID251
    with running_client(SUPABASE_JS_V2, written.url, mint("authenticated")) as client:
        written.execute("insert into public.tasks (room, title) values ('1', 'before')")
        client.join("lobby")
        client.join("room:1", private=True, replay={"since": since, "limit": 10})

        written.execute("insert into public.tasks (room, title) values ('1', 'after')")
        written.execute(BLOCKS[2][1])

        heard = [client.heard.expect("broadcast", topic="room:1") for _ in range(4)]
        assert [one["name"] for one in heard] == ["INSERT", "INSERT", "shout", "frame"]
        assert heard[0]["payload"]["record"]["title"] == "before"
        assert [one["meta"].get("replayed") for one in heard] == [True, None, None, None]
        assert heard[2]["payload"]["text"] == "lunch?"
        assert heard[3]["binary"] == "00ff"
        lobby = client.heard.expect("broadcast", topic="lobby")
        assert lobby["payload"]["text"] == "hello, world"
