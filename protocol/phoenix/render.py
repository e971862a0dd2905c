"""Neutral events as Phoenix messages: who puts which ref, under which event name.

Called by `dialect`, which then chooses the serializer.

**Source**: spec 1.4 (refs and origins), 2.4, 2.6, 2.7, 5, 6.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw

from protocol import jsontext
from protocol.events import (
    EMPTY_OBJECT,
    BareRowChange,
    Closed,
    Failed,
    Joined,
    JoinRefused,
    PresenceDiff,
    PresenceState,
    PushRefused,
    Replaced,
    ReplayedBroadcast,
    Reply,
    RowChange,
    System,
    TextBroadcast,
    UserBroadcast,
)
from protocol.phoenix import codes
from protocol.phoenix.envelope import Envelope
from protocol.phoenix.join import join_response

if TYPE_CHECKING:
    from protocol.events import ClientRef, Event


def _reply(response: bytes, *, ok: bool) -> bytes:
    status = b'{"status":"ok","response":' if ok else b'{"status":"error","response":'
    return status + response + b"}"


#: The answer to what was done and has no more to say: made for every message that is acknowledged.
_ACCEPTED: Final = Raw(_reply(EMPTY_OBJECT, ok=True))


def render(event: Event, topic: str) -> Envelope | None:
    """Return `event` as a text message, or None if these clients are not told; a broadcast must not be of bytes."""
    match event:
        # First what there is most of.
        case Reply():
            is_plain = event.ok and event.response == EMPTY_OBJECT
            response = _ACCEPTED if is_plain else Raw(_reply(event.response, ok=event.ok))
            return Envelope(event.join_ref, event.ref, topic, "phx_reply", response)
        case TextBroadcast() | UserBroadcast() | RowChange() | BareRowChange() | PresenceDiff():
            name, payload = _fanned_out(event)
            return Envelope(None, None, topic, name, Raw(payload))
        case PushRefused():
            # Source: spec 4.1, a push that is refused is answered by an ack, or not at all.
            return None
        case _:
            join_ref, ref, name, payload = _of_one_join(event)
            return Envelope(join_ref, ref, topic, name, Raw(payload))


def _of_one_join(
    event: ReplayedBroadcast
    | PresenceState
    | Joined
    | JoinRefused
    | System
    | Closed
    | Replaced
    | Failed,
) -> tuple[ClientRef, ClientRef, str, bytes]:
    """Return the refs, name and payload of what is said to one subscription."""
    match event:
        case ReplayedBroadcast():
            return event.join_ref, None, "broadcast", _user_broadcast(event.message)
        case PresenceState():
            return event.join_ref, None, "presence_state", event.metas
        case Joined():
            response = join_response(event.changes)
            return event.join_ref, event.ref, "phx_reply", _reply(response, ok=True)
        case JoinRefused():
            reason = f"{event.code}: {event.reason}" if event.code else event.reason
            response = codes.error_response(reason)
            return event.join_ref, event.ref, "phx_reply", _reply(response, ok=False)
        case System():
            return event.join_ref, None, "system", _system(event)
        # supabase-js compares `ref` with the join_ref of its join and ignores the message if they differ.
        case Closed() | Replaced() | Failed():
            name = "phx_error" if isinstance(event, Failed) else "phx_close"
            return event.join_ref, event.join_ref, name, EMPTY_OBJECT


def _fanned_out(
    event: TextBroadcast | UserBroadcast | RowChange | BareRowChange | PresenceDiff,
) -> tuple[str, bytes]:
    """Return name and payload of what is the same for everybody who gets it, hence without refs."""
    match event:
        case TextBroadcast():
            return "broadcast", event.payload
        case UserBroadcast():
            return "broadcast", _user_broadcast(event)
        case RowChange():
            return "postgres_changes", _row_change(event)
        case BareRowChange():
            return event.kind, event.data
        case PresenceDiff():
            return "presence_diff", _presence_diff(event)


def _row_change(event: RowChange) -> bytes:
    return b'{"ids":' + jsontext.write(event.ids) + b',"data":' + event.data + b"}"


def _presence_diff(event: PresenceDiff) -> bytes:
    return b'{"joins":%b,"leaves":%b}' % (event.joins, event.leaves)


def _user_broadcast(event: UserBroadcast) -> bytes:
    name = jsontext.write(event.event)
    meta = b',"meta":' + event.metadata if event.metadata else b""
    return b'{"event":%b,"payload":%b,"type":"broadcast"%b}' % (name, event.payload, meta)


def _system(event: System) -> bytes:
    payload = {
        "extension": event.extension,
        "status": "ok" if event.ok else "error",
        "message": event.message,
    }
    if event.channel is not None:
        payload["channel"] = event.channel
    return jsontext.write(payload)
