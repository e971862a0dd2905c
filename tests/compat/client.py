"""Stock clients of five kinds, each in a process of its own, driven by the tests.

**Orders** (method → line on stdin): `subscribe`, `send`, `post`, `track`, `untrack`, `set_auth`, `unsubscribe`,
`remove`.
**Reports** (line on stdout → `client.heard.expect(event, …)`):

- `status` topic, status (SUBSCRIBED, CLOSED, CHANNEL_ERROR, TIMED_OUT), error
- `broadcast` topic, name, meta if there is any, and payload or (hexadecimal) binary
- `presence` topic, kind (sync with `state`; join and leave with `key` and `states`)
- `change` topic, type, schema, table, new, old, errors, committed_at
- `system` topic, status, message, extension
- `sent` topic, name, answer · `posted` topic, name, error
- `tracked`, `untracked`, `unsubscribed` and `removed` topic, answer · `authorized`
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from tests.support import node, subprocesses
from tests.support.requirements import require

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence

FOLDER = Path(__file__).parent
JS = FOLDER / "js"


@frozen
class Kind:
    """A library and the protocol version it speaks; `lacks` says why a client of this kind cannot do something."""

    name: str
    vsn: str
    script: str
    arguments: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.name}-{self.vsn}"

    def command(self, url: str, key: str) -> list[str]:
        """Return how a client of this kind is started."""
        if self.script.endswith(".py"):
            return [sys.executable, str(FOLDER / self.script), url, key]
        return [*node_command(self.script), url, key, *self.arguments]


_TEXT_ONLY = {"binary": "the protocol 1.0.0 has no binary frames"}

SUPABASE_JS_V2 = Kind("supabase-js", "2.0.0", "client.mjs", ("@supabase/supabase-js",))
SUPABASE_JS_V1 = Kind(
    "supabase-js", "1.0.0", "client.mjs", ("@supabase/supabase-js", "1.0.0"), _TEXT_ONLY
)
# The last release that dials 1.0.0 unless it is told otherwise; from 2.91 on it is 2.0.0.
SUPABASE_JS_2_90 = Kind(
    "supabase-js-2.90",
    "1.0.0",
    "client.mjs",
    ("supabase-js-2.90",),
    _TEXT_ONLY
    | {
        "post one": "its httpSend() is a batch of one: JSON, and a denial is not told",
        "come back at once": "for 100 ms after its last channel was removed it does not connect",
    },
)
REALTIME_PY = Kind(
    "realtime-py",
    "1.0.0",
    "py/client.py",
    lacks=_TEXT_ONLY
    | {
        "ack": "it sends a broadcast without waiting for the answer",
        "system errors": "it reports them as CHANNEL_ERROR",
        "send before subscribe": "it raises an error instead of using HTTP",
    },
)
PHOENIX_JS = Kind(
    "phoenix.js",
    "2.0.0",
    "phoenix.mjs",
    lacks={
        "binary": "it knows none of the binary frames that Supabase clients exchange",
        "post": "it has no HTTP API",
        "post one": "it has no HTTP API",
        "send before subscribe": "it raises an error",
    },
)
KINDS = (SUPABASE_JS_V1, SUPABASE_JS_V2, SUPABASE_JS_2_90, REALTIME_PY, PHOENIX_JS)


def who_can(ability: str) -> list[Kind]:
    """Return the kinds whose libraries have an ability that others lack; its name must be one that is lacked."""
    assert any(ability in kind.lacks for kind in KINDS)
    return [kind for kind in KINDS if ability not in kind.lacks]


@frozen
class Client:
    """One running client; `heard` is what it reported, `complaints` what it said on stderr."""

    kind: Kind
    heard: subprocesses.Reports
    _process: subprocess.Popen[str]
    complaints: subprocesses.Reports

    def ended(self) -> int:
        """Wait until the process has ended by itself, and return its exit status."""
        return self._process.wait(subprocesses.PATIENCE_S)

    def subscribe(
        self,
        topic: str,
        *,
        changes: Sequence[dict[str, str]] = (),
        ack: bool = False,
        echo: bool = False,
        presence: str | None = None,
        private: bool = False,
        replay: dict[str, int] | None = None,
    ) -> None:
        """Subscribe.

        `replay` says which stored broadcasts are wanted first.
        `echo` is what the wire calls `self`: hear one's own broadcasts too.
        `presence` is the key under which this client is present; without one it does not listen to presence.
        """
        config: dict[str, object] = {
            "broadcast": {"ack": ack, "self": echo} | ({"replay": replay} if replay else {}),
            "private": private,
        }
        if presence is not None:
            config["presence"] = {"key": presence}
        self._order(
            "subscribe",
            topic=topic,
            config=config,
            changes=changes,
            presence=presence is not None,
        )

    def join(
        self, topic: str, *, changes: Sequence[dict[str, str]] = (), **options: Any
    ) -> None:
        """Subscribe, and wait until the library says so and rows, if asked for, are on their way."""
        self.subscribe(topic, changes=changes, **options)
        self.heard.expect("status", topic=topic, status="SUBSCRIBED")
        if changes:
            self.heard.expect("system", topic=topic, message="Subscribed to PostgreSQL")

    def send(self, topic: str, name: str, payload: object, *, persist: object = None) -> None:
        """Send; `persist` says that it is to be stored, which only supabase-js in 2.0.0 can ask for."""
        wish = {} if persist is None else {"persist": persist}
        self._order("send", topic=topic, name=name, payload=payload, **wish)

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

    def track(self, topic: str, state: dict[str, object]) -> None:
        self._order("track", topic=topic, state=state)

    def untrack(self, topic: str) -> None:
        self._order("untrack", topic=topic)

    def set_auth(self, token: str) -> None:
        """Give the client another token, and wait until it has sent it on its channels."""
        self._order("set_auth", token=token)
        self.heard.expect("authorized")

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
        yield Client(kind, heard, process, complaints)
    finally:
        process.stdin.close()
        subprocesses.end(process)
        heard.close()
        complaints.close()


def node_command(script: str) -> list[str]:
    """Return the command that runs a script of the folder `js`; skip the test if it cannot be run."""
    program = node.find_node()
    require(program, "Node.js 22 or later is missing: 'make unit' installs one.")
    packages = json.loads((JS / "package.json").read_text("utf-8"))["dependencies"]
    missing = [name for name in packages if not (JS / "node_modules" / name).is_dir()]
    require(not missing, f"JavaScript packages are missing: {missing}; run 'make unit'.")
    return [str(program), script]
