"""What everything that serves one connection has in common: its name, its client, its tenant.

Made by the connection, handed to its parts (`joins.py`, `memberships.py`, `publisher.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from protocol.dialect import EncodeKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

    from actors.core.inbox import Inbox
    from actors.realtime.alarm import Alarm
    from actors.realtime.messages import ConnectionMessage
    from actors.realtime.ports import Opening, Outbox, TokenVerifier
    from actors.realtime.tenant import Tenant
    from protocol.events import Event
    from protocol.frames import CloseCode


@frozen
class Seat:
    """Who joins, and how the client is reached."""

    name: str
    opening: Opening
    tenant: Tenant
    inbox: Inbox[ConnectionMessage]
    outbox: Outbox
    #: Rings when a token is to be verified again, or there was no channel for too long.
    alarm: Alarm
    #: Closes the socket by the server's will.
    end: Callable[[CloseCode], Awaitable[None]]

    @property
    def verifier(self) -> TokenVerifier:
        """Who says whom the tokens of this client speak for."""
        return self.opening.verifier or self.tenant.verifier

    def end_code(self, event: Event) -> CloseCode | None:
        """Return with what to close the socket behind an event after which this dialect has no use for it."""
        return self.opening.dialect.ends_with(event)

    def end_behind(self, event: Event, nursery: trio.Nursery) -> None:
        """Close the socket behind such an event, in a task of the connection's nursery."""
        code = self.end_code(event)
        if code is not None:
            nursery.start_soon(self.end, code)

    def push(self, event: Event, topic: str) -> None:
        """Send an event to the client, if its dialect can carry it."""
        data = EncodeKey(self.opening.dialect, topic).encode(event)
        if data:
            self.outbox.push(data)
