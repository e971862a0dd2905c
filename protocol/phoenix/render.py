"""Neutral events as Phoenix messages: who puts which ref, under which event name.

Called by `dialect`, which then chooses the serializer.

**Source**: spec 1.4 (refs and origins), 2.4, 2.6, 2.7, 6.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from protocol import jsontext
from protocol.events import (
    EMPTY_OBJECT,
    Closed,
    Failed,
    Reply,
    RowChange,
    System,
    TextBroadcast,
    UserBroadcast,
)
from protocol.phoenix.envelope import Envelope

if TYPE_CHECKING:
    from protocol.events import Event


def render(event: Event, topic: str) -> Envelope:
    """Return `event` as a text message; a `UserBroadcast` must not be binary."""
    match event:
        case TextBroadcast():
            return Envelope(None, None, topic, "broadcast", Raw(event.payload))
        case Reply():
            return Envelope(event.join_ref, event.ref, topic, "phx_reply", _reply(event))
        case RowChange():
            return Envelope(None, None, topic, "postgres_changes", _row_change(event))
        case UserBroadcast():
            return Envelope(None, None, topic, "broadcast", _user_broadcast(event))
        case System():
            return Envelope(event.join_ref, None, topic, "system", _system(event))
        # supabase-js compares `ref` with the join_ref of its join and ignores the message if they differ.
        case Closed() | Failed():
            name = "phx_close" if isinstance(event, Closed) else "phx_error"
            return Envelope(event.join_ref, event.join_ref, topic, name, Raw(EMPTY_OBJECT))


def _reply(event: Reply) -> Raw:
    status = b'{"status":"ok","response":' if event.ok else b'{"status":"error","response":'
    return Raw(status + event.response + b"}")


def _row_change(event: RowChange) -> Raw:
    return Raw(b'{"ids":' + jsontext.write(event.ids) + b',"data":' + event.data + b"}")


def _user_broadcast(event: UserBroadcast) -> Raw:
    name = jsontext.write(event.event)
    meta = b',"meta":' + event.metadata if event.metadata else b""
    return Raw(
        b'{"event":'
        + name
        + b',"payload":'
        + event.payload
        + b',"type":"broadcast"'
        + meta
        + b"}"
    )


def _system(event: System) -> Raw:
    payload = {
        "extension": event.extension,
        "status": "ok" if event.ok else "error",
        "message": event.message,
    }
    if event.channel is not None:
        payload["channel"] = event.channel
    return Raw(jsontext.write(payload))
