"""Who may wait for whom: `send` and `ask` go towards a strictly lower rank.

A syntax tree does not know the type of what `send` is called on.
So every awaited `….send(Message(…))`, `….ask(…)` and `….ask_at_once(…)` outside the actor core stands in the table
`WAITS` of `rules.py`, where a reviewer sees it, and the table is held against the ranks.
"""

from __future__ import annotations

import ast

import pytest

from tests.architecture.rules import RANKS, WAITS
from tests.architecture.source import Module, example, last_name, modules

Waits = dict[tuple[str, str], tuple[str, str]]


def waits(module: Module) -> set[tuple[str, str]]:
    """Return file and message of every wait in a module; the message is empty when it cannot be read off."""
    if module.name.startswith("actors.core"):
        return set()
    return {
        (module.path, message_class(node.value))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in {"send", "ask", "ask_at_once"}
    }


def message_class(call: ast.Call) -> str:
    if not call.args:
        return ""
    first = call.args[0]
    return last_name(first.body if isinstance(first, ast.Lambda) else first)


def unlisted(found: set[tuple[str, str]], table: Waits) -> list[str]:
    return [
        f"{path} waits with {message or 'a message this check cannot name'}: use tell, "
        "or add the wait to WAITS in rules.py with who waits for whom."
        for path, message in sorted(found - table.keys())
    ]


def stale(found: set[tuple[str, str]], table: Waits) -> list[str]:
    return [
        f"WAITS in rules.py lists {message} in {path}, which is gone: remove it."
        for path, message in sorted(table.keys() - found)
    ]


def uphill(table: Waits) -> list[str]:
    return [
        f"{path}: {waiter} may not wait for {target} ({message}): waiting is downhill only; use tell."
        for (path, message), (waiter, target) in table.items()
        if RANKS[target] >= RANKS[waiter]
    ]


def test_every_wait_is_listed_and_goes_downhill():
    found = {wait for module in modules() for wait in waits(module)}

    assert unlisted(found, WAITS) + stale(found, WAITS) + uphill(WAITS) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("async def f(ref):\n    await ref.send(Publish(1))", "Publish"),
        ("async def f(ref):\n    await ref.send(messages.Publish(1))", "Publish"),
        (
            "async def f(self):\n    await self.channel.ask(lambda r: Attach(r), within=1)",
            "Attach",
        ),
        ("async def f(ref):\n    await ref.ask(Attach, within=1)", "Attach"),
        ("async def f(ref):\n    await ref.send()", ""),
    ],
)
def test_a_wait_that_is_not_listed_is_found(text, message):
    found = waits(example("actors/realtime/a.py", text))

    assert found == {("actors/realtime/a.py", message)}
    assert len(unlisted(found, {})) == 1


def test_a_wait_towards_an_equal_or_higher_rank_is_found():
    table = {
        ("a.py", "Ask"): ("channel", "connection"),
        ("a.py", "Tell"): ("rows", "channel"),
        ("a.py", "Attach"): ("connection", "channel"),
    }

    assert len(uphill(table)) == 2


def test_a_listed_wait_that_is_gone_is_found():
    assert len(stale(set(), {("a.py", "Attach"): ("connection", "channel")})) == 1
