"""A row change as GoForward tells it: which table, what happened, the row before and after.

Called by `render`; the JSON that is read is that of `protocol.changes.render`.

**Invariant**: any row can be told of. One that is nested more deeply than can be read here is told without its values.

**Source**: ledger GF-041, GF-042.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame
from protocol.events import EMPTY_OBJECT

if TYPE_CHECKING:
    from protocol.goforward.envelope import Stamp

NULL: Final = Raw(b"null")
TOO_DEEP: Final = Raw(b'["The row is nested too deeply to be shown"]')
#: What is before this has no values in it; names cannot contain it, as their quotes are escaped.
_VALUES: Final = b',"errors":'


class _Change(Struct):
    type: str
    schema: str
    table: str
    commit_timestamp: Raw = NULL
    record: Raw = NULL
    old_record: Raw = NULL
    errors: Raw = NULL


class _Shown(Struct, omit_defaults=True):
    id: str
    table: str
    schema: str
    event: str
    old_record: Raw
    new_record: Raw
    timestamp: Raw
    errors: Raw | None = None


_change: Final = Decoder(_Change)


@frozen
class ChangeText:
    """The event of the message, and its payload as JSON."""

    name: str
    payload: bytes


def row_change(data: bytes, stamp: Stamp) -> ChangeText:
    """Return what is told of a change; `data` is that of a `RowChange`."""
    try:
        change = jsontext.decode(_change, data)
    except MalformedFrame:
        change = _without_values(data)
    shown = _Shown(
        id=stamp.change_id,
        table=change.table,
        schema=change.schema,
        event=change.type,
        old_record=change.old_record,
        new_record=change.record,
        timestamp=change.commit_timestamp,
        errors=None if bytes(change.errors) == bytes(NULL) else change.errors,
    )
    payload = b'{"change":%b}' % jsontext.write(shown)
    return ChangeText(f"{change.type}.{change.table}", payload)


def _without_values(data: bytes) -> _Change:
    head, _, _ = data.partition(_VALUES)
    change = jsontext.decode(_change, head + b"}")
    if change.type != "DELETE":
        change.record = Raw(EMPTY_OBJECT)
    if change.type != "INSERT":
        change.old_record = Raw(EMPTY_OBJECT)
    change.errors = TOO_DEEP
    return change
