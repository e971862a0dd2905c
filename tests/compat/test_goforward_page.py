"""The page of the examples in a real browser: it connects by itself, sends, and shows what is said."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import trio

from tests.compat.test_goforward_js import EXAMPLES
from tests.support.browser import chromium, find_chromium
from tests.support.goforward import open_channel, user_token

if TYPE_CHECKING:
    from tests.support.server import Server

WITHIN_S = 120
TRAFFIC = "[...document.querySelectorAll('#traffic li')].map((line) => line.textContent)"


@contextmanager
def served_examples():
    """Serve the folder of the examples, and return its address."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--directory", str(EXAMPLES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        # It says where: Serving HTTP on 127.0.0.1 port 12345 …
        yield f"http://127.0.0.1:{process.stdout.readline().split()[5]}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.capability("GF-140")
async def test_the_page_connects_sends_and_shows_the_traffic(server: Server):
    find_chromium()
    url = server.url.replace("http", "ws")
    query = urlencode({"url": url, "channel": "page", "token": user_token("pat")})
    with trio.fail_after(WITHIN_S), served_examples() as address:
        async with chromium() as page, open_channel(server.port, "page", "bob") as bob:
            await page.open(f"{address}/test_websocket.html?{query}")
            await page.until("document.getElementById('status').textContent === 'connected'")
            await page.evaluate("document.getElementById('send').click()")
            message = await bob.expect("message", "chat_message")
            assert (message["user_id"], message["payload"]) == (
                "pat",
                {"message": "Hello everyone!"},
            )
            await bob.send("broadcast", "chat_message", message="Hello page")
            await page.until(f"{TRAFFIC}.some((text) => text.includes('Hello page'))")
            await page.evaluate("document.getElementById('ping').click()")
            await page.until(f"{TRAFFIC}.some((text) => text.includes('pong'))")
            await page.evaluate("document.getElementById('disconnect').click()")
            left = await bob.expect("presence", "leave")
            assert left["payload"]["user_id"] == "pat"
            assert page.complaints == []
