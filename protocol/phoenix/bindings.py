"""The `postgres_changes` entries of a join, one `ChangeBinding` each.

Called by `join`.
Only the types of the members are looked at here, and which of them are there;
what they mean together is for whoever subscribes (`protocol.changes.entries`).

**Invariants**
- Entries keep their number and order: clients match the reply by index.
- Equal entries of one join have equal ids, different ones different ids, and none is 0.

**Source**: spec 2.1, 2.4, 6.1.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from attrs import evolve

from protocol import jsontext
from protocol.changes.model import Kind
from protocol.commands import ChangeBinding
from protocol.errors import MalformedFrame
from protocol.phoenix.elixir import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANY_KIND: Final = "*"
# 27 bits like upstream's; supabase-py wants an integer, and both clients test it for truth.
_HIGHEST_ID: Final = 2**27 - 1
_NULL: Final = b"null"

_NO_PARAMS: Final = (
    "No subscription params provided."
    " Please provide at least a `schema` or `table` to subscribe to: "
)
_SELECT_FAULT: Final = (
    "Error parsing `select` params: expected a list of column name strings,"
    ' e.g. select: ["col1", "col2"]'
)
#: An entry with one of these is not shown.
_SECRETS: Final = ("user_token", "auth_token")


def split_entries(array: bytes) -> list[bytes]:
    """Return the objects of a JSON array as they were written; null, in it or in its place, counts as none.

    Raises:
        MalformedFrame: no array, or an element that is neither object nor null.
    """
    if array == _NULL:
        return []
    entries = [entry for entry in jsontext.elements(array) if entry != _NULL]
    if not all(entry.startswith(b"{") for entry in entries):
        raise MalformedFrame("not an array of objects")
    return entries


def bind(entries: Sequence[bytes]) -> tuple[ChangeBinding, ...]:
    """Return one binding per entry, in order."""
    ids: dict[bytes, int] = {}
    taken: set[int] = set()
    bindings = []
    for entry in entries:
        content = jsontext.canonical(entry)
        if content not in ids:
            ids[content] = _free_id(content, taken)
            taken.add(ids[content])
        bindings.append(_binding(ids[content], entry))
    return tuple(bindings)


def bind_topic(sub_topic: str) -> tuple[ChangeBinding]:
    """Return the binding of a join without `config`: the topic is `schema[:table[:filter]]`.

    **Source**: spec 2.1; its reply echoes an entry all the same.
    """
    parts = zip(("schema", "table", "filter"), sub_topic.split(":", 2), strict=False)
    entry = jsontext.write(dict(parts))
    return (evolve(_binding(_free_id(entry, set()), entry), is_legacy=True),)


def _free_id(content: bytes, taken: set[int]) -> int:
    number = int.from_bytes(blake2b(content, digest_size=4).digest(), "big") & _HIGHEST_ID
    while number == 0 or number in taken:
        number = number % _HIGHEST_ID + 1
    return number


def _binding(number: int, entry: bytes) -> ChangeBinding:
    members = jsontext.members(entry)
    schema = _string(members.get("schema", _NULL))
    table = _string(members.get("table", _NULL))
    fault = None if _is_complete(members) else _NO_PARAMS + _shown(entry, members)
    select = None
    try:
        select = _select(members.get("select", _NULL))
    except MalformedFrame:
        fault = fault or _SELECT_FAULT
    return ChangeBinding(
        id=number,
        entry=entry,
        kind=_kind(members.get("event", _NULL)),
        schema=schema,
        table=table,
        filter=_string(members.get("filter", _NULL)),
        select=select,
        fault=fault,
    )


def _is_complete(members: Mapping[str, bytes]) -> bool:
    """Whether the entry says of which tables; a filter needs both names, and a filter that is null is a fault."""
    names = [members.get(key, _NULL) for key in ("schema", "table")]
    if not all(name == _NULL or name.startswith(b'"') for name in names):
        return False
    if "filter" not in members:
        return names != [_NULL, _NULL]
    return all(text.startswith(b'"') for text in (*names, members["filter"]))


def _shown(entry: bytes, members: Mapping[str, bytes]) -> str:
    if any(key in members for key in _SECRETS):
        return "<redacted>"
    return inspect(jsontext.tree(entry))


def _kind(text: bytes) -> str:
    word = _string(text)
    kind = word.upper() if word is not None else ANY_KIND
    return kind if kind in Kind.__members__ else ANY_KIND


def _select(text: bytes) -> tuple[str, ...] | None:
    if text == _NULL:
        return None
    columns = [_string(element) for element in jsontext.elements(text)]
    return tuple(column for column in columns if column is not None) or None


def _string(text: bytes) -> str | None:
    return str(jsontext.scalar(text)) if text.startswith(b'"') else None
