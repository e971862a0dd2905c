"""No state outside objects, and no loops that outlive their task.

Module-level tables are welcome as constants: a name in capitals, a literal value, never changed.
"""

from __future__ import annotations

import ast
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source import Function, Module, example, functions, last_name, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

LITERALS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = {
    "list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "count", "cycle",
    "ContextVar", "local", "WeakSet", "WeakKeyDictionary", "WeakValueDictionary", "Random",
    "Event", "Lock", "Semaphore", "CapacityLimiter", "open_memory_channel",
    "CollectorRegistry", "Counter", "Gauge", "Histogram",
}  # fmt: skip
CACHES = {"cache", "lru_cache"}
MUTATORS = {
    "append", "extend", "insert", "remove", "pop", "popitem", "clear", "add", "discard",
    "update", "setdefault", "sort", "reverse",
}  # fmt: skip


def module_state(module: Module) -> list[str]:
    """Return a sentence for each mutable value that belongs to a module or a class."""
    changed = changed_names(module)
    classes = (node.body for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef))
    found = [
        f"{module.path}:{line}: {name} is state of a module: let an object hold it."
        for name, value, line in chain.from_iterable(
            map(assignments, [module.tree.body, *classes])
        )
        if name not in {"__all__", "__slots__"} and is_state(name, value, changed)
    ]
    found += [
        f"{module.path}:{node.lineno}: 'global' changes the state of a module: let an object hold it."
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Global)
    ]
    return found + [
        f"{module.path}:{function.lineno}: the cache of {function.name} is state of a module: let an object hold it."
        for function in functions(module)
        if CACHES & {last_name(decorator) for decorator in function.decorator_list}
    ]


def assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr, int]]:
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((last_name(target), node.value, node.lineno) for target in targets)


def is_state(name: str, value: ast.expr, changed: set[str]) -> bool:
    if isinstance(value, LITERALS):
        return not name.isupper() or name in changed
    return isinstance(value, ast.Call) and last_name(value) in MUTABLE_CALLS


def changed_names(module: Module) -> set[str]:
    """Return the names whose values are changed in place somewhere in the module."""
    return set(map(last_name, changed_values(module)))


def changed_values(module: Module) -> Iterator[ast.expr]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()):
                yield value
            case ast.Attribute(value=value, attr=attribute) if attribute in MUTATORS:
                yield value
            case ast.AugAssign(target=target):
                yield target


def async_generators(module: Module) -> list[str]:
    return [
        f"{module.path}:{function.lineno}: {function.name} is an async generator, which trio cannot clean up: "
        "write a class with __anext__, or decorate it as a context manager."
        for function in functions(module)
        if isinstance(function, ast.AsyncFunctionDef)
        and any(isinstance(node, ast.Yield) for node in own_nodes(function))
        and "asynccontextmanager" not in {last_name(one) for one in function.decorator_list}
    ]


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield what is inside a function but not inside a function within it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("check", [module_state, async_generators])
def test_the_source_has_no_finding(check):
    assert [finding for module in modules() for finding in check(module)] == []


@pytest.mark.parametrize(
    "text",
    [
        "connections = {}",
        "_seen: set[str] = set()",
        "TABLE = {}\ndef f(key):\n    TABLE[key] = 1",
        "TABLE = []\ndef f(key):\n    TABLE.append(key)",
        "numbers = itertools.count()",
        "class Node:\n    children = []",
        "count = 0\ndef f():\n    global count\n    count += 1",
        "@functools.cache\ndef f(key):\n    return key",
        "@lru_cache(maxsize=8)\ndef f(key):\n    return key",
        "FRAMES = Counter('frames', 'Frames')",
    ],
)
def test_state_of_a_module_is_found(text):
    assert len(module_state(example("actors/a.py", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "CODES = {'a': 1}\ndef f(key):\n    return CODES[key]",
        "log = structlog.get_logger()",
        "class Node:\n    __slots__ = ['a']\n    children: list[str] = field(factory=list)",
        "def f():\n    seen = set()\n    seen.add(1)\n    return seen",
    ],
)
def test_a_constant_is_not_found(text):
    assert module_state(example("actors/a.py", text)) == []


def test_an_async_generator_is_found():
    assert len(async_generators(example("a.py", "async def f():\n    yield 1"))) == 1


def test_an_async_context_manager_is_not_found():
    text = "@contextlib.asynccontextmanager\nasync def f():\n    def g():\n        yield 2\n    yield 1"

    assert async_generators(example("a.py", text)) == []
    assert (
        async_generators(example("a.py", "async def f():\n    def g():\n        yield 2")) == []
    )
