"""What one push asks for, once it is known whether its topic is joined.

Called by `session`, which knows that, and which sees to `phx_join` and `phx_leave` of joined topics itself.

**Source**: spec 1.5, 2.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.commands import (
    AccessToken,
    Answer,
    Broadcast,
    Heartbeat,
    PresencePush,
    UnknownPush,
)
from protocol.errors import MalformedFrame
from protocol.events import Reply, TextBroadcast
from protocol.phoenix import codes
from protocol.phoenix.envelope import BinaryPush
from protocol.phoenix.presence import parse_presence

if TYPE_CHECKING:
    from protocol.commands import Command
    from protocol.events import ClientRef
    from protocol.phoenix.envelope import Push

HEARTBEAT_TOPIC: Final = "phoenix"


class _TokenPayload(Struct):
    access_token: Raw = Raw(b"null")


_token_payload = Decoder(_TokenPayload)


def asked_of_joined(push: Push, number: int, join_ref: ClientRef) -> Command:
    """Return what a push asks of a topic that join `number` has joined, which the client calls `join_ref`."""
    match push.event:
        case "broadcast":
            if isinstance(push, BinaryPush):
                message, persist = push.message, push.persist
                return Broadcast(push.topic, number, push.ref, join_ref, message, persist)
            # The copy lets go of the frame that the payload was cut from.
            text = TextBroadcast(bytes(push.payload))
            return Broadcast(push.topic, number, push.ref, join_ref, text)
        case "access_token":
            return AccessToken(push.topic, number, _token(push))
        case "presence":
            action, payload = parse_presence(push)
            return PresencePush(push.topic, number, push.ref, join_ref, action, payload)
        case _:
            return UnknownPush(push.topic, number)


def answer_of_unknown(push: Push) -> Command:
    """Return what there is to say to a push for a topic that is not joined."""
    if push.topic == HEARTBEAT_TOPIC and push.event == "heartbeat":
        return Heartbeat(push.topic, push.ref)
    if push.event == "phx_leave":
        return Answer(push.topic, Reply(push.ref, push.join_ref, ok=True))
    return unmatched(push)


def unmatched(push: Push) -> Answer:
    """Return what is said to a push for a topic that is none, or is not joined."""
    response = codes.error_response(codes.UNMATCHED_TOPIC)
    return Answer(push.topic, Reply(push.ref, None, ok=False, response=response))


def _token(push: Push) -> str | None:
    if isinstance(push, BinaryPush):
        return None
    try:
        payload = jsontext.decode(_token_payload, push.payload)
        token = jsontext.scalar(payload.access_token)
    except MalformedFrame:
        return None
    return token if isinstance(token, str) else None
