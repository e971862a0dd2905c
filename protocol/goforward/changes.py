"""A row change as GoForward tells it: which table, what happened, the row before and after.

Called by `render`; the JSON of `protocol.changes.render` is read by `protocol.changes.told`.

**Source**: ledger GF-041, GF-042.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from msgspec import Raw, Struct, UnsetType

from protocol import jsontext
from protocol.changes.told import NULL, read_change

if TYPE_CHECKING:
    from protocol.goforward.envelope import Stamp


class _Shown(Struct, omit_defaults=True):
    id: str
    table: str
    schema: str
    event: str
    old_record: Raw
    new_record: Raw
    timestamp: Raw
    errors: Raw | None = None


@frozen
class ChangeText:
    """The event of the message, and its payload as JSON."""

    name: str
    payload: bytes


def row_change(data: bytes, stamp: Stamp) -> ChangeText:
    """Return what is told of a change; `data` is that of a `RowChange`."""
    change = read_change(data)
    shown = _Shown(
        id=stamp.change_id,
        table=change.table,
        schema=change.schema,
        event=change.type,
        old_record=_or_null(change.old_record),
        new_record=_or_null(change.record),
        timestamp=change.commit_timestamp,
        errors=None if bytes(change.errors) == bytes(NULL) else change.errors,
    )
    payload = b'{"change":%b}' % jsontext.write(shown)
    return ChangeText(f"{change.type}.{change.table}", payload)


def _or_null(row: Raw | UnsetType) -> Raw:
    return NULL if isinstance(row, UnsetType) else row
