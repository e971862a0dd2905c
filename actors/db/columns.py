"""Finds the columns of a row that was written a while ago in the table as it is now.

Called by `catalog`.
The log names columns as they were called when the row was written; privileges are those of now.
What both have in common is a column's number: it stays when the column is renamed or gets another type,
and is not used again when the column is dropped; new columns come last.
The log does not tell the numbers, but lists the columns in their order, be it all of them or some.

**Invariants**
- A number is given only where no other is possible, provided that a name which still stands
  in its place among the others means the column it meant.
- The numbers grow from column to column.

**Source**: PostgreSQL 18 documentation, 52.7 `pg_attribute` and 54.9 "Relation", read 2026-11-21.
"""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def column_numbers(
    names: Sequence[str], names_now: Sequence[str | None]
) -> tuple[int | None, ...]:
    """Return the number of each column of `names`, None where it is gone or cannot be told.

    `names_now` are the names of the columns 1, 2, … of today, None for a dropped one.
    """
    numbers = _in_order(names, names_now)
    for start, end in _gaps(numbers):
        before = numbers[start - 1] if start else 0
        after = numbers[end] if end < len(numbers) else len(names_now) + 1
        places = range((before or 0) + 1, after or 0)
        if len(places) < end - start:
            # A name must have moved to another column, so none means anything.
            return (None,) * len(numbers)
        if len(places) == end - start:
            # Each has its own place, whatever it is called now.
            numbers[start:end] = places
    return tuple(
        number if number is not None and names_now[number - 1] is not None else None
        for number in numbers
    )


def _gaps(numbers: Sequence[int | None]) -> list[tuple[int, int]]:
    """Return where the runs of None start and end."""
    gaps, index = [], 0
    for is_known, run in groupby(numbers, key=lambda number: number is not None):
        length = len(list(run))
        if not is_known:
            gaps.append((index, index + length))
        index += length
    return gaps


def _in_order(names: Sequence[str], names_now: Sequence[str | None]) -> list[int | None]:
    """Return where each name is now, unless it is on the wrong side of another one."""
    by_name = {name: number for number, name in enumerate(names_now, start=1)}
    found = [by_name.get(name) for name in names]
    last = len(names_now) + 1
    highest_before = accumulate((number or 0 for number in found), max, initial=0)
    lowest_after = list(
        accumulate((number or last for number in reversed(found)), min, initial=last)
    )[-2::-1]
    return [
        number if number is not None and before < number < after else None
        for number, before, after in zip(found, highest_before, lowest_after, strict=False)
    ]
