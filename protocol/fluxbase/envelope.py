"""The messages of Fluxbase as they are on the wire: one flat JSON object each way; what is absent is left out.

`session` reads with it, `render` writes.

**Source**: ledger FB-003…015, FB-063…067, and what the Fluxbase server of 2026 reads and writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame

if TYPE_CHECKING:
    from collections.abc import Mapping

NULL: Final = b"null"


class Push(Struct, rename={"message_id": "messageId"}):
    """What a client sent; texts that are missing are empty, JSON that is missing is null."""

    type: str
    channel: str = ""
    event: str = ""
    schema: str = ""
    table: str = ""
    filter: str = ""
    payload: Raw = Raw(NULL)
    config: Raw = Raw(NULL)
    subscription_id: str = ""
    message_id: str = ""
    token: str = ""


class ChangesConfig(Struct):
    """Which changes a subscription is for."""

    event: str = ""
    schema: str = ""
    table: str = ""
    filter: str = ""


class Presence(Struct):
    """What a client says of its presence."""

    event: str = ""
    key: str = ""
    state: Raw = Raw(b"{}")


_push: Final = Decoder(Push)
_config: Final = Decoder(ChangesConfig)
_presence: Final = Decoder(Presence)


@frozen
class Message:
    """A message of the server; `payload` is JSON, what is empty is left out."""

    type: str
    channel: str = ""
    payload: bytes = b""
    error: str = ""

    def text(self) -> bytes:
        """Return the message as it is sent."""
        members = {
            "type": jsontext.write(self.type),
            "channel": jsontext.write(self.channel) if self.channel else b"",
            "payload": self.payload,
            "error": jsontext.write(self.error) if self.error else b"",
        }
        return json_object({name: value for name, value in members.items() if value})


def decode(data: str | bytes) -> Push:
    """Return the push of one frame; members that are not looked at may be of any type.

    Raises:
        MalformedFrame: it is binary, or no such object.
    """
    if isinstance(data, bytes):
        raise MalformedFrame("binary frames are not read here")
    return jsontext.decode(_push, data)


def decode_config(config: bytes) -> ChangesConfig:
    """Return the config of a subscription.

    Raises:
        MalformedFrame: it is no such object.
    """
    return jsontext.decode(_config, config)


def decode_presence(payload: bytes) -> Presence:
    """Return what the payload of a presence says.

    Raises:
        MalformedFrame: it is no such object.
    """
    return jsontext.decode(_presence, payload)


def json_object(members: Mapping[str, bytes]) -> bytes:
    """Return an object of members that are JSON already."""
    return b"{%b}" % b",".join(
        b"%b:%b" % (jsontext.write(name), value) for name, value in members.items()
    )
