"""From a value's text form to its JSON, as `to_jsonb` would render it.

Called by `render`; an encoder is made once per column and used for every row.
The text is what the output functions of Postgres write under the pinned session settings (UTC, ISO dates, hex bytea).
`literals` takes the texts of arrays, composites and hstore apart.

**Invariants**
- Whatever the text, the result is valid JSON: what does not look as its type says becomes a string.
- What stands alone in a column and what stands inside an array or a composite differ in two types only:
  there a number that is not finite is a string and `bytea` keeps its prefix, as `to_jsonb` has it.

**Source**: spec 6.4; PostgreSQL 18 documentation, 8.14 (JSON types) and 9.16 (`to_jsonb`), read 2026-11-21.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from protocol.changes.literals import array_rewriter, composite_fields, hstore_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from protocol.changes.model import TypeFacts

#: Returns the JSON for a value that is not NULL.
Encoder = Callable[[str], bytes]

NULL = b"null"

_is_json_number = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
#: JSON has no word for them, so they are null.
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_has_hours_only = re.compile(r"[+-][0-9]{2}$").search
#: An array of nothing but numbers.
_is_numbers = re.compile(r"[{}0-9eE+.,-]+").fullmatch

_validate = msgspec.json.Decoder(msgspec.Raw).decode


def encoder(facts: TypeFacts) -> Encoder:
    """Return what renders the values of a column of this type."""
    while facts.base is not None:
        facts = facts.base
    return _COLUMN_ENCODERS.get(facts.oid) or _inner_encoder(facts)


def string(text: str) -> bytes:
    return msgspec.json.encode(text)


def _inner_encoder(facts: TypeFacts) -> Encoder:
    """Return what renders a value inside of another one."""
    if facts.base is not None:
        return _inner_encoder(facts.base)
    if facts.element is not None:
        return _array_encoder(facts.element)
    if facts.kind == "c":
        return _composite_encoder(facts)
    return _ENCODERS.get(facts.oid) or _EXTENSION_ENCODERS.get(facts.name, string)


def _boolean(text: str) -> bytes:
    if text == "t":
        return b"true"
    return b"false" if text == "f" else string(text)


def _number(text: str) -> bytes:
    return text.encode() if _is_json_number(text) else string(text)


def _number_or_null(text: str) -> bytes:
    return NULL if text in _NOT_FINITE else _number(text)


def _bytea(text: str) -> bytes:
    return string(text.removeprefix("\\x"))


def _timestamp(text: str) -> bytes:
    return string(text.replace(" ", "T", 1)) if text[:1].isdigit() else string(text)


def _timestamp_with_zone(text: str) -> bytes:
    """Render `2026-01-02 01:04:05+00[ BC]`; JSON wants the minutes of the offset as well."""
    if text.endswith("+00"):
        # Nearly all of them, as the session is in UTC.
        return _timestamp(text + ":00")
    moment = text.removesuffix(" BC")
    era = text[len(moment) :]
    if _has_hours_only(moment):
        moment += ":00"
    return _timestamp(moment + era)


def _jsonb(text: str) -> bytes:
    """Return the value as it is; what is nested too deeply to be checked becomes a string."""
    data = text.encode()
    return data if _is_json(data) else string(text)


def _json(text: str) -> bytes:
    """Return the value as jsonb holds it: the last of equal keys, members in its order; numbers as they are written."""
    try:
        return msgspec.json.encode(_JSON_DECODER.decode(text))
    except UnicodeEncodeError:
        # Half of a surrogate pair, escaped: JSON may say it and UTF-8 may not, so it stays as it was written.
        return text.encode()
    except (ValueError, RecursionError):
        return string(text)


def _json_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return dict(sorted(dict(pairs).items(), key=lambda member: _jsonb_order(member[0])))


def _jsonb_order(name: str) -> tuple[int, bytes]:
    """Return by what jsonb sorts the members of an object."""
    # Half a surrogate pair has no place in jsonb; here it only must not fail.
    data = name.encode(errors="surrogatepass")
    return len(data), data


def _json_number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _not_a_json_number(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _small_integers(text: str) -> bytes:
    """Render an `int2vector`: numbers with spaces between them."""
    return _list(map(_number, text.split()))


def _oids(text: str) -> bytes:
    return _list(map(string, text.split()))


def _hstore(text: str) -> bytes:
    pairs = hstore_pairs(text)
    if pairs is None:
        return string(text)
    return msgspec.json.encode(
        dict(sorted(pairs.items(), key=lambda pair: _jsonb_order(pair[0])))
    )


def _array_encoder(element: TypeFacts) -> Encoder:
    """Return what renders an array, whatever its depth; lower bounds other than 1 are lost."""
    rewrite = array_rewriter(_inner_encoder(element), element.delimiter)
    has_numbers = element.oid in _NUMBERS

    def array(text: str) -> bytes:
        if has_numbers and _is_numbers(text):
            # Long arrays of numbers are common (embeddings), and need no look at each.
            result: bytes | None = text.replace("{", "[").replace("}", "]").encode()
        else:
            result = rewrite(text)
        # The tokens alone do not say whether they stand in an order that makes sense.
        if result is None or result[:1] != b"[" or not _is_json(result):
            return string(text)
        return result

    return array


def _composite_encoder(facts: TypeFacts) -> Encoder:
    """Return what rewrites `(1,"a b",)` as an object with its members in jsonb's order."""
    members = sorted(
        (_jsonb_order(name), index, string(name) + b":", _inner_encoder(field))
        for index, (name, field) in enumerate(facts.fields)
    )
    count = len(members)

    def composite(text: str) -> bytes:
        values = composite_fields(text, count)
        if values is None:
            return string(text)
        parts = []
        for _order, index, key, encode in members:
            value = values[index]
            parts.append(key + (NULL if value is None else encode(value)))
        return b"{" + b",".join(parts) + b"}"

    return composite


def _list(items: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _is_json(data: bytes) -> bool:
    try:
        _validate(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


_JSON_DECODER = json.JSONDecoder(
    object_pairs_hook=_json_members,
    parse_int=_json_number,
    parse_float=_json_number,
    parse_constant=_not_a_json_number,
)

#: int8, int2, int4, float4, float8, numeric
_NUMBERS = frozenset({20, 21, 23, 700, 701, 1700})

#: The built-in types that are not rendered as strings, by OID.
_ENCODERS: Mapping[int, Encoder] = {
    **dict.fromkeys(_NUMBERS, _number),
    16: _boolean,
    22: _small_integers,
    30: _oids,
    114: _json,
    1114: _timestamp,
    1184: _timestamp_with_zone,
    3802: _jsonb,
}

#: What differs where the value is not inside of another one.
_COLUMN_ENCODERS: Mapping[int, Encoder] = {
    17: _bytea,
    **dict.fromkeys(_NUMBERS, _number_or_null),
}

#: The types of extensions with a JSON form of their own, by name, as their OID is another in each database.
_EXTENSION_ENCODERS: Mapping[str, Encoder] = {"hstore": _hstore}
