"""The statements and the JavaScript of the guide to supabase-js do what it says, and its hook has no gap."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager

import pytest

from tests.compat.client import JS, node_command
from tests.support import subprocesses
from tests.support.server import PROJECT

PAGE = (PROJECT / "docs" / "howto" / "use-supabase-js.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ADDRESS = "http://localhost:8080"
KEY = "process.env.ANON_KEY"
MODULE = "./live-rows.js"
FLAGS = ("--import", "./examples.mjs", "--import", "./gateway.mjs", "--conditions=browser")
# What comes behind the page's own lines: a test can let them leave, and see that a handler may come too late.
BEHIND = """
globalThis.leave = leave
globalThis.untrack = () => floor.untrack()
try { floor.on('presence', { event: 'sync' }, () => {}) } catch { console.log('too late') }
"""


class Script:
    """A running script; `said` is what it printed."""

    def __init__(self, process: subprocess.Popen[str], said: subprocesses.Reports) -> None:
        self._process = process
        self.said = said

    def order(self, order: str, **details: object) -> None:
        self._process.stdin.write(json.dumps({"order": order, **details}) + "\n")

    def lines(self, *texts: str) -> None:
        """Wait until it has printed these lines, in any order."""
        for text in texts:
            self.said.expect("line", text=text)


@contextmanager
def running(script: str, *arguments: str):
    node, first = node_command(script)
    process = subprocesses.start([node, *FLAGS, first, *arguments], cwd=str(JS))
    said = subprocesses.Reports(process.stdout)
    complaints = subprocesses.Reports(process.stderr)
    try:
        yield Script(process, said)
    finally:
        process.kill()
        process.stdin.close()
        process.wait()
        said.close()
        complaints.close()


@pytest.fixture
def written(target):
    """The database after the statements of the page, and the page as a script."""
    (statements,) = (text for language, text in BLOCKS if language == "sql")
    code = "".join(text for language, text in BLOCKS if language == "js")
    assert [code.count(text) for text in (ADDRESS, KEY, MODULE)] == [1, 1, 1]
    code = code.replace(ADDRESS, target.url).replace(KEY, repr(target.key))
    script = JS / "readme-guide.mjs"
    script.write_text(code.replace(MODULE, "../../../examples/supabase/live-rows.js") + BEHIND)
    target.execute(*filter(str.strip, statements.split(";")))
    yield script.name
    script.unlink()
    target.execute("drop table public.positions")


@pytest.mark.capability("SB-173", "SB-174", "SB-180", "SB-199", "AG-046")
@pytest.mark.capability(
    "AG-013", "AG-014", "AG-019", "AG-028", "AG-034", "AG-036", "AG-037", "AG-039"
)
def test_the_page_is_true(target, written):
    with running(written) as script:
        script.lines("ok Subscribed to PostgreSQL", "price 150.25", "too late")
        script.lines("came ann online", "here are [ 'ann' ]")
        asked = script.said.expect("fetch")["path"]
        script.order("rows", rows=[])
        target.execute(
            "insert into positions values (1, 'bob', 'XYZ', 1), (2, 'ann', 'ABC', 5)",
            "update positions set size = 7",
        )
        script.lines("opened ABC", "from 5 to 7", "rows [ 'ABC' ]")
        target.execute("delete from positions")
        script.lines("closed ABC", "rows []")
        script.order("call", name="untrack")
        script.lines("went ann online")
        script.order("call", name="leave")

        assert asked == "/rest/v1/positions?select=*&user_id=eq.ann"
        assert script.said.expect("disconnected")["open"] == 0
        assert script.said.passed_over("line", text="opened XYZ") == []


@pytest.fixture
def table(target, numbers):
    name = f"held_{next(numbers)}"
    target.execute(
        f"create table {name} (id int primary key, user_id text, size int)",
        f"alter table {name} replica identity full",
        f"grant select on {name} to anon",
        f"alter publication supabase_realtime add table {name}",
        f"insert into {name} values (1, 'ann', 1)",
    )
    yield name
    target.execute(f"drop table {name}")


@pytest.mark.capability("AG-022", "AG-023", "AG-024", "AG-030", "AG-035", "AG-038")
def test_the_hook_shows_what_there_is_whenever_it_was_written(target, table):
    before = {"id": 1, "user_id": "ann", "size": 1}
    with running("live-rows.mjs", target.url, target.key, table) as script:
        script.said.expect("fetch")
        # The rows were read before this was written, and come after it was heard of.
        target.execute(
            f"insert into {table} values (2, 'ann', 2)",
            f"update {table} set size = 5 where id = 1",
        )
        for _ in range(2):
            script.said.expect("row")
        script.order("rows", rows=[before])
        script.said.expect("shown", rows=[[1, 5], [2, 2]])

        target.execute(f"delete from {table} where id = 1")
        script.said.expect("shown", rows=[[2, 2]])

        script.order("drop")
        script.said.expect("disconnected")
        target.execute(f"insert into {table} values (3, 'ann', 3)")
        script.said.expect("fetch")
        script.order("rows", rows=[{"id": 2, "size": 2}, {"id": 3, "size": 3}])
        script.said.expect("shown", rows=[[2, 2], [3, 3]])

        script.order("call", name="leave")
        assert script.said.expect("disconnected")["open"] == 0


@pytest.mark.capability("AG-029")
def test_the_list_buffers_batches_and_tries_again():
    node, first = node_command("live-rows.test.mjs")
    ended = subprocess.run(
        [node, "--import", "./examples.mjs", "--test", first],
        cwd=JS,
        capture_output=True,
        text=True,
        timeout=subprocesses.PATIENCE_S,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(
            "A subscription without a filter has every row",
            marks=pytest.mark.capability("AG-027"),
        ),
        pytest.param("## 2. Name channels", marks=pytest.mark.capability("AG-033")),
        pytest.param(
            "## 1. Find what has to be live, and choose",
            marks=pytest.mark.capability("AG-031", "AG-032"),
        ),
    ],
)
def test_the_page_gives_its_advice(words):
    assert words in PAGE
