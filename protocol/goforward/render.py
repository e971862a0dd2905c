"""Neutral events as GoForward messages.

Called by `dialect`, which stamps them.

**Source**: ledger GF-028…043, GF-134, C29, C34…C36.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame
from protocol.events import (
    EMPTY_OBJECT,
    Closed,
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
from protocol.goforward import codes, presences, refs
from protocol.goforward.changes import row_change
from protocol.goforward.envelope import Message
from protocol.goforward.topics import is_subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.events import Event
    from protocol.goforward.codes import Problem
    from protocol.goforward.envelope import Stamp

    AboutTheChannel = Joined | JoinRefused | PushRefused | System | Closed | Failed

#: Who says what no user says.
SYSTEM: Final = "system"
FAILED: Final = "the channel failed, connect again"
POSTGRES: Final = "postgres_changes"

#: Ids that a broadcast brings along; others, of stored broadcasts, are of no kind that these clients know.
_MESSAGE_ID: Final = re.compile(r"msg_[0-9]{13}_[0-9A-Za-z]{6}")


class _Text(Struct):
    event: Raw = Raw(b'""')
    payload: Raw = Raw(EMPTY_OBJECT)


class _Metadata(Struct):
    id: str = ""
    type: str = "message"


_text: Final = Decoder(_Text)
_metadata: Final = Decoder(_Metadata)


def render(
    event: Event, topic: str, channel: str, sender: str, stamp: Stamp
) -> Sequence[Message]:
    """Return the messages for an event on a topic of a connection to `channel`, none if it is not told here."""
    if isinstance(event, RowChange):
        change = row_change(event.data, stamp)
        return (Message("database_change", change.name, change.payload, SYSTEM),)
    if is_subscription(topic):
        return _about_a_subscription(event, channel)
    messages: Sequence[Message]
    match event:
        case TextBroadcast():
            messages = (_text_broadcast(event, sender),)
        case UserBroadcast():
            messages = () if event.is_binary else (_user_broadcast(event, sender),)
        case PresenceState():
            messages = presences.newcomers_view(event.metas)
        case PresenceDiff():
            messages = presences.changes(event)
        case Reply():
            messages = _answer(event)
        case Joined() | JoinRefused() | PushRefused() | System() | Closed() | Failed():
            messages = _about_the_channel(event, channel)
        case _:
            messages = ()
    return messages


def _about_a_subscription(event: Event, channel: str) -> Sequence[Message]:
    match event:
        case System(extension="postgres_changes"):
            return _notice(event, channel)
        case JoinRefused():
            # Or the rows of it would be missing without a word.
            return (_error(codes.subscription_failed(event.reason)),)
        case _:
            # What else is said in its room is about nothing that a client knows.
            return ()


def _about_the_channel(event: AboutTheChannel, channel: str) -> Sequence[Message]:
    messages: Sequence[Message]
    match event:
        case Joined():
            payload = jsontext.write({"channel": channel})
            messages = (Message(SYSTEM, "connected", payload, SYSTEM),)
        case JoinRefused():
            messages = (_error(_problem(event.code, event.reason, channel)),)
        case PushRefused(ref=refs.ARRIVAL):
            messages = ()
        case PushRefused():
            problem = codes.problem_of(
                event.code,
                event.reason,
                channel=channel,
                retry_after_s=event.retry_after_s,
                required_permission=event.required_permission,
            )
            messages = (_error(problem),)
        case System():
            messages = _notice(event, channel)
        case Closed():
            # With a code, the notice before it was the error that ends the connection.
            messages = () if event.code else (_closed(event.reason),)
        case Failed():
            messages = (_closed(FAILED),)
    return messages


def _notice(event: System, channel: str) -> Sequence[Message]:
    if event.extension == POSTGRES:
        return () if event.ok else (_error(codes.subscription_failed(event.message)),)
    if event.ok:
        # The only good news about a channel as a whole is that its server stops in good order.
        return (_closed(event.message),)
    return (_error(_problem(event.code, event.message, channel)),) if event.code else ()


def _problem(code: str, reason: str, channel: str) -> Problem:
    problem = codes.problem_of(code, reason, channel=channel)
    # Source: ledger GF-129, the text is literal.
    return codes.auth_failed() if problem.code == codes.AUTH_FAILED else problem


def _answer(reply: Reply) -> Sequence[Message]:
    if reply.ref == refs.PING:
        return (Message("pong", "pong", EMPTY_OBJECT, SYSTEM),)
    if reply.ok or reply.ref == refs.ARRIVAL:
        return ()
    if reply.ref == refs.FAULT:
        return (Message(SYSTEM, "error", reply.response, SYSTEM),)
    reason = jsontext.tree(reply.response)
    if isinstance(reason, dict) and "code" in reason:
        # A `PushRefused` has told of it.
        return ()
    is_said = isinstance(reason, dict) and "reason" in reason
    problem = (
        codes.invalid_request(str(reason["reason"]))
        if is_said
        else codes.permission_denied("write")
    )
    return (_error(problem),)


def _error(problem: Problem) -> Message:
    return Message(SYSTEM, "error", problem.body(), SYSTEM)


def _closed(reason: str) -> Message:
    return Message(SYSTEM, "channel_closed", jsontext.write({"reason": reason}), SYSTEM)


def _text_broadcast(event: TextBroadcast, sender: str) -> Message:
    """Return what a Supabase client sent as text; its payload is an object, but nobody looked into that."""
    try:
        text = jsontext.decode(_text, event.payload)
        name = jsontext.scalar(bytes(text.event))
    except MalformedFrame:
        return Message("message", "", event.payload, sender)
    event_name = name if isinstance(name, str) else ""
    return Message("message", event_name, _payload(bytes(text.payload)), sender)


def _user_broadcast(event: UserBroadcast, sender: str) -> Message:
    metadata = _Metadata()
    if event.metadata:
        try:
            metadata = jsontext.decode(_metadata, event.metadata)
        except MalformedFrame:
            # A stored broadcast may have any metadata.
            metadata = _Metadata()
    id_ = metadata.id if _MESSAGE_ID.fullmatch(metadata.id) else ""
    kind = metadata.type if id_ else "message"
    return Message(kind, event.event, _payload(event.payload), sender, id_)


def _payload(payload: bytes) -> bytes:
    """Return what these clients look into without asking what it is; of nothing they could not."""
    return EMPTY_OBJECT if payload == b"null" else payload
