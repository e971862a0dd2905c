"""Which rows a Fluxbase client subscribes to, by the name of a channel or by a config.

Called by `session`; what the entry means is for whoever subscribes (`protocol.changes.entries`).

**Source**: ledger FB-003, FB-011, FB-012, FB-063, FB-070, C33.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol import jsontext
from protocol.changes.model import Kind
from protocol.commands import ChangeBinding
from protocol.errors import MalformedFrame
from protocol.fluxbase.envelope import NULL, ChangesConfig, decode_config
from protocol.fluxbase.topics import ANY, Topic, TopicKind, named_table, table_channel

if TYPE_CHECKING:
    from protocol.fluxbase.envelope import Push

DEFAULT_SCHEMA: Final = "public"
#: Longer names are none for Postgres.
NAME_LIMIT: Final = 63
WILDCARD: Final = "%"
FILTER_LIMIT: Final = 10_000
#: There is one per join.
_ID: Final = 1


@frozen
class SubscribedChanges:
    """The changes of a table: of one channel of that name, or of a subscription in a channel of any name."""

    channel: str
    binding: ChangeBinding
    schema: str
    table: str

    @property
    def topic(self) -> Topic:
        """The topic of a subscription by name."""
        return Topic(TopicKind.ROWS, self.channel, "", self.schema, self.table)

    def topic_of(self, id_: str) -> Topic:
        """Return the topic of a subscription by config."""
        return Topic(TopicKind.CHANGES, self.channel, id_, self.schema, self.table)


def rows_of(channel: str) -> SubscribedChanges | None:
    """Return what the name of a channel asks for, None if it is not that of a table.

    Raises:
        MalformedFrame: it begins like that of a table, and names none.
    """
    names = named_table(channel)
    if names is None:
        return None
    schema, table = names
    if not table:
        raise MalformedFrame("a channel of a table is table:{schema}.{table}")
    return SubscribedChanges(channel, _binding(ANY, schema, table, ""), schema, table)


def read_changes(push: Push) -> SubscribedChanges | None:
    """Return what the config of a subscription asks for, or the same members beside it; None without either.

    Raises:
        MalformedFrame: they make no sense.
    """
    config = ChangesConfig(push.event, push.schema, push.table, push.filter)
    given = bytes(push.config)
    if given != NULL:
        config = decode_config(given)
    elif not push.table:
        return None
    if not config.table:
        raise MalformedFrame("table is required for subscribe")
    schema = config.schema or DEFAULT_SCHEMA
    kind = config.event.upper() or ANY
    if kind != ANY and kind not in Kind.__members__:
        raise MalformedFrame("event is INSERT, UPDATE, DELETE or *")
    if len(config.filter) > FILTER_LIMIT:
        raise MalformedFrame("the filter is too long")
    channel = push.channel or table_channel(schema, config.table)
    binding = _binding(kind, schema, config.table, config.filter)
    return SubscribedChanges(channel, binding, schema, config.table)


def _binding(kind: str, schema: str, table: str, condition: str) -> ChangeBinding:
    if max(len(schema), len(table)) > NAME_LIMIT:
        raise MalformedFrame(
            f"names of schemas and tables have at most {NAME_LIMIT} characters"
        )
    if WILDCARD in schema + table:
        # Where they are looked up it stands for any text, and whoever asks for one table would have all of them read.
        raise MalformedFrame("names of schemas and tables have no %")
    members = {"event": kind, "schema": schema, "table": table}
    if condition:
        members["filter"] = condition
    entry = jsontext.write(members)
    return ChangeBinding(_ID, entry, kind, schema, table, condition or None, takes_paths=True)
