"""Neutral events as Fluxbase messages.

Called by `dialect`; what a topic is for says which events are told there at all.
Rows of a channel named after a table come as `broadcast`, those of a subscription with a config as `postgres_changes`.

**Source**: ledger FB-005…010, FB-015, FB-063…067, C40; the nesting of broadcasts and presence is that of the
Fluxbase server of 2026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame
from protocol.events import (
    EMPTY_OBJECT,
    BareRowChange,
    Failed,
    Joined,
    JoinRefused,
    PresenceDiff,
    PresenceState,
    PushRefused,
    Reply,
    RowChange,
    System,
    TextBroadcast,
    UserBroadcast,
)
from protocol.fluxbase import presences, refs, rows
from protocol.fluxbase.envelope import Message, json_object
from protocol.fluxbase.topics import Topic, TopicKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.events import Event

FAILED: Final = "the channel failed, connect again"
REFUSED: Final = "this was refused"

_TRUE: Final = b"true"


class _Text(Struct):
    event: Raw = Raw(b'""')
    payload: Raw = Raw(EMPTY_OBJECT)


_text: Final = Decoder(_Text)


def render(event: Event, topic: Topic) -> Sequence[Message]:
    """Return the messages for an event on a topic, none if it is not told there."""
    messages: Sequence[Message]
    match event:
        case Joined():
            messages = _joined(event, topic)
        case Reply():
            messages = _answer(event, topic)
        case JoinRefused() | PushRefused():
            messages = (_error(topic, event.reason),)
        case System():
            # The good news are for who waits for them: here an ack has said so.
            messages = () if event.ok else (_error(topic, event.message),)
        case Failed():
            messages = (_error(topic, FAILED),)
        case RowChange() | BareRowChange():
            messages = rows.messages(event.data, topic)
        case _:
            # Clients of other dialects can say something in the room of a table; nobody is to take it for a row.
            messages = _said(event, topic.channel) if topic.kind is TopicKind.ROOM else ()
    return messages


def _said(event: Event, channel: str) -> Sequence[Message]:
    match event:
        case TextBroadcast():
            return (_text_broadcast(event, channel),)
        case UserBroadcast(name, payload, is_binary):
            return () if is_binary else (_broadcast(channel, name, payload),)
        case PresenceState():
            return presences.state(event, channel)
        case PresenceDiff():
            return presences.changes(event, channel)
        case _:
            return ()


def _joined(event: Joined, topic: Topic) -> Sequence[Message]:
    if event.ref != refs.SUBSCRIBE:
        return ()
    if topic.kind is not TopicKind.CHANGES:
        return (Message("ack", topic.channel),)
    (binding,) = event.changes
    payload = {
        "subscribed": _TRUE,
        "subscription_id": jsontext.write(topic.detail),
        **jsontext.members(binding.entry),
    }
    return (Message("ack", topic.channel, json_object(payload)),)


def _answer(reply: Reply, topic: Topic) -> Sequence[Message]:
    message_id = refs.message_id(reply.ref)
    if message_id is not None:
        # Of one that was refused, an error has told.
        return _published(message_id) if reply.ok and message_id else ()
    if not reply.ok:
        return _refused(topic, reply.response)
    messages: Sequence[Message] = ()
    match reply.ref:
        case refs.SUBSCRIBE:
            messages = (Message("ack", topic.channel),)
        case refs.UNSUBSCRIBE:
            messages = (_unsubscribed(topic),)
        case refs.UNSUBSCRIBE_ALL:
            messages = (Message("ack", payload=json_object({"unsubscribed": _TRUE})),)
        case refs.TOKEN:
            messages = (Message("ack", payload=b'{"type":"access_token","updated":true}'),)
        case _:
            pass
    return messages


def _unsubscribed(topic: Topic) -> Message:
    if topic.kind is not TopicKind.CHANGES:
        return Message("ack", topic.channel)
    payload = {"unsubscribed": _TRUE, "subscription_id": jsontext.write(topic.detail)}
    return Message("ack", topic.channel, json_object(payload))


def _published(message_id: str) -> Sequence[Message]:
    payload = {"messageId": jsontext.write(message_id), "status": b'"ok"'}
    return (Message("ack", payload=json_object(payload)),)


def _refused(topic: Topic, response: bytes) -> Sequence[Message]:
    said = jsontext.tree(response)
    if isinstance(said, dict):
        if "code" in said:
            # A `PushRefused` has told of it.
            return ()
        said = said.get("reason")
    return (_error(topic, said if isinstance(said, str) else REFUSED),)


def _error(topic: Topic, reason: str) -> Message:
    return Message("error", topic.channel, error=reason or REFUSED)


def _text_broadcast(event: TextBroadcast, channel: str) -> Message:
    """Return what a Supabase client sent as text; its payload is an object, but nobody looked into that."""
    try:
        text = jsontext.decode(_text, event.payload)
        name = jsontext.scalar(bytes(text.event))
    except MalformedFrame:
        return _broadcast(channel, "", event.payload)
    return _broadcast(channel, name if isinstance(name, str) else "", bytes(text.payload))


def _broadcast(channel: str, name: str, payload: bytes) -> Message:
    said = json_object({"event": jsontext.write(name), "payload": payload})
    return Message("broadcast", channel, json_object({"broadcast": said}))
