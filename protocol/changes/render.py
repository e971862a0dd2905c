"""Renders a change as the `data` object that clients receive, cut to the columns they may see.

Called once per change and group of subscriptions with the same columns; the dialects wrap the result.

**Source**: spec 6.3 for the keys, 6.5 for what is left of a deleted row.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from attrs import define, field, frozen

from protocol.changes.model import Absent, Kind
from protocol.changes.values import NULL, Encoder, encoder, string

if TYPE_CHECKING:
    from protocol.changes.model import Change, Table, Value

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # UTC throughout; the zone is written by hand as `Z`

_NONE: frozenset[str] = frozenset()

#: What the data of one change may take, in bytes of JSON; and a value of one that would take more (spec 6.5).
MAX_DATA_BYTES = 1_048_576
MAX_SMALL_BYTES = 64
ERROR_TOO_LARGE = "Error 413: Payload Too Large"

#: A key as JSON with the colon, and its value as JSON.
_Member = tuple[bytes, bytes]

#: How many sets of columns are remembered per table; clients choose them, so there is a bound.
MAX_VIEWS = 256


@frozen
class _Shown:
    """One column of a view: where its value stands, its key as JSON with the colon, how to encode it."""

    index: int
    key: bytes
    encode: Encoder


@frozen
class _View:
    """What one set of columns makes of the rows of a table; `head` and `columns` are JSON that never changes."""

    head: bytes
    columns: bytes
    shown: tuple[_Shown, ...]
    key_only: tuple[_Shown, ...]


@define
class ChangeRenderer:
    """Renders changes, and remembers per table what does not change from row to row."""

    _views: WeakKeyDictionary[Table, dict[frozenset[str], _View]] = field(
        factory=WeakKeyDictionary, init=False
    )

    def render(
        self, change: Change, columns: frozenset[str], *, key_only: bool = False
    ) -> bytes:
        """Return the JSON of spec 6.3 with nothing in it but `columns`, and of the old row at most the key if so asked.

        Names that the table does not have are ignored; `shown_columns` applies a subscription's `select`.
        What would be larger than `MAX_DATA_BYTES` is left with its small values and says so.
        """
        view = self._view(change.table, columns)
        new = None if change.new is None else _members(change.new, view.shown)
        shown_of_old = view.key_only if key_only else view.shown
        old = None if change.old is None else _members(change.old, shown_of_old)
        data = _join(change, view, b"null", new, old)
        if len(data) <= MAX_DATA_BYTES:
            return data
        new = None if new is None else list(filter(_is_small, new))
        old = None if old is None else list(filter(_is_small, old))
        return _join(change, view, b"[" + string(ERROR_TOO_LARGE) + b"]", new, old)

    def render_fault(self, change: Change, fault: str) -> bytes:
        """Return the JSON of spec 6.5 that says why nothing of the change is shown.

        Clients of realtime-py drop it if its timestamp is null, as upstream has it, so this one has its time.
        """
        new: list[_Member] | None = None if change.kind is Kind.DELETE else []
        old: list[_Member] | None = None if change.kind is Kind.INSERT else []
        view = self._view(change.table, _NONE)
        return _join(change, view, b"[" + string(fault) + b"]", new, old)

    def _view(self, table: Table, columns: frozenset[str]) -> _View:
        views = self._views.setdefault(table, {})
        view = views.get(columns)
        if view is None:
            if len(views) >= MAX_VIEWS:
                views.clear()
            view = views[columns] = _make_view(table, columns)
        return view


def shown_columns(
    table: Table, visible: frozenset[str], select: tuple[str, ...] | None
) -> frozenset[str]:
    """Return the columns for a subscription: the visible ones, with `select` only those and the primary key."""
    return visible if select is None else visible & {*select, *table.primary_key}


def _make_view(table: Table, columns: frozenset[str]) -> _View:
    relation = table.relation
    shown = tuple(
        _Shown(index, string(column.name) + b":", encoder(facts))
        for index, (column, facts) in enumerate(zip(relation.columns, table.types, strict=True))
        if column.name in columns
    )
    return _View(
        head=b"".join(
            (b'","schema":', string(relation.schema), b',"table":', string(relation.name))
        )
        + b',"commit_timestamp":"',
        columns=b"["
        + b",".join(
            b'{"name":'
            + column.key[:-1]
            + b',"type":'
            + string(table.types[column.index].name)
            + b"}"
            for column in shown
        )
        + b"]",
        shown=shown,
        key_only=tuple(
            column
            for column in shown
            if relation.columns[column.index].name in table.primary_key
        ),
    )


def _members(row: tuple[Value, ...], shown: tuple[_Shown, ...]) -> list[_Member]:
    """Return the row without the values that the log did not carry."""
    members = []
    for column in shown:
        value = row[column.index]
        if value is None:
            members.append((column.key, NULL))
        elif not isinstance(value, Absent):
            members.append((column.key, column.encode(value)))
    return members


def _is_small(member: _Member) -> bool:
    """Whether a value stays in a record that was too large; NULLs go as well."""
    _, value = member
    return value != NULL and len(value) <= MAX_SMALL_BYTES


def _join(
    change: Change,
    view: _View,
    errors: bytes,
    new: list[_Member] | None,
    old: list[_Member] | None,
) -> bytes:
    parts = [b'{"type":"', change.kind.value.encode(), view.head]
    parts += [_timestamp(change.committed_at_us), b'","errors":', errors]
    parts += [b',"columns":', view.columns]
    if new is not None:
        parts += [b',"record":', _object(new)]
    if old is not None:
        parts += [b',"old_record":', _object(old)]
    parts.append(b"}")
    return b"".join(parts)


def _object(members: list[_Member]) -> bytes:
    return b"{" + b",".join([key + value for key, value in members]) + b"}"


def _timestamp(time_us: int) -> bytes:
    moment = _EPOCH + timedelta(microseconds=time_us)
    return moment.isoformat(timespec="milliseconds").encode() + b"Z"
