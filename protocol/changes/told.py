"""A row change taken apart, for the dialects that tell it in a shape of their own.

Made by `render`, read by the dialects' renderers.

**Invariant**: any row can be told of. One that is nested more deeply than can be read here is told without its values.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame
from protocol.events import EMPTY_OBJECT

NULL: Final = Raw(b"null")
TOO_DEEP: Final = Raw(b'["The row is nested too deeply to be shown"]')
#: What is before this has no values in it; names cannot contain it, as their quotes are escaped.
_VALUES: Final = b',"errors":'


class ToldChange(Struct):
    """What is told of a change; `type` is INSERT, UPDATE or DELETE, a row that is not told is unset."""

    type: str
    schema: str
    table: str
    commit_timestamp: Raw = NULL
    record: Raw | UnsetType = UNSET
    old_record: Raw | UnsetType = UNSET
    errors: Raw = NULL


_change: Final = Decoder(ToldChange)


def read_change(data: bytes) -> ToldChange:
    """Return the parts of a change; `data` is that of a `RowChange`."""
    try:
        return jsontext.decode(_change, data)
    except MalformedFrame:
        return _without_values(data)


def _without_values(data: bytes) -> ToldChange:
    head, _, _ = data.partition(_VALUES)
    change = jsontext.decode(_change, head + b"}")
    if change.type != "DELETE":
        change.record = Raw(EMPTY_OBJECT)
    if change.type != "INSERT":
        change.old_record = Raw(EMPTY_OBJECT)
    change.errors = TOO_DEEP
    return change
