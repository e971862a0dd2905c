"""What a dialect must offer to the actors, and all they know of it.

A dialect meets the rest of the server at two points only:
`Session.receive` turns frames into commands, `Dialect.encode` turns events into frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.commands import Command
    from protocol.events import Event
    from protocol.frames import Frame


class Session(Protocol):
    """The state machine of one dialect on one connection: which topics are joining, joined or unknown."""

    def receive(self, data: str | bytes) -> Sequence[Command]:
        """Return what one frame asks for, in order; often one command, sometimes none.

        Commands for a topic whose join is not settled yet are kept (bounded) and come out of `settle`.

        Raises:
            ProtocolError: the peer's fault; the frame has had no effect.
        """
        ...

    def settle(self, topic: str, number: int, *, joined: bool) -> Sequence[Command]:
        """Note that join `number` was accepted or refused; return the commands that waited for it.

        A refused topic is unknown again, and what waited is answered as for an unknown topic.
        A number that is not the topic's current join changes nothing.
        """
        ...

    def forget(self, topic: str, number: int) -> None:
        """Note that the subscription of join `number` ended by the server's will."""
        ...


class Dialect(Protocol):
    """A wire language; a frozen value, equal to any other of the same language and version."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def session(self) -> Session:
        """Return a fresh state machine for a new connection."""
        ...

    def encode(self, event: Event, topic: str) -> Frame | None:
        """Return the frame for `event` on `topic`, or None if this dialect cannot carry it."""
        ...


@frozen
class EncodeKey:
    """What makes two encodings of one event identical: dialect with version, and the topic as joined."""

    dialect: Dialect
    topic: str
