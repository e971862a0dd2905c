"""How a Fluxbase session calls its own commands, so that `render` knows what an answer is for.

The wire of Fluxbase has no refs: an answer says what it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from protocol.events import ClientRef

SUBSCRIBE: Final = "subscribe"
#: A channel is joined because the client says something in it; that is not acknowledged.
IMPLICIT: Final = "implicit"
UNSUBSCRIBE: Final = "unsubscribe"
UNSUBSCRIBE_ALL: Final = "unsubscribe all"
PRESENCE: Final = "presence"
TOKEN: Final = "access_token"  # noqa: S105  # a word
FAULT: Final = "fault"
_BROADCAST: Final = "broadcast:"


def broadcast(message_id: str) -> str:
    """Return the ref of a broadcast; the id is empty if nobody waits for an acknowledgement."""
    return _BROADCAST + message_id


def message_id(ref: ClientRef) -> str | None:
    """Return the id of the broadcast that a ref is of, None if it is of something else."""
    is_broadcast = isinstance(ref, str) and ref.startswith(_BROADCAST)
    return ref.removeprefix(_BROADCAST) if is_broadcast and isinstance(ref, str) else None
