"""What one `postgres_changes` entry asks for, and what its client is told if that cannot be had.

Called when a client subscribes: the members of a binding are put together here, before Postgres is asked.

**Source**: spec 6.1 for the rules, 2.6 and 6.2 for the texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol.changes.filters import parse_filter, printed, printed_list, printed_string
from protocol.changes.patterns import ANY
from protocol.errors import ProtocolError

if TYPE_CHECKING:
    from protocol.changes.filters import Condition
    from protocol.commands import ChangeBinding

DEFAULT_SCHEMA: Final = "public"

_SELECT_OF_MANY: Final = (
    "Column selection is not supported for wildcard subscriptions."
    " Provide an explicit schema and table name."
)
_UNABLE: Final = "Unable to subscribe to changes with given parameters."


class InvalidEntry(ProtocolError):
    """The members of an entry do not go together; `reason` is for the client."""

    code = "InvalidEntry"


@frozen
class Entry:
    """Whose changes are wanted: `schema` and `table` may have wildcards, `kind` is INSERT, UPDATE, DELETE or `*`."""

    kind: str
    schema: str
    table: str
    conditions: tuple[Condition, ...] = ()
    select: tuple[str, ...] | None = None

    def unpublished(self) -> str:
        """Return what the client is told if no published table has such a name."""
        return (
            f"{_UNABLE} Please check Realtime is enabled for the given connect parameters:"
            f" {self._printed()}"
        )

    def failed(self, exception: str) -> str:
        """Return what the client is told if Postgres will have none of it; `exception` says why, in its words."""
        return (
            f"{_UNABLE} An exception happened so please check your connect parameters:"
            f" {self._printed()}. Exception: {exception}"
        )

    def _printed(self) -> str:
        select = "nil"
        if self.select is not None:
            select = printed_list(map(printed_string, self.select))
        return (
            f"[event: {self.kind}, schema: {self.schema}, table: {self.table},"
            f" filters: {printed(self.conditions)}, select: {select}]"
        )


def read_entry(binding: ChangeBinding) -> Entry:
    """Return what a binding asks for.

    Raises:
        InvalidFilter, InvalidEntry: it cannot be understood; the reason is for the client.
    """
    if binding.fault is not None:
        raise InvalidEntry(binding.fault)
    schema = binding.schema
    if schema is None:
        schema = ANY if binding.table is None else DEFAULT_SCHEMA
    table = ANY if binding.table is None else binding.table
    if binding.select is not None and ANY in (schema, table):
        raise InvalidEntry(_SELECT_OF_MANY)
    conditions: tuple[Condition, ...] = ()
    if binding.filter is not None:
        conditions = parse_filter(binding.filter, takes_paths=binding.takes_paths)
    return Entry(binding.kind, schema, table, conditions, binding.select)
