"""The project's own source as syntax trees, for the checks of this folder.

A check is a function from modules to sentences, one per finding, each saying where it is and what to do instead.
So a check can be run on the project (there must be no finding) and on a small bad example (there must be one).
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "actors")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Module:
    """One source file; `path` is relative to the project, `name` is how it is imported."""

    path: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """What a relative import starts from."""
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]


def example(path: str, text: str) -> Module:
    """Return a module that exists only in a test."""
    return Module(path, text, ast.parse(text))


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the two packages."""
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return tuple(
        example(str(file.relative_to(ROOT)), file.read_text("utf-8")) for file in files
    )


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Yield the full name and the line of all that a module imports, for type checking only included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(module, node)
            yield from ((f"{origin}.{alias.name}", node.lineno) for alias in node.names)


def _origin(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    above = module.package.split(".")[: -(node.level - 1) or None]
    return ".".join([*above, *([node.module] if node.module else [])])


def functions(module: Module) -> Iterator[Function]:
    """Yield every function and method, nested ones too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def last_name(node: ast.AST) -> str:
    """Return the last part of a dotted name or of what is called: `d` of `a.b.d(1)`; empty for anything else."""
    if isinstance(node, ast.Call | ast.Subscript):
        return last_name(node.func if isinstance(node, ast.Call) else node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
