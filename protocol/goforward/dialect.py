"""The GoForward dialect as the actors see it: one socket, one channel, one envelope.

Made by the door (`actors.web.goforward_socket`) for each socket; `session` reads, `render` with `envelope` writes.

**Source**: ledger GF-021…043, GF-105 (pings), GF-134 (what ends a connection).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from protocol.dialect import ServerHeartbeat
from protocol.events import Closed, Failed, JoinRefused
from protocol.frames import CloseCode, Frame, Opcode
from protocol.goforward import refs
from protocol.goforward.envelope import encode
from protocol.goforward.render import render
from protocol.goforward.session import GoForwardSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protocol.events import Event
    from protocol.goforward.envelope import Stamp


@frozen
class GoForwardDialect:
    """GoForward on one channel; `stamp` gives the time and luck of this moment, and makes no dialect another one.

    `ping_interval_s` are the seconds between two pings, 0 for none.
    """

    channel: str
    stamp: Callable[[], Stamp] = field(eq=False, repr=False)
    ping_interval_s: float = 30.0

    @property
    def name(self) -> str:
        return "goforward"

    @property
    def version(self) -> str:
        return "1"

    @property
    def heartbeat(self) -> ServerHeartbeat | None:
        """A ping of the WebSocket protocol, which browsers answer by themselves: who is gone is silent."""
        if self.ping_interval_s <= 0:
            return None
        return ServerHeartbeat(self.ping_interval_s, (Frame(Opcode.PING, b""),))

    def session(self, user_id: str) -> GoForwardSession:
        """Return a fresh state machine for a new connection of that user."""
        return GoForwardSession(self.channel, user_id, self.stamp)

    def encode(self, event: Event, topic: str, sender: str) -> Sequence[Frame]:
        """Return a frame for each message that an event is told in."""
        stamp = self.stamp()
        messages = render(event, topic, self.channel, sender, stamp)
        stamps = (stamp, *(self.stamp() for _ in messages[1:]))
        return [
            Frame(Opcode.TEXT, encode(message, own))
            for message, own in zip(messages, stamps, strict=False)
        ]

    def ends_with(self, event: Event) -> CloseCode | None:
        """Return the code behind the end of the channel on this socket; a subscription that is refused is no end."""
        match event:
            case JoinRefused(join_ref=refs.CHANNEL):
                return CloseCode.POLICY
            case Closed():
                return CloseCode.POLICY if event.code else CloseCode.NORMAL
            case Failed():
                return CloseCode.SERVICE_RESTART
            case _:
                return None
