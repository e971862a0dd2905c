"""The functions that are installed into the database, and what each of them is made from.

Called by `schema`, which restates them when they are ours and have changed.
Some exist under several names, for SQL that was written for other servers; those are made from one template each,
in which a word in angle brackets stands for what differs.

**Invariants**
- What others call without a schema is in public, and the same thing in realtime too, where nobody else puts anything.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from attrs import field, frozen
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The names of the trigger functions that tell of changed rows, and on which channel.
CHANNELS: Final = {
    "notify_table_change": "fluxbase_changes",
    "notify_realtime_change": "fluxbase_changes",
    "notify_table_changes": "table_changes",
}
#: First key of our advisory locks; with 0 whoever enables a table holds it, with 1 each server that needs the triggers.
LOCK: Final = 1_416_785_781

_ACCESS = """
revoke all on function {signature} from public;
do $$
declare
  client text;
begin
  -- Others would be told which tables there are.
  foreach client in array array['anon', 'authenticated'] loop
    if to_regrole(client) is not null then
      execute format($revoke$revoke all on function {signature} from %I$revoke$, client);
    end if;
  end loop;
end
$$;
"""
#: How the two kinds of channels call what happened and the new row.
_MEMBERS = {
    "fluxbase_changes": {"event": "type", "new": "record"},
    "table_changes": {"event": "event", "new": "new_record"},
}


@frozen
class Function:
    """A file of `sql/functions`, or of `sql/templates` with what its words stand for."""

    name: str
    signature: str
    template: str | None = None
    words: Mapping[str, str] = field(factory=dict[str, str])

    @property
    def schema(self) -> str:
        return self.signature.split(".", maxsplit=1)[0]


def definition(function: Function, publication: str) -> bytes:
    """Return the statements that make the function."""
    if function.template is None:
        return read_sql("functions", function.name)
    text = read_sql("templates", function.template).decode()
    words = {
        "function": function.signature.split("(", maxsplit=1)[0],
        "lock": str(LOCK),
        "access": _ACCESS.format(signature=function.signature),
        "publication": sql.Literal(publication).as_string(),
        **function.words,
    }
    for word, meaning in words.items():
        text = text.replace(f"<{word}>", meaning)
    return text.encode()


def read_sql(folder: str, name: str) -> bytes:
    """Return the text of a file below `sql/`."""
    return resources.files("actors.db").joinpath("sql", folder, f"{name}.sql").read_bytes()


def _trigger(name: str, schema: str) -> Function:
    channel = CHANNELS[name]
    words = {"channel": channel, **_MEMBERS[channel]}
    return Function(f"{schema}.{name}", f"{schema}.{name}()", "notify", words)


def _enabling(name: str, arguments: str, schema: str) -> Function:
    return Function(f"{schema}.{name}", f"{schema}.{name}({arguments})", name)


FUNCTIONS: Final = (
    Function("topic", "realtime.topic()"),
    Function("send", "realtime.send(jsonb, text, text, boolean)"),
    Function("send_binary", "realtime.send_binary(bytea, text, text, boolean)"),
    Function(
        "broadcast_changes",
        "realtime.broadcast_changes(text, text, text, text, text, record, record, text)",
    ),
    _trigger("notify_table_change", "realtime"),
    *(_trigger(name, "public") for name in CHANNELS),
    *(
        _enabling(name, arguments, schema)
        for name, arguments in (
            ("enable_realtime", "text, text, boolean, text"),
            ("disable_realtime", "text, text, text"),
        )
        for schema in ("realtime", "public")
    ),
)
