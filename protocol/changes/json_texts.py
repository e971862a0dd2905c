"""From a value's JSON, as `row_to_json` writes it, to the text form that the log would carry: the way back of `values`.

Called by `actors.db.notified_rows`, as triggers tell rows in JSON.
What is made here is rendered as the same JSON again, whatever the type.

**Invariants**
- Whatever the JSON, there is a text; what does not look as its type says is taken as it is written.
- Lower bounds of arrays other than 1 are lost, as JSON does not have them.

**Source**: PostgreSQL 18 documentation, 9.16 (`row_to_json`), 8.15.6, 8.16.6 and F.17 (the texts), read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocol.changes.model import TypeFacts

#: Returns the text form of a value; None for null.
Reader = Callable[[msgspec.Raw], str | None]

_as_text = msgspec.json.Decoder(str).decode
_as_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_as_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_is_plain_field = re.compile(r'[^()"\\\s,]+').fullmatch


def text_reader(facts: TypeFacts) -> Reader:
    """Return what reads the values of a type.

    What it returns raises `msgspec.DecodeError` for what is no JSON.
    """
    read = _reader(facts)

    def read_or_null(value: msgspec.Raw) -> str | None:
        return None if bytes(value) == b"null" else read(value)

    return read_or_null


def _reader(facts: TypeFacts) -> Callable[[msgspec.Raw], str]:
    while facts.base is not None:
        facts = facts.base
    if facts.element is not None:
        return _array_reader(facts.element)
    if facts.kind == "c":
        return _composite_reader(facts)
    return _READERS.get(facts.oid) or _EXTENSION_READERS.get(facts.name, _scalar)


def _scalar(value: msgspec.Raw) -> str:
    """Return what is between the quotes, or the number or whatever it is as it is written."""
    data = bytes(value)
    return _as_text(data) if data[:1] == b'"' else data.decode()


def _boolean(value: msgspec.Raw) -> str:
    return {b"true": "t", b"false": "f"}.get(bytes(value)) or _scalar(value)


def _json(value: msgspec.Raw) -> str:
    return bytes(value).decode()


def _timestamp(value: msgspec.Raw) -> str:
    text = _scalar(value)
    return text.replace("T", " ", 1) if text[:1].isdigit() else text


def _timestamp_with_zone(value: msgspec.Raw) -> str:
    text = _timestamp(value)
    moment = text.removesuffix(" BC")
    return moment.removesuffix(":00") + text[len(moment) :] if "+00:00" in text else text


def _numbers(value: msgspec.Raw) -> str:
    """Write an `int2vector` or an `oidvector`: elements with spaces between them."""
    if bytes(value)[:1] != b"[":
        return _scalar(value)
    return " ".join(_scalar(element) for element in _as_list(value))


def _hstore(value: msgspec.Raw) -> str:
    if bytes(value)[:1] != b"{":
        return _scalar(value)
    pairs = []
    for name, member in _as_object(value).items():
        text = "NULL" if bytes(member) == b"null" else _quoted(_scalar(member))
        pairs.append(f"{_quoted(name)}=>{text}")
    return ", ".join(pairs)


def _array_reader(element: TypeFacts) -> Callable[[msgspec.Raw], str]:
    read = _reader(element)
    base = element
    while base.base is not None:
        base = base.base
    # A list inside is another dimension, unless it is the value of an element.
    is_value = _is_vector if base.oid in _VECTORS else _is_any
    holds_lists = base.element is not None or base.oid in _WRITTEN_AS_LISTS
    delimiter = element.delimiter
    is_plain = re.compile(
        rf'(?!NULL$)[^{{}}"\\\s{re.escape(delimiter)}]+', re.IGNORECASE
    ).fullmatch

    def array(value: msgspec.Raw) -> str:
        if bytes(value)[:1] != b"[":
            return _scalar(value)
        return "{" + delimiter.join(map(inner, _as_list(value))) + "}"

    def inner(value: msgspec.Raw) -> str:
        data = bytes(value)
        if data == b"null":
            return "NULL"
        if data[:1] == b"[" and not (holds_lists and is_value(value)):
            return array(value)
        text = read(value)
        return text if is_plain(text) else _quoted(text)

    return array


def _is_any(_value: msgspec.Raw) -> bool:
    return True


def _is_vector(value: msgspec.Raw) -> bool:
    """Whether a list can be an `int2vector` or an `oidvector`, in which are neither nulls nor lists."""
    return all(bytes(element)[:1] not in (b"n", b"[") for element in _as_list(value))


def _composite_reader(facts: TypeFacts) -> Callable[[msgspec.Raw], str]:
    fields = [(name, text_reader(part)) for name, part in facts.fields]

    def composite(value: msgspec.Raw) -> str:
        if bytes(value)[:1] != b"{":
            return _scalar(value)
        members = _as_object(value)
        texts = []
        for name, read in fields:
            text = read(members[name]) if name in members else None
            if text is None:
                texts.append("")
            else:
                texts.append(text if _is_plain_field(text) else _doubly_quoted(text))
        return "(" + ",".join(texts) + ")"

    return composite


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _doubly_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


#: int2vector, oidvector
_VECTORS = frozenset({22, 30})
#: json and jsonb as well
_WRITTEN_AS_LISTS = _VECTORS | {114, 3802}

_READERS: Mapping[int, Callable[[msgspec.Raw], str]] = {
    16: _boolean,
    22: _numbers,
    30: _numbers,
    114: _json,
    1114: _timestamp,
    1184: _timestamp_with_zone,
    3802: _json,
}
_EXTENSION_READERS: Mapping[str, Callable[[msgspec.Raw], str]] = {"hstore": _hstore}
