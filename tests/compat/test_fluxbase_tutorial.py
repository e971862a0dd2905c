"""The tutorial of Fluxbase's protocol: its program hears what its SQL writes."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.compat.client import JS, node_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

PAGE = JS.parents[2] / "docs" / "tutorial" / "fluxbase.md"
BLOCK = re.compile(r"^```(js|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.capability("FB-062")
def test_the_program_of_the_page_hears_the_row_of_the_page(server: Server, tmp_path: Path):
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    (program,) = [text for kind, text in blocks if kind == "js"]
    insert, make_live = [text for kind, text in blocks if kind == "sql"]
    script = tmp_path / "listen.mjs"
    script.write_text(program, "utf-8")
    node, _ = node_command("fluxbase-live.mjs")
    address = server.url.replace("http", "ws") + "/realtime"
    with subprocess.Popen(
        [node, str(script)],
        env={**os.environ, "REALTIME": address},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "subscribed to table:public.messages\n"
            server.execute(insert)
            assert process.stdout.readline() == "INSERT Hello from SQL\n"
        finally:
            process.kill()
    try:
        server.execute(*filter(str.strip, make_live.split(";")))
        server.execute("SELECT disable_realtime('public', 'products')")
    finally:
        server.execute("DROP TABLE IF EXISTS products")
