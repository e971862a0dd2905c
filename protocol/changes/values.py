"""From a value's text form to its JSON, as `to_jsonb` would render it.

Called by `render`; an encoder is made once per column and used for every row.
The text is what the output functions of Postgres write under the pinned session settings (UTC, ISO dates, hex bytea).

**Invariants**
- Whatever the text, the result is valid JSON: what does not look as its type says becomes a string.

**Source**: spec 6.4; PostgreSQL 18 documentation, 8.15.6 (arrays) and 8.16.6 (composites), read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocol.changes.model import TypeFacts

#: Returns the JSON for a value that is not NULL.
Encoder = Callable[[str], bytes]

NULL = b"null"

_BOX_OID = 603

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
#: JSON has no word for them, so they are null.
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_HOUR_OFFSET = re.compile(r"[+-][0-9]{2}$")

#: `[1:2][0:1]=` in front of an array whose lower bounds are not 1.
_ARRAY_BOUNDS = re.compile(r"(?:\[-?[0-9]+:-?[0-9]+\])+=")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

#: One field of a composite and what follows it; quotes are doubled or escaped inside quotes.
_FIELD = re.compile(r'(?:"((?:[^"\\]|""|\\.)*)"|([^,"()\\]*))(,|$)', re.DOTALL)
_DOUBLED = re.compile(r'\\(.)|"(")', re.DOTALL)

_validate = msgspec.json.Decoder(msgspec.Raw).decode


def encoder(facts: TypeFacts) -> Encoder:
    """Return what renders the values of a type."""
    if facts.base is not None:
        return encoder(facts.base)
    if facts.element is not None:
        return _array_encoder(facts.element)
    if facts.kind == "c":
        return _composite_encoder(facts)
    return _ENCODERS.get(facts.oid, string)


def string(text: str) -> bytes:
    return msgspec.json.encode(text)


def _boolean(text: str) -> bytes:
    if text == "t":
        return b"true"
    return b"false" if text == "f" else string(text)


def _number(text: str) -> bytes:
    if _JSON_NUMBER.fullmatch(text):
        return text.encode()
    return NULL if text in _NOT_FINITE else string(text)


def _bytea(text: str) -> bytes:
    return string(text.removeprefix("\\x"))


def _timestamp(text: str) -> bytes:
    return string(text.replace(" ", "T", 1)) if text[:1].isdigit() else string(text)


def _timestamp_with_zone(text: str) -> bytes:
    """Render `2026-01-02 01:04:05+00[ BC]`; JSON wants the minutes of the offset as well."""
    moment = text.removesuffix(" BC")
    era = text[len(moment) :]
    if _HOUR_OFFSET.search(moment):
        moment += ":00"
    return _timestamp(moment + era)


def _json(text: str) -> bytes:
    """Return the value as it is; msgspec refuses some that Postgres keeps, which become strings."""
    data = text.encode()
    return data if _is_json(data) else string(text)


def _array_encoder(element: TypeFacts) -> Encoder:
    """Return what rewrites `{a,"b c",{…},NULL}` token by token."""
    encode = encoder(element)
    delimiter = ";" if element.oid == _BOX_OID else ","
    token = re.compile(
        rf'([{{}}{delimiter}])|"((?:[^"\\]|\\.)*)"|((?:[^{{}}{delimiter}"\\]|\\.)+)|(.)',
        re.DOTALL,
    )
    punctuation = {"{": b"[", "}": b"]", delimiter: b","}

    def array(text: str) -> bytes:
        bounds = _ARRAY_BOUNDS.match(text)
        parts: list[bytes] = []
        for match in token.finditer(text, bounds.end() if bounds else 0):
            mark, quoted, plain, _stray = match.groups()
            if mark is not None:
                parts.append(punctuation[mark])
            elif quoted is not None:
                parts.append(encode(_ESCAPED.sub(r"\1", quoted)))
            elif plain is not None:
                parts.append(NULL if plain == "NULL" else encode(_ESCAPED.sub(r"\1", plain)))
            else:
                return string(text)
        result = b"".join(parts)
        # The tokens alone do not say whether they stand in an order that makes sense.
        return result if result[:1] == b"[" and _is_json(result) else string(text)

    return array


def _composite_encoder(facts: TypeFacts) -> Encoder:
    """Return what rewrites `(1,"a b",)` as an object; a field with nothing in it is NULL."""
    fields = [(string(name) + b":", encoder(field)) for name, field in facts.fields]

    def composite(text: str) -> bytes:
        values = _fields(text)
        if values is None or len(values) != len(fields):
            return string(text)
        members = [
            key + (NULL if value is None else encode(value))
            for (key, encode), value in zip(fields, values, strict=True)
        ]
        return b"{" + b",".join(members) + b"}"

    return composite


def _fields(text: str) -> list[str | None] | None:
    """Return the fields of a composite's text form, or None if it is not one."""
    if len(text) < 2 or text[0] != "(" or text[-1] != ")":
        return None
    end = len(text) - 1
    values: list[str | None] = []
    at = 1
    while True:
        match = _FIELD.match(text, at, end)
        if match is None:
            return None
        quoted, plain, after = match.groups()
        if quoted is not None:
            values.append(_DOUBLED.sub(r"\1\2", quoted))
        else:
            values.append(plain or None)
        if not after:
            return values
        at = match.end()


def _is_json(data: bytes) -> bool:
    try:
        _validate(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


#: The built-in types that are not rendered as strings, by OID.
_ENCODERS: Mapping[int, Encoder] = {
    16: _boolean,
    17: _bytea,
    20: _number,  # int8
    21: _number,  # int2
    23: _number,  # int4
    114: _json,
    700: _number,  # float4
    701: _number,  # float8
    1114: _timestamp,
    1184: _timestamp_with_zone,
    1700: _number,  # numeric
    3802: _json,  # jsonb
}
