"""What a `presence` push asks for, read leniently.

Called by `session`. The name of the event counts in any letter case; `type`, which supabase-py leaves out, does not.

**Source**: spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Decoder

from protocol import jsontext
from protocol.commands import PresenceAction
from protocol.errors import MalformedFrame
from protocol.events import EMPTY_OBJECT
from protocol.phoenix.envelope import BinaryPush

if TYPE_CHECKING:
    from protocol.phoenix.envelope import Push


class _PresencePayload(Struct):
    event: Raw | UnsetType = UNSET
    payload: Raw = Raw(EMPTY_OBJECT)


_payload: Final = Decoder(_PresencePayload)


def parse_presence(push: Push) -> tuple[PresenceAction, bytes | None]:
    """Return the action, and for TRACK the object to track, None if it is no object."""
    try:
        # What comes in a binary frame, or is no object, names no event.
        sent = jsontext.decode(
            _payload, b"null" if isinstance(push, BinaryPush) else push.payload
        )
    except MalformedFrame:
        return PresenceAction.NOTHING, None
    if isinstance(sent.event, UnsetType):
        return PresenceAction.NOTHING, None
    match _name(sent.event):
        case "track":
            # The copy lets go of the frame that the payload was cut from.
            payload = bytes(sent.payload)
            return PresenceAction.TRACK, payload if payload.startswith(b"{") else None
        case "untrack":
            return PresenceAction.UNTRACK, None
        case _:
            return PresenceAction.UNKNOWN, None


def _name(event: Raw) -> str | None:
    try:
        name = jsontext.scalar(bytes(event))
    except MalformedFrame:
        return None
    return name.lower() if isinstance(name, str) else None
