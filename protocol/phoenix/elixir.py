"""Prints JSON as Elixir's `inspect` does, for texts that clients know with printed terms in them.

Called by `bindings`.

**Source**: spec 6.2, "Elixir map print"; `inspect` stops at 50 items and 4096 characters by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from protocol.changes.filters import printed_string

if TYPE_CHECKING:
    from collections.abc import Iterable

ITEMS_LIMIT: Final = 50
CHARACTERS_LIMIT: Final = 4096
DEPTH_LIMIT: Final = 20

_WORDS: Final = {None: "nil", True: "true", False: "false"}


def inspect(value: Any) -> str:
    """Return what a decoded JSON value looks like as an Elixir term; long ones end in `...`."""
    text = _printed(value, DEPTH_LIMIT)
    return text if len(text) <= CHARACTERS_LIMIT else text[:CHARACTERS_LIMIT] + "..."


def _printed(value: Any, depth: int) -> str:
    match value:
        case None | bool():
            return _WORDS[value]
        case str():
            return printed_string(value[:CHARACTERS_LIMIT])
        case dict() | list() if not depth:
            return "..."
        case dict():
            pairs = sorted(value.items())[: ITEMS_LIMIT + 1]
            shown = (f"{_printed(key, 0)} => {_printed(of, depth - 1)}" for key, of in pairs)
            return f"%{{{_joined(shown)}}}"
        case list():
            return (
                f"[{_joined(_printed(item, depth - 1) for item in value[: ITEMS_LIMIT + 1])}]"
            )
        case _:
            return str(value)


def _joined(items: Iterable[str]) -> str:
    shown = list(items)
    if len(shown) > ITEMS_LIMIT:
        shown[ITEMS_LIMIT:] = ["..."]
    return ", ".join(shown)
