"""From a row of realtime.messages to the broadcast that it stores.

Called by the relay for each insert that streams in; the replay of older rows makes the same value of them.

**Invariants**
- Whether a row is public or private, and for which topic, is what it says: who may write it was decided by Postgres.
- The reason why a row is no broadcast names a column and never what is in it.

**Source**: spec 4.4 (columns, reasons), 1.4 (what a client is sent).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol.events import UserBroadcast

if TYPE_CHECKING:
    from protocol.changes.model import Change, Relation, Value

SCHEMA: Final = "realtime"
#: Where the publication does not publish through the root of the partitions, the stream names the partition of a day.
_is_messages = re.compile(r"messages(?:_\d{4}_\d{2}_\d{2})?").fullmatch


@frozen
class StoredBroadcast:
    """A broadcast that Postgres keeps; `id` is its row's UUID, which the metadata of the message repeats."""

    id: str
    sub_topic: str
    is_private: bool
    message: UserBroadcast


def holds_broadcasts(relation: Relation) -> bool:
    """Whether the rows of a table are stored broadcasts."""
    return relation.schema == SCHEMA and _is_messages(relation.name) is not None


def read_stored(change: Change) -> StoredBroadcast | str:
    """Return what an insert stores, or why it is no broadcast: `<column>_missing`.

    `extension` is not looked at, as upstream.
    """
    names = (column.name for column in change.table.relation.columns)
    row: dict[str, Value] = dict(zip(names, change.new or (), strict=False))
    found = {name: _text(row.get(name)) for name in _REQUIRED}
    text, data = _text(row.get("payload")), _text(row.get("binary_payload"))
    missing = next((name for name, value in found.items() if value is None), None)
    if missing is None and text is None and data is None:
        missing = "payload"
    if missing is not None:
        return f"{missing}_missing"
    return StoredBroadcast(
        id=f"{found['id']}",
        sub_topic=f"{found['topic']}",
        is_private=found["private"] == "t",
        message=stored_message(f"{found['id']}", f"{found['event']}", text, data),
    )


def stored_message(
    row_id: str, event: str, text: str | None, data: str | None, *, replayed: bool = False
) -> UserBroadcast:
    """Return the broadcast of a row: `text` is the JSON of its payload, else `data` is `bytea` in hex."""
    metadata = b'{"replayed":true,"id":"%b"}' if replayed else b'{"id":"%b"}'
    return UserBroadcast(
        event,
        bytes.fromhex((data or "").removeprefix("\\x")) if text is None else text.encode(),
        is_binary=text is None,
        metadata=metadata % row_id.encode(),
    )


#: In the order in which upstream looks for them.
_REQUIRED: Final = ("inserted_at", "event", "id", "topic", "private")


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None
