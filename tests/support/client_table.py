"""Makes docs/reference/clients.md: which behaviour is tested with which stock client, read from the tests themselves.

A test of `tests/compat` that takes the fixture `client` runs for every kind;
one that is parametrized over kinds runs for those.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from tests.compat import client as clients

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.compat.client import Kind

FOLDER = Path(clients.__file__).parent

HEAD = """\
# Clients

<!-- Made from tests/compat by `make reference`; do not edit. -->

Each line is a test that runs stock client libraries against a running server with a Postgres of its own.
"""


def clients_page() -> str:
    """Return the page's text."""
    sections = [_section(path) for path in sorted(FOLDER.glob("test_*.py"))]
    return HEAD + "".join(filter(None, sections)) + _gaps()


def rows(source: str) -> Iterator[tuple[str, Sequence[Kind]]]:
    """Return each test of a module that is about clients: its name as a sentence, and the kinds it runs for."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            kinds = _kinds(node)
            if kinds:
                yield node.name.removeprefix("test_").replace("_", " "), kinds


def _kinds(test: ast.FunctionDef) -> Sequence[Kind]:
    for decorator in test.decorator_list:
        if not isinstance(decorator, ast.Call) or "parametrize" not in ast.unparse(
            decorator.func
        ):
            continue
        names, values = decorator.args[:2]
        if ast.literal_eval(names) in ("kind", "from_kind"):
            kinds: Sequence[Kind] = eval(ast.unparse(values), vars(clients).copy())
            return kinds
    takes_any = any(argument.arg == "client" for argument in test.args.args)
    return clients.KINDS if takes_any else ()


def _section(path: Path) -> str:
    text = path.read_text("utf-8")
    lines = [
        f"| {name} | "
        + " | ".join("yes" if kind in kinds else "" for kind in clients.KINDS)
        + " |\n"
        for name, kinds in rows(text)
    ]
    if not lines:
        return ""
    title = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    names = " | ".join(f"{kind.name} ({kind.vsn})" for kind in clients.KINDS)
    rule = "| --- " * (len(clients.KINDS) + 1) + "|\n"
    return f"\n## {title.rstrip('.')}\n\n| | {names} |\n{rule}" + "".join(lines)


def _gaps() -> str:
    lines = [
        f"- {kind.name} ({kind.vsn}), {ability}: {reason}.\n"
        for kind in clients.KINDS
        for ability, reason in kind.lacks.items()
    ]
    return "\n## What a library cannot do\n\n" + "".join(lines)
