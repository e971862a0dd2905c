"""What a Fluxbase connection joins, and how a topic tells what it is.

Used by `session`, which joins, and by `render`, which has nothing but the topic to go by.
A room is a public channel of any name, shared with the other dialects.
Rows are joined one subscription at a time, under the name of their table.
A client is present under keys that it chooses, several if it likes: each is a join of its own that is told nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import frozen

TABLE_PREFIX: Final = "table:"
ANY: Final = "*"


class TopicKind(Enum):
    """What is joined; the value is the first word of the topic."""

    ROOM = "room"
    ROWS = "rows"
    CHANGES = "changes"
    PRESENCE = "presence"


@frozen
class Topic:
    """`channel` is as the client calls it; `detail` the subscription id of changes, or the key of a presence.

    `schema` and `table` are for rows and changes, `*` for any.
    """

    kind: TopicKind
    channel: str
    detail: str = ""
    schema: str = ""
    table: str = ""

    @property
    def has_rows(self) -> bool:
        """Whether nothing but rows is told here."""
        return self.kind in (TopicKind.ROWS, TopicKind.CHANGES)

    @property
    def sub_topic(self) -> str:
        """The channel of the server that this is in."""
        return table_channel(self.schema, self.table) if self.has_rows else self.channel

    def text(self) -> str:
        """Return what it is joined by on a connection; no two say the same."""
        parts = (self.detail, self.schema, self.table)
        # Lengths keep apart what contains the separator.
        lengths = ",".join(str(len(part)) for part in parts)
        return f"{self.kind.value}:{lengths}:{''.join(parts)}{self.channel}"


def read_topic(text: str) -> Topic:
    """Return the topic that `Topic.text` wrote."""
    kind, lengths, rest = text.split(":", 2)
    parts = []
    for length in map(int, lengths.split(",")):
        parts.append(rest[:length])
        rest = rest[length:]
    return Topic(TopicKind(kind), rest, *parts)


def table_channel(schema: str, table: str) -> str:
    """Return the channel of a table's rows."""
    return f"{TABLE_PREFIX}{schema}.{table}"


def named_table(channel: str) -> tuple[str, str] | None:
    """Return schema and table that a channel is named after, None for any other channel.

    A name of a table may have dots, one of a schema not.
    """
    if not channel.startswith(TABLE_PREFIX):
        return None
    schema, dot, table = channel.removeprefix(TABLE_PREFIX).partition(".")
    return (schema, table) if schema and dot and table else ("", "")
