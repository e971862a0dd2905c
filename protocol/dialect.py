"""What a dialect must offer to the actors, and all they know of it.

A dialect meets the rest of the server at two points only:
`Session.receive` turns frames into commands, `Dialect.encode` turns events into frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.commands import Command, SharedChanges
    from protocol.events import Event
    from protocol.frames import CloseCode, Frame


class Session(Protocol):
    """The state machine of one dialect on one connection: which topics are joining, joined or unknown."""

    def begin(self) -> Sequence[Command]:
        """Return what the client asks for by connecting, before its first frame."""
        ...

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
        """Note that the subscription of join `number` ended by the server's will.

        If that join is not settled yet, what waits for it is answered by `settle`, as for an unknown topic.
        """
        ...

    def share(self, topic: str, changes: Sequence[SharedChanges]) -> Sequence[Command]:
        """Note which row changes the joined `topic` has for all its members; return the joins and leaves that takes.

        A dialect whose channels have no such thing returns nothing.
        """
        ...


class Dialect(Protocol):
    """A wire language; a frozen value, equal to any other of the same language and version."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def heartbeat(self) -> ServerHeartbeat | None:
        """What the server sends at regular intervals of its own accord, if anything."""
        ...

    def session(self, user_id: str) -> Session:
        """Return a fresh state machine for a new connection of that user (the `sub` of the token, or empty)."""
        ...

    def encode(self, event: Event, topic: str, sender: str) -> Sequence[Frame]:
        """Return the frames for `event` on `topic`, none if this dialect cannot carry it.

        `sender` is the user id of who sent it, empty if that is unknown or nobody.
        """
        ...

    def ends_with(self, event: Event) -> CloseCode | None:
        """Return the code to close the socket with behind this event, None if the connection goes on.

        For dialects whose clients do not join again on the socket that they have.
        """
        ...


@frozen
class ServerHeartbeat:
    """What the server sends every `interval_s` seconds."""

    interval_s: float
    frames: tuple[Frame, ...]


@frozen(cache_hash=True)
class EncodeKey:
    """What makes two encodings of one event identical: dialect with version, and the topic as joined."""

    dialect: Dialect
    topic: str

    def encode(self, event: Event, sender: str = "") -> bytes:
        """Return the WebSocket frames of an event, empty if the dialect cannot carry it; see `Dialect.encode`."""
        frames = self.dialect.encode(event, self.topic, sender)
        if len(frames) == 1:
            return frames[0].wire()
        return b"".join([frame.wire() for frame in frames])
