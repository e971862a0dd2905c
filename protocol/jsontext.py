"""JSON text, checked and taken apart without being decoded as a whole.

Used by the dialects, so that every way in which JSON can be wrong ends in one `ProtocolError`.
Values that are only passed on stay the bytes they arrived as (`msgspec.Raw` inside, `bytes` outside).

**Invariants**
- What `check` accepts can be spliced into any JSON document.
- No function here raises anything but `MalformedFrame` for any input; very deep nesting (about 1000) is refused too.
- Every text handed in but to `check` and `utf8` is known to be UTF-8.
- A `Raw` keeps the whole text it was cut from alive: copy it with `bytes()` before keeping it.

**Source**: msgspec 0.22 for what its decoders raise; `tests/protocol/test_jsontext.py` holds it to that.
"""

import re
from typing import Any, TypeVar

import msgspec

from protocol.errors import MalformedFrame

T = TypeVar("T")

Scalar = str | int | float | bool | None

_HALVES = ("d8", "d9", "da", "db", "dc", "dd", "de", "df")
_REPLACEMENT = "\\ufffd"
#: A surrogate pair, any other character by its number, or any other escape.
_escapes = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)"
).sub

_any_value = msgspec.json.Decoder(msgspec.Raw)
_scalar = msgspec.json.Decoder(Scalar)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_tree = msgspec.json.Decoder()
_sorted = msgspec.json.Encoder(order="sorted")

#: Write a value as compact JSON in UTF-8.
write = msgspec.json.Encoder().encode


def decode(decoder: "msgspec.json.Decoder[T]", text: str | bytes) -> T:
    """Return what `decoder` makes of `text`; bytes must be known to be UTF-8.

    Raises:
        MalformedFrame: the text is not JSON, not of the decoder's type, or nested too deeply.
    """
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise MalformedFrame("not the expected JSON") from None


def without_half_pairs(text: str) -> str:
    """Return JSON in which every escape that is half of a surrogate pair has become U+FFFD."""
    return _escapes(lambda escape: _REPLACEMENT if _is_half(escape[0]) else escape[0], text)


def _is_half(escape: str) -> bool:
    return len(escape) == len(_REPLACEMENT) and escape[2:4].lower() in _HALVES


def utf8(data: bytes) -> str:
    """Return the text that `data` encodes.

    Raises:
        MalformedFrame: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedFrame("not UTF-8") from None


def check(data: bytes) -> None:
    """Accept exactly one JSON value in UTF-8.

    Raises:
        MalformedFrame: it is anything else.
    """
    # A skipped string is not checked for UTF-8 by msgspec, hence the look at the bytes first.
    if not data.isascii():
        utf8(data)
    decode(_any_value, data)


def scalar(text: bytes) -> Scalar:
    """Return a string, number, boolean or null.

    Raises:
        MalformedFrame: it is an object, an array, or a number beyond a double.
    """
    value: Scalar = decode(_scalar, text)
    return value


def members(text: bytes) -> dict[str, bytes]:
    """Return the members of an object as they were written; of equal keys the last counts.

    Raises:
        MalformedFrame: it is no object.
    """
    return {key: bytes(raw) for key, raw in decode(_members, text).items()}


def elements(text: bytes) -> list[bytes]:
    """Return the elements of an array as they were written.

    Raises:
        MalformedFrame: it is no array.
    """
    return [bytes(raw) for raw in decode(_elements, text)]


def tree(text: bytes) -> Any:
    """Return the value of a text, or the text itself where Python cannot hold it (a number beyond a double)."""
    try:
        return _tree.decode(text)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return utf8(text)


def canonical(text: bytes) -> bytes:
    """Return a text that is the same for equal values: compact, keys sorted, the last of equal keys.

    A value that Python cannot hold (a number beyond a double) is returned as it was written.
    """
    try:
        return _sorted.encode(_tree.decode(text))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return text
