"""The binary frames of serializer 2.0.0, kinds 0 to 4, both directions.

In order: the kind, the lengths of the strings, for kinds 3 and 4 the payload's encoding, the strings, the payload.
Every length is one unsigned byte, so a string has at most 255 bytes of UTF-8; the payload is the rest of the frame.
The session reads kinds 0 and 3; the server writes kind 4 and nothing else, because supabase-js throws at any other.
Kinds 0, 1 and 2 from a server are here for clients and tests.

**Source**: spec 1.4.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from attrs import frozen

from protocol import jsontext
from protocol.errors import MalformedFrame, UnknownFrame
from protocol.events import UserBroadcast
from protocol.phoenix.envelope import BinaryPush
from protocol.phoenix.persist import persist_of_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(IntEnum):
    """The first byte of a binary frame."""

    PUSH = 0
    REPLY = 1
    BROADCAST = 2
    USER_BROADCAST_PUSH = 3
    USER_BROADCAST = 4


STRING_LIMIT_BYTES = 255

_BYTES, _JSON = 0, 1


@frozen
class ServerPush:
    """Kind 0 from a server: it has no ref."""

    join_ref: str
    topic: str
    event: str
    payload: bytes


@frozen
class ServerReply:
    """Kind 1: the answer to a push."""

    join_ref: str
    ref: str
    topic: str
    status: str
    payload: bytes


@frozen
class ServerBroadcast:
    """Kind 2: Phoenix's own broadcast."""

    topic: str
    event: str
    payload: bytes


@frozen
class ServerUserBroadcast:
    """Kind 4: the broadcast of a user."""

    topic: str
    message: UserBroadcast


ServerFrame = ServerPush | ServerReply | ServerBroadcast | ServerUserBroadcast


def decode_push(data: bytes) -> BinaryPush:
    """Return what a client sent as kind 0 or 3; an empty ref counts as none.

    The payload of kind 3 is checked if it says that it is JSON.
    Its metadata is checked; but for `persist` it is discarded.

    Raises:
        MalformedFrame: the frame ends too early, a string is not UTF-8, or what should be JSON is not.
        UnknownFrame: another kind.
    """
    if not data:
        raise MalformedFrame("empty frame")
    if data[0] == Kind.USER_BROADCAST_PUSH:
        return _decode_user_broadcast_push(data)
    if data[0] == Kind.PUSH:
        (join_ref, ref, topic, event), payload = _unpack(data, strings=4, start=5)
        message = UserBroadcast(event, payload, is_binary=True)
        return BinaryPush(join_ref or None, ref or None, topic, event, message)
    raise UnknownFrame("no kind of frame that a client sends")


def _decode_user_broadcast_push(data: bytes) -> BinaryPush:
    (join_ref, ref, topic, event, metadata), payload = _unpack(data, strings=5, start=7)
    is_binary = data[6] == _BYTES
    if not is_binary:
        jsontext.check(payload)
    persist = None
    if metadata:
        jsontext.check(metadata.encode())
        persist = persist_of_metadata(metadata.encode())
    message = UserBroadcast(event, payload, is_binary)
    return BinaryPush(join_ref or None, ref or None, topic, "broadcast", message, persist)


def encode_push(push: BinaryPush) -> bytes:
    """Return a client's kind 0.

    Raises:
        ValueError: a string has more than 255 bytes.
    """
    strings = (_ref(push.join_ref), _ref(push.ref), push.topic.encode(), push.event.encode())
    return _pack(Kind.PUSH, strings, push.message.payload)


def encode_user_broadcast_push(push: BinaryPush) -> bytes:
    """Return a client's kind 3.

    Raises:
        ValueError: a string has more than 255 bytes.
    """
    message = push.message
    strings = (
        _ref(push.join_ref),
        _ref(push.ref),
        push.topic.encode(),
        message.event.encode(),
        message.metadata,
    )
    return _pack(Kind.USER_BROADCAST_PUSH, strings, message.payload, _encoding(message))


def encode_user_broadcast(topic: str, message: UserBroadcast) -> bytes | None:
    """Return the server's kind 4, or None if a string has more than 255 bytes."""
    strings = (topic.encode(), message.event.encode(), message.metadata)
    if max(map(len, strings)) > STRING_LIMIT_BYTES:
        return None
    return _pack(Kind.USER_BROADCAST, strings, message.payload, _encoding(message))


def encode_server_frame(frame: ServerPush | ServerReply | ServerBroadcast) -> bytes:
    """Return a server's kind 0, 1 or 2.

    Raises:
        ValueError: a string has more than 255 bytes.
    """
    match frame:
        case ServerPush():
            strings = [frame.join_ref, frame.topic, frame.event]
            return _pack(Kind.PUSH, _encoded(strings), frame.payload)
        case ServerReply():
            strings = [frame.join_ref, frame.ref, frame.topic, frame.status]
            return _pack(Kind.REPLY, _encoded(strings), frame.payload)
        case ServerBroadcast():
            strings = [frame.topic, frame.event]
            return _pack(Kind.BROADCAST, _encoded(strings), frame.payload)


def decode_server_frame(data: bytes) -> ServerFrame:
    """Return what a server sent as kind 0, 1, 2 or 4.

    Raises:
        MalformedFrame: the frame ends too early, a string is not UTF-8, or what should be JSON is not.
        UnknownFrame: another kind.
    """
    match data[:1]:
        case b"\x00":
            (join_ref, topic, event), payload = _unpack(data, strings=3, start=4)
            return ServerPush(join_ref, topic, event, payload)
        case b"\x01":
            (join_ref, ref, topic, status), payload = _unpack(data, strings=4, start=5)
            return ServerReply(join_ref, ref, topic, status, payload)
        case b"\x02":
            (topic, event), payload = _unpack(data, strings=2, start=3)
            return ServerBroadcast(topic, event, payload)
        case b"\x04":
            return _decode_user_broadcast(data)
        case b"":
            raise MalformedFrame("empty frame")
        case _:
            raise UnknownFrame("no kind of frame that a server sends")


def _decode_user_broadcast(data: bytes) -> ServerUserBroadcast:
    (topic, event, metadata), payload = _unpack(data, strings=3, start=5)
    is_binary = data[4] == _BYTES
    if not is_binary:
        jsontext.check(payload)
    if metadata:
        jsontext.check(metadata.encode())
    return ServerUserBroadcast(
        topic, UserBroadcast(event, payload, is_binary, metadata.encode())
    )


def _unpack(data: bytes, *, strings: int, start: int) -> tuple[list[str], bytes]:
    """Return the strings, whose lengths stand behind the kind and which begin at `start`, and the rest."""
    found = []
    end = start
    try:
        for length in data[1 : 1 + strings]:
            begin, end = end, end + length
            found.append(data[begin:end].decode())
    except UnicodeDecodeError:
        raise MalformedFrame("a string is not UTF-8") from None
    if end > len(data):
        raise MalformedFrame("the frame ends too early")
    return found, data[end:]


def _pack(
    kind: Kind, strings: Sequence[bytes], payload: bytes, encoding: int | None = None
) -> bytes:
    head = (kind, *map(len, strings))
    if encoding is not None:
        head += (encoding,)
    return b"".join((bytes(head), *strings, payload))


def _encoded(strings: Sequence[str]) -> list[bytes]:
    return [string.encode() for string in strings]


def _encoding(message: UserBroadcast) -> int:
    return _BYTES if message.is_binary else _JSON


def _ref(ref: str | int | None) -> bytes:
    return b"" if ref is None else str(ref).encode()
