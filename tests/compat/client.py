"""Stock clients of three kinds, each in a process of its own, driven by the tests.

**Orders** (method → line on stdin): `subscribe`, `send`, `post`, `unsubscribe`, `remove`.
**Reports** (line on stdout → `client.heard.expect(event, …)`):

- `status` topic, status (SUBSCRIBED, CLOSED, CHANNEL_ERROR, TIMED_OUT), error
- `broadcast` topic, name, and payload or (hexadecimal) binary
- `change` topic, type, schema, table, new, old, errors, committed_at
- `system` topic, status, message, extension
- `sent` topic, name, answer · `posted` topic, name, error
- `unsubscribed` and `removed` topic, answer
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from tests.support import node, subprocesses
from tests.support.requirements import require

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).parent
JS = FOLDER / "js"


@frozen
class Kind:
    """A library and the protocol version it is told to speak."""

    library: str
    vsn: str

    def __str__(self) -> str:
        return f"{self.library}-{self.vsn}"

    @property
    def carries_binary(self) -> bool:
        return self.vsn == "2.0.0"

    def command(self, url: str, key: str) -> list[str]:
        if self.library == "realtime-py":
            return [sys.executable, str(FOLDER / "py" / "client.py"), url, key]
        return [*node_command("client.mjs"), url, key, self.vsn]


SUPABASE_JS_V1 = Kind("supabase-js", "1.0.0")
SUPABASE_JS_V2 = Kind("supabase-js", "2.0.0")
REALTIME_PY = Kind("realtime-py", "1.0.0")
KINDS = (SUPABASE_JS_V1, SUPABASE_JS_V2, REALTIME_PY)


@frozen
class Client:
    """One running client; `heard` is what it reported."""

    kind: Kind
    heard: subprocesses.Reports
    _process: subprocess.Popen[str]

    def subscribe(
        self,
        topic: str,
        *,
        changes: Sequence[dict[str, str]] = (),
        ack: bool = False,
        echo: bool = False,
    ) -> None:
        """Subscribe; `echo` is what the wire calls `self`: hear one's own broadcasts too."""
        config = {"broadcast": {"ack": ack, "self": echo}}
        self._order("subscribe", topic=topic, config=config, changes=changes)

    def join(
        self,
        topic: str,
        *,
        changes: Sequence[dict[str, str]] = (),
        ack: bool = False,
        echo: bool = False,
    ) -> None:
        """Subscribe, and wait until the library says so and rows, if asked for, are on their way."""
        self.subscribe(topic, changes=changes, ack=ack, echo=echo)
        self.heard.expect("status", topic=topic, status="SUBSCRIBED")
        if changes:
            self.heard.expect("system", topic=topic, message="Subscribed to PostgreSQL")

    def send(self, topic: str, name: str, payload: object) -> None:
        self._order("send", topic=topic, name=name, payload=payload)

    def send_binary(self, topic: str, name: str, payload: bytes) -> None:
        self._order("send", topic=topic, name=name, binary=payload.hex())

    def post(
        self,
        topic: str,
        name: str,
        payload: object = None,
        *,
        binary: bytes | None = None,
        private: bool = False,
        persist: bool = False,
    ) -> str | None:
        """Send over HTTP whether subscribed or not; return what the library says went wrong, if anything."""
        content = {"payload": payload} if binary is None else {"binary": binary.hex()}
        flags = {"config": {"private": private}, "persist": persist}
        self._order("post", topic=topic, name=name, **content, **flags)
        error: str | None = self.heard.expect("posted", topic=topic, name=name)["error"]
        return error

    def unsubscribe(self, topic: str) -> None:
        self._order("unsubscribe", topic=topic)

    def remove(self, topic: str) -> None:
        self._order("remove", topic=topic)

    def _order(self, order: str, **details: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": order, **details}) + "\n")


@contextmanager
def running_client(kind: Kind, url: str, key: str) -> Iterator[Client]:
    """Run a client for the length of a `with` block."""
    process = subprocesses.start(kind.command(url, key), cwd=str(JS))
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    heard, complaints = (
        subprocesses.Reports(process.stdout),
        subprocesses.Reports(process.stderr),
    )
    try:
        heard.expect("started")
        yield Client(kind, heard, process)
    finally:
        process.stdin.close()
        subprocesses.end(process)
        heard.close()
        complaints.close()


def node_command(script: str) -> list[str]:
    """Return the command that runs a script of the folder `js`; skip the test if it cannot be run."""
    program = node.find_node()
    require(program, "Node.js 22 or later is missing: 'make unit' installs one.")
    require(
        (JS / "node_modules").is_dir(), "The JavaScript clients are missing: run 'make unit'."
    )
    return [str(program), script]
