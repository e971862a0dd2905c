"""The Fluxbase dialect as the actors see it: many channels on one socket, flat messages, a heartbeat of the server.

Made by the door (`actors.web.fluxbase`); `session` reads, `render` with `envelope` writes.

**Source**: ledger FB-009 (heartbeat), C40 (what a subscription waits for); its clients know no later rejoin,
so what ends a subscription by the server's will ends the connection, and they come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol.dialect import ServerHeartbeat
from protocol.events import Closed, Failed
from protocol.fluxbase.envelope import Message
from protocol.fluxbase.render import render
from protocol.fluxbase.session import FluxbaseSession
from protocol.fluxbase.topics import read_topic
from protocol.frames import CloseCode, Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.events import Event

#: The message is for the client; the ping has even one that never says anything show that it is there.
_HEARTBEAT: Final = (
    Frame(Opcode.TEXT, Message("heartbeat").text()),
    Frame(Opcode.PING, b""),
)


@frozen
class FluxbaseDialect:
    """Fluxbase; `heartbeat_s` are the seconds between two heartbeats, 0 for none.

    `wait_s` is how long a subscription to rows waits for the database's verdict before it is refused.
    """

    heartbeat_s: float = 30.0
    wait_s: float = 15.0

    @property
    def name(self) -> str:
        return "fluxbase"

    @property
    def version(self) -> str:
        return "1"

    @property
    def heartbeat(self) -> ServerHeartbeat | None:
        """A message that says nothing but that the server is there, and a ping to hear the same of the client."""
        if self.heartbeat_s <= 0:
            return None
        return ServerHeartbeat(self.heartbeat_s, _HEARTBEAT)

    def session(self, user_id: str) -> FluxbaseSession:
        """Return a fresh state machine for a new connection of that user."""
        return FluxbaseSession(user_id, self.wait_s)

    def encode(self, event: Event, topic: str, sender: str = "") -> Sequence[Frame]:  # noqa: ARG002
        """Return a frame for each message that an event is told in; nobody is named."""
        messages = render(event, read_topic(topic))
        return [Frame(Opcode.TEXT, message.text()) for message in messages]

    def ends_with(self, event: Event) -> CloseCode | None:
        """Return the code behind the end of a subscription that the client did not ask for."""
        match event:
            case Closed() if event.reason or event.code:
                return CloseCode.POLICY
            case Failed():
                return CloseCode.SERVICE_RESTART
            case _:
                return None
