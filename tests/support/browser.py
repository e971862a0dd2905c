"""A real Chromium without a window, driven over its DevTools protocol.

`chromium(path)` runs one for the length of a `with` block and opens a page in it.
The page notes every address it asked for, everything it complained about, and every violation of its policy.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import trio
from attrs import define, field

from tests.support.requirements import require
from tests.support.websocket import WebSocketClient, open_websocket

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "Chromium is missing: apt-get install chromium."
#: Seconds for one answer of the browser, and for its start on a machine that does much else.
PATIENCE_S = 60.0
ANNOUNCEMENT = b"DevTools listening on "
ARGUMENTS = (
    "--headless=new",
    # Its sandbox needs privileges that containers and root do not have; nothing is opened but our own page.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "about:blank",
)
# Runs in the page before anything of its own.
WATCH_POLICY = """
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) =>
        violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
# Resolves as soon as an expression is true, looked at whenever the document changes.
UNTIL = """
    new Promise((resolve) => {
        const look = () => {
            const value = %s;
            if (value) { observer.disconnect(); resolve(value); }
        };
        const observer = new MutationObserver(look);
        observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
        look();
    })
"""


def find_chromium() -> str:
    """Return where Chromium is; without one the test is skipped, or fails under CI."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    require(found, MISSING)
    assert found is not None
    return found


@define
class Page:
    """One page; `addresses` are those it asked for, WebSockets included."""

    _client: WebSocketClient
    _session: str = ""
    addresses: list[str] = field(factory=list)
    complaints: list[str] = field(factory=list)
    _number: int = 0
    _answers: dict[int, Any] = field(factory=dict)
    _arrived: trio.Condition = field(factory=trio.Condition)
    _loaded: trio.Event = field(factory=trio.Event)

    async def open(self, url: str) -> None:
        """Go to an address, and wait until the document is there."""
        self._loaded = trio.Event()
        await self.call("Page.navigate", url=url)
        with trio.fail_after(PATIENCE_S):
            await self._loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, of a promise what comes of it."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true, and return its value."""
        return await self.evaluate(UNTIL % expression)

    async def violations(self) -> list[str]:
        """Return where the page went against its own policy."""
        return await self.evaluate("violations")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser something, and return the answer."""
        self._number += 1
        number = self._number
        request = {"id": number, "method": method, "params": params}
        if self._session:
            request["sessionId"] = self._session
        await self._client.send(json.dumps(request))
        with trio.fail_after(PATIENCE_S):
            async with self._arrived:
                while number not in self._answers:
                    await self._arrived.wait()
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    async def listen(self) -> None:
        """Take in what the browser says, until it ends."""
        while True:
            message = json.loads(await self._client.receive())
            if "id" in message:
                async with self._arrived:
                    self._answers[message["id"]] = message
                    self._arrived.notify_all()
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.addresses.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.addresses.append(params["url"])
            case "Log.entryAdded":
                entry = params["entry"]
                self.complaints.append(f"{entry['source']} {entry['level']}: {entry['text']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))

    async def attach(self) -> None:
        """Make the page and have it watched from its first moment on."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH_POLICY)


@asynccontextmanager
async def chromium():
    """Run a Chromium of its own profile, and return a page."""
    program = find_chromium()
    profile = Path(tempfile.mkdtemp(prefix="troupe-chromium-"))
    command = [program, f"--user-data-dir={profile}", *ARGUMENTS]
    # Debian's start script complains about the shell that it finds; what it says is read only for the address.
    process = await trio.lowlevel.open_process(
        command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    try:
        with trio.fail_after(PATIENCE_S):
            port, target, rest = await announced(process)
        async with open_websocket(port, target) as client, trio.open_nursery() as nursery:
            nursery.start_soon(drain, rest)
            page = Page(client)
            nursery.start_soon(page.listen)
            await page.attach()
            yield page
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def announced(process: trio.Process) -> tuple[int, str, trio.abc.ReceiveStream]:
    """Return port and path at which the browser listens, and the stream it says more on."""
    stream = process.stderr
    assert stream is not None
    said = b""
    while b"\n" not in said.partition(ANNOUNCEMENT)[2]:
        data = await stream.receive_some()
        assert data, f"Chromium ended: {said.decode(errors='replace')}"
        said += data
    address = said.partition(ANNOUNCEMENT)[2].partition(b"\n")[0].decode()
    host, _, path = address.removeprefix("ws://").partition("/")
    return int(host.rpartition(":")[2]), f"/{path}", stream


async def drain(stream: trio.abc.ReceiveStream) -> None:
    """Let the browser say what it likes, so that it never waits for us."""
    while await stream.receive_some():
        pass
