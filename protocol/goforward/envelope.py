"""The one shape of every GoForward message: id, type, event, payload, user_id, timestamp.

`session` reads pushes with it, `render` makes messages, which `dialect` stamps and writes.

**Source**: ledger GF-024…033; GF-025 and C43: of what a client sends, id, user_id and timestamp do not count.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen
from msgspec import Raw, Struct
from msgspec.json import Decoder, Encoder

from protocol import jsontext
from protocol.errors import MalformedFrame
from protocol.events import EMPTY_OBJECT
from protocol.goforward.ids import change_id, message_id, timestamp


@frozen
class Stamp:
    """What makes a message this one: `at` in seconds since 1970-01-01 UTC, and some bytes of luck."""

    at: float
    luck: bytes

    @property
    def message_id(self) -> str:
        return message_id(self.at, self.luck)

    @property
    def change_id(self) -> str:
        return change_id(self.at)

    @property
    def timestamp(self) -> str:
        return timestamp(self.at)


@frozen
class Message:
    """A message of the server before it is stamped; `payload` is JSON, `id` empty for one that is made up."""

    type: str
    event: str
    payload: bytes
    user_id: str
    id: str = ""


class _Push(Struct):
    type: str
    event: str = ""
    payload: Raw = Raw(EMPTY_OBJECT)


class _Envelope(Struct):
    id: str
    type: str
    event: str
    payload: Raw
    user_id: str
    timestamp: str


_push: Final = Decoder(_Push)
_encoder: Final = Encoder()


@frozen
class Push:
    """What a client sent; `payload` is a JSON object."""

    type: str
    event: str
    payload: bytes


def decode(data: str | bytes) -> Push:
    """Return the push of one frame; members that are not looked at may be of any type.

    Raises:
        MalformedFrame: it is binary, or no such object.
    """
    if isinstance(data, bytes):
        raise MalformedFrame("binary frames are not read here")
    push = jsontext.decode(_push, data)
    payload = bytes(push.payload)
    if not payload.startswith(b"{"):
        raise MalformedFrame("payload is not an object")
    return Push(push.type, push.event, payload)


def encode(message: Message, stamp: Stamp) -> bytes:
    """Return the text of a message."""
    return _encoder.encode(
        _Envelope(
            message.id or stamp.message_id,
            message.type,
            message.event,
            Raw(message.payload),
            message.user_id,
            stamp.timestamp,
        )
    )
