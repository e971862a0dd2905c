"""Paths into JSON on the left side of a condition: `data->address->>city`, `tags->0`.

Read by `filters` for the dialects that offer them; Postgres follows them.
A step is the key of an object or the index of an array, whichever is there, as with the operators `#>` and `#>>`.

**Source**: ledger FB-070.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from protocol.errors import InvalidFilter

ARROW: Final = "->"
TEXT_ARROW: Final = "->>"
#: Nobody nests columns deeper; each step costs a look at every row.
MAX_STEPS: Final = 32


@frozen
class JsonPath:
    """Where in the JSON of a column the value is; `is_text` if it is taken as text, JSON null as NULL."""

    steps: tuple[str, ...]
    is_text: bool

    @property
    def arrows(self) -> tuple[str, ...]:
        """What stands before each step."""
        last = TEXT_ARROW if self.is_text else ARROW
        return (ARROW,) * (len(self.steps) - 1) + (last,)


def read_path(name: str) -> tuple[str, JsonPath | None]:
    """Return the column on the left side of a condition, and the path behind it if there is one.

    Raises:
        InvalidFilter: a step is empty, there are too many, or one follows a text.
    """
    column, arrow, rest = name.partition(ARROW)
    steps: list[str] = []
    is_text = False
    while arrow:
        if is_text:
            raise _invalid(f"{TEXT_ARROW} is the last step of a path")
        is_text = rest.startswith(">")
        step, arrow, rest = rest[is_text:].partition(ARROW)
        if not step:
            raise _invalid("a step of a path is empty")
        steps.append(step)
        if len(steps) > MAX_STEPS:
            raise _invalid(f"too many steps. Maximum {MAX_STEPS}")
    return column, JsonPath(tuple(steps), is_text) if steps else None


def _invalid(what: str) -> InvalidFilter:
    return InvalidFilter(f"Error parsing `filter` params: {what}")
