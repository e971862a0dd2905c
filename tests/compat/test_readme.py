"""The lines of supabase-js that the README shows are run as they stand there."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager

import pytest

from tests.compat.client import JS, node_command
from tests.support import subprocesses
from tests.support.server import PROJECT
from tests.support.tokens import mint

BLOCK = re.compile(r"```js\n(.*?)```", re.DOTALL)
ADDRESS = "http://localhost:8080"
KEY = "process.env.ANON_KEY"
VERSION = "vsn: '2.0.0'"


def lines_of_the_readme() -> str:
    [block] = BLOCK.findall((PROJECT / "README.md").read_text("utf-8"))
    return block


@contextmanager
def running_lines(server, vsn):
    """Run the block; the address, the key and the version are the only things a reader replaces."""
    block = lines_of_the_readme()
    assert [block.count(text) for text in (ADDRESS, KEY, VERSION)] == [1, 1, 1]
    code = block.replace(ADDRESS, server.url).replace(KEY, repr(mint()))
    # Node looks for packages from the place of the file on, so the file lies where they are.
    script = JS / f"readme-{vsn}.mjs"
    script.write_text(code.replace(VERSION, f"vsn: '{vsn}'"), "utf-8")
    process = subprocesses.start(node_command(script.name), cwd=str(JS))
    said, complaints = (
        subprocesses.Reports(process.stdout),
        subprocesses.Reports(process.stderr),
    )
    try:
        yield said
    finally:
        process.kill()
        process.stdin.close()
        process.wait()
        said.close()
        complaints.close()
        script.unlink()


def what_node_prints(expression: str) -> str:
    """Return how this version of Node shows a value, which differs between versions."""
    command = [*node_command("--eval"), f"console.log('heard', {expression})"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("vsn", "what_bytes_become"),
    [("1.0.0", "{}"), ("2.0.0", "new Uint8Array([1, 2, 3]).buffer")],
)
@pytest.mark.capability("SB-171")
def test_the_lines_hear_their_own_broadcasts_and_rows_written_meanwhile(
    server, vsn, what_bytes_become
):
    with running_lines(server, vsn) as said:
        said.expect("line", text=what_node_prints("{ from: 'me' }"))
        said.expect("line", text=what_node_prints(what_bytes_become))

        server.execute(
            "INSERT INTO public.messages (body) VALUES ('from the readme')",
            "UPDATE public.messages SET body = 'changed' WHERE body = 'from the readme'",
            "DELETE FROM public.messages WHERE body = 'changed'",
        )

        said.expect("line", text="INSERT from the readme")
        said.expect("line", text="UPDATE changed")
        said.expect("line", text="DELETE undefined")


def test_there_are_ten_lines():
    assert len([line for line in lines_of_the_readme().splitlines() if line]) == 10
