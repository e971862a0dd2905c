"""Row changes as Fluxbase tells them, in either of its two shapes.

Called by `render`.

**Source**: ledger FB-005…007, FB-015 (no `record` of a DELETE, no `old_record` of an INSERT), FB-067.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UnsetType

from protocol import jsontext
from protocol.changes.told import read_change
from protocol.fluxbase.envelope import NULL, Message, json_object
from protocol.fluxbase.topics import ANY, TopicKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.changes.told import ToldChange
    from protocol.fluxbase.topics import Topic


def messages(data: bytes, topic: Topic) -> Sequence[Message]:
    """Return the message of a change; `data` is that of a `RowChange`.

    Names of tables are taken as patterns where they are subscribed: what another table of a like name has is not told.
    """
    change = read_change(data)
    if topic.schema not in (ANY, change.schema) or topic.table not in (ANY, change.table):
        return ()
    if topic.kind is TopicKind.ROWS:
        return (Message("broadcast", topic.channel, _by_name(change)),)
    return (Message("postgres_changes", topic.channel, _by_config(change, topic.detail)),)


def _by_name(change: ToldChange) -> bytes:
    members = {
        "type": jsontext.write(change.type),
        "table": jsontext.write(change.table),
        "schema": jsontext.write(change.schema),
    }
    for name, row in (("record", change.record), ("old_record", change.old_record)):
        if not isinstance(row, UnsetType):
            members[name] = bytes(row)
    if bytes(change.errors) != NULL:
        members["errors"] = bytes(change.errors)
    return json_object(members)


def _by_config(change: ToldChange, subscription: str) -> bytes:
    new = b"{}" if isinstance(change.record, UnsetType) else bytes(change.record)
    old = b"{}" if isinstance(change.old_record, UnsetType) else bytes(change.old_record)
    return json_object(
        {
            "subscription_id": jsontext.write(subscription),
            "eventType": jsontext.write(change.type),
            "schema": jsontext.write(change.schema),
            "table": jsontext.write(change.table),
            "commit_timestamp": bytes(change.commit_timestamp),
            "new": new,
            "old": old,
            "errors": bytes(change.errors),
        }
    )
