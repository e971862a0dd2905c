"""The bodies of broadcasts over HTTP: from bytes to messages, or to the errors that their client is told.

Called by `actors.web.broadcast`, which knows about requests; here is only what stands in them.

**Invariants**
- JSON that is passed on stays the bytes it arrived as.
- Of a batch with a faulty message nothing is returned.
- Nothing but `MalformedFrame` (no JSON at all) and `InvalidBody` (JSON, but not what is wanted) is raised.

**Source**: spec 1.4 (what each origin becomes), 4.2 and 4.3 (texts and shapes are literal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, Raw, Struct, UnsetType, defstruct
from msgspec.json import Decoder
from msgspec.structs import astuple

from protocol import jsontext
from protocol.commands import PostedBroadcast
from protocol.errors import MalformedFrame, ProtocolError
from protocol.events import EMPTY_OBJECT, TextBroadcast, UserBroadcast
from protocol.phoenix.binary import STRING_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

BLANK: Final = "can't be blank"
INVALID: Final = "is invalid"
TOO_LARGE: Final = "Payload size exceeds tenant limit"
# Upstream bounds a batch by its rate limit, which is 100 a second unless it was raised.
MESSAGES_LIMIT: Final = 1000
#: Ours, in the words of upstream's validation library; see `binary` for the second bound.
TOO_MANY: Final = f"should have at most {MESSAGES_LIMIT} item(s)"
TOO_LONG: Final = f"should be at most {STRING_LIMIT_BYTES} byte(s)"

_NULL: Final = Raw(b"null")
_STRING: Final = b'"'
_OBJECT: Final = b"{"

Errors = dict[str, list[str]]


class InvalidBody(ProtocolError):
    """The request says what cannot be done; `errors` names each fault at its place, as JSON types."""

    code = "UnprocessableEntity"

    def __init__(self, errors: dict[str, Any]) -> None:
        super().__init__("the body is not what this address takes")
        self.errors = errors


class _Batch(Struct):
    messages: Raw = _NULL


class _Message(Struct):
    topic: Raw = _NULL
    event: Raw = _NULL
    payload: Raw = _NULL
    private: Raw = _NULL
    id: Raw = _NULL


# One place more than a batch may have, so that what is beyond is skipped and not built:
# as a list, 8 MB of `{}` would be half a gigabyte of messages.
_Messages = defstruct(
    "_Messages",
    [(f"at_{place}", _Message | UnsetType, UNSET) for place in range(MESSAGES_LIMIT + 1)],
    array_like=True,
)

_batch = Decoder(_Batch)
_messages = Decoder(_Messages)


def parse_batch(body: bytes, *, payload_bytes: int) -> tuple[PostedBroadcast, ...]:
    """Return the messages of a batch, in order; `payload_bytes` is the largest payload.

    Raises:
        MalformedFrame: the body is no JSON.
        InvalidBody: something is missing, of the wrong type or too large.
    """
    messages = _split(body)
    errors = [_errors_of(message, payload_bytes) for message in messages]
    if any(errors):
        raise InvalidBody({"messages": errors})
    return tuple(_broadcast(message) for message in messages)


def parse_json(
    sub_topic: str, event: str, body: bytes, *, private: bool, payload_bytes: int
) -> PostedBroadcast:
    """Return the one broadcast whose JSON payload is the body; no body at all is an empty object.

    What is no object is put into one, under `_json`: clients look into every payload.
    Raises as `parse_batch`.
    """
    payload = body.strip(b" \t\r\n") if body else EMPTY_OBJECT
    jsontext.check(payload)
    if not payload.startswith(_OBJECT):
        payload = b'{"_json":' + payload + b"}"
    _refuse(_address_errors(sub_topic, event) | _size_errors(payload, payload_bytes))
    return PostedBroadcast(sub_topic, private, UserBroadcast(event, payload, is_binary=False))


def parse_binary(
    sub_topic: str, event: str, body: bytes, *, private: bool, payload_bytes: int
) -> PostedBroadcast:
    """Return the one broadcast whose payload is the bytes of the body.

    Raises:
        InvalidBody: topic or event are blank, or longer than a binary frame can carry; or the body is too large.
    """
    framed = {"topic": f"realtime:{sub_topic}", "event": event}
    long = {
        name: [TOO_LONG]
        for name, text in framed.items()
        if len(text.encode()) > STRING_LIMIT_BYTES
    }
    _refuse(long | _address_errors(sub_topic, event) | _size_errors(body, payload_bytes))
    return PostedBroadcast(sub_topic, private, UserBroadcast(event, body, is_binary=True))


def _split(body: bytes) -> Sequence[_Message]:
    """Return the messages of a batch, not looked into yet."""
    messages = b""
    if body:
        jsontext.check(body)
        try:
            messages = bytes(jsontext.decode(_batch, body).messages)
        except MalformedFrame:  # JSON, but no object, so there is no `messages` in it
            messages = b"null"
    if not messages or _is_blank(messages):
        raise InvalidBody({"messages": [BLANK]})
    try:
        split = jsontext.decode(_messages, messages)
    except MalformedFrame:
        raise InvalidBody({"messages": [INVALID]}) from None
    found = [message for message in astuple(split) if message is not UNSET]
    if not found:
        raise InvalidBody({"messages": [BLANK]})
    if len(found) > MESSAGES_LIMIT:
        raise InvalidBody({"messages": [TOO_MANY]})
    return found


def _errors_of(message: _Message, payload_bytes: int) -> Errors:
    payload = bytes(message.payload)
    faults = {
        "payload": _fault(payload, _OBJECT),
        "event": _fault(bytes(message.event), _STRING),
        "topic": _fault(bytes(message.topic), _STRING),
        "private": INVALID if _flag(message.private) is None else None,
        "id": _optional_fault(bytes(message.id), _STRING),
    }
    errors = {name: [fault] for name, fault in faults.items() if fault is not None}
    return _size_errors(payload, payload_bytes) | errors


def _broadcast(message: _Message) -> PostedBroadcast:
    identifier = bytes(message.id)
    meta = b"" if _is_blank(identifier) else b',"meta":{"id":%b}' % identifier
    text = b'{"type":"broadcast","event":%b,"payload":%b%b}' % (
        bytes(message.event),
        bytes(message.payload),
        meta,
    )
    sub_topic = str(jsontext.scalar(bytes(message.topic)))
    return PostedBroadcast(sub_topic, bool(_flag(message.private)), TextBroadcast(text))


def _fault(text: bytes, opening: bytes) -> str | None:
    """Return what is wrong with a value that has to be there, and of the type that begins so."""
    return BLANK if _is_blank(text) else _optional_fault(text, opening)


def _optional_fault(text: bytes, opening: bytes) -> str | None:
    return None if text.startswith(opening) or _is_blank(text) else INVALID


def _is_blank(text: bytes) -> bool:
    if text.startswith(_STRING):
        return not str(jsontext.scalar(text)).strip()
    return text == b"null"


def _flag(raw: Raw) -> bool | None:
    """Return what a boolean says that may be missing, or be written as a string; None if it says nothing."""
    text = bytes(raw)
    if _is_blank(text) or text in (b"false", b'"false"', b'"0"'):
        return False
    return True if text in (b"true", b'"true"', b'"1"') else None


def _address_errors(sub_topic: str, event: str) -> Errors:
    named = {"topic": sub_topic, "event": event}
    return {name: [BLANK] for name, text in named.items() if not text.strip()}


def _size_errors(payload: bytes, payload_bytes: int) -> Errors:
    return {"payload": [TOO_LARGE]} if len(payload) > payload_bytes else {}


def _refuse(errors: Errors) -> None:
    if errors:
        raise InvalidBody(errors)
