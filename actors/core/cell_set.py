"""A set of cells that is small while it has one: who watches whom, which most actors ask of one other only.

Used by `cell.py`; in the order in which cells were added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.core.cell import Cell


class CellSet:
    """See the module's text; a dict with one entry takes five times as much."""

    __slots__ = ("_many", "_only")

    def __init__(self) -> None:
        #: The one there is; None while there is none, or there were more.
        self._only: Cell[Any] | None = None
        #: Made for the second one.
        self._many: dict[Cell[Any], None] | None = None

    def __len__(self) -> int:
        return int(self._only is not None) if self._many is None else len(self._many)

    def __iter__(self) -> Iterator[Cell[Any]]:
        if self._many is not None:
            return iter(self._many)
        return iter(() if self._only is None else (self._only,))

    def add(self, cell: Cell[Any]) -> None:
        """Add a cell, unless it is there."""
        if self._many is not None:
            self._many[cell] = None
        elif self._only is None:
            self._only = cell
        elif self._only is not cell:
            self._many = {self._only: None, cell: None}
            self._only = None

    def discard(self, cell: Cell[Any]) -> None:
        """Take a cell out, if it is there."""
        if self._only is cell:
            self._only = None
        elif self._many is not None:
            self._many.pop(cell, None)
            if not self._many:
                self._many = None

    def clear(self) -> None:
        """Take all out."""
        self._only = self._many = None
