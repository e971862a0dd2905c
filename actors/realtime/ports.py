"""What the actors of this floor need from the floors above, as protocols.

Implemented on floor 3 (`auth`, `db`) and floor 4 (`web`), joined together in `actors.node`.
Every implementation and every fake passes the same contract test (`tests/contracts/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import Factory, field, frozen

from protocol.managed import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from protocol.dialect import Dialect
    from protocol.frames import CloseCode


@frozen(cache_hash=True)
class Identity:
    """Whom a token speaks for.

    `claims` is the JSON object of all claims, as signed; `user_id` is its `sub`, empty if that is no string.
    `expires_at` is in seconds since 1970-01-01 UTC.
    `token` is what it was read from, to be verified again later; it does not make two identities different.
    `claimed_role` is the role as the token has it, which the database may not know; permissions of channels name it.
    """

    role: str
    claims: bytes = field(repr=False)
    expires_at: float
    token: str = field(default="", repr=False, eq=False)
    user_id: str = field(default="", repr=False, eq=False)
    claimed_role: str = field(
        default=Factory(lambda self: self.role, takes_self=True), eq=False
    )

    @property
    def is_nobody(self) -> bool:
        """Whether this is what stands for a client without a token."""
        return not self.token and self.role == ANONYMOUS


class TokenVerifier(Protocol):
    """From a JWT to an identity."""

    async def verify(self, token: str) -> Identity:
        """Return whom `token` speaks for; waits, bounded, when a key it names has to be fetched first.

        Raises:
            Unauthorized: with the code and literal text of spec 1.2 and 2.3.
            Refused: without a code, for a token that is signed and yet not for this server.
        """
        ...

    def seconds_left(self, identity: Identity) -> float:
        """Return how long the identity is good by its token's `exp`; never waits, and may be negative."""
        ...


class DatabaseRoles(Protocol):
    """Which roles the database has."""

    async def exists(self, role: str) -> bool:
        """Return whether there is a role of that name.

        Raises:
            Refused: that could not be found out.
        """
        ...


class Outbox(Protocol):
    """The frames waiting for one connection, and the only way to write to its socket."""

    def push(self, data: bytes) -> bool:
        """Send or queue `data`, which is one or more whole WebSocket frames.

        Never waits and never raises.
        False means that the bytes will not arrive: the socket is dead, closing, or its reader too slow;
        the owner of the connection has been or will be told, so ignoring it is safe.
        """
        ...

    @staticmethod
    def push_all(pushes: Iterable[tuple[Any, bytes]]) -> int:
        """Push to many outboxes of this kind what is no CLOSE frame; return how many took it.

        As `push` does for each, but in one call: this is all that a fan-out spends on one receiver.
        """
        ...

    @property
    def queued_bytes(self) -> int:
        """How much waits for the socket to take it."""
        ...

    @property
    def is_in_burst(self) -> bool:
        """Whether several messages of this client are being dealt with in one turn."""
        ...

    async def wait_drained(self) -> None:
        """Wait until nothing waits any more, be it sent or dropped."""
        ...


class Receiver(Protocol):
    """Whom a socket hands what its client sends; called synchronously, so it never waits."""

    def take(self, message: str | bytes) -> bool:
        """Deal with the next text (str) or binary (bytes) frame; what this raises is charged to the receiver by `fail`.

        False if that has to wait: then there is no other one until `Socket.resume`.
        """
        ...

    def note_end(self, code: int) -> None:
        """Note that nothing more will come; with 1008, at once, when the peer reads too slowly."""
        ...

    def fail(self, error: Exception) -> None:
        """Be charged with an error that dealing with this client's bytes has raised."""
        ...


class Socket(Protocol):
    """One accepted WebSocket."""

    @property
    def outbox(self) -> Outbox: ...

    def tell_if_slow(self, farewell: Callable[[], bytes]) -> None:
        """Say what a peer that reads too slowly is told before CLOSE 1008.

        `farewell` returns whole frames, or nothing.
        It is called at most once, within a push, so it never waits or raises.
        """
        ...

    async def hand_to(self, receiver: Receiver) -> None:
        """Hand what the client sends to `receiver` from now on."""
        ...

    async def resume(self) -> None:
        """Go on handing out messages after one that had to wait."""
        ...

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what is queued and a CLOSE frame, wait for the peer's; bounded by the caller's deadline.

        The receiver is handed nothing more, and hears of the end.
        """
        ...


@frozen
class Opening:
    """A client at the door: admitted by the web floor, carried on by a connection actor.

    `open_socket` completes the WebSocket handshake on entry and ends the socket on exit;
    entering raises `SocketClosed` if the peer does not complete it.
    `peer` is the client's address without its port.
    `headers` is the JSON object of its `x-*` headers, for policies.
    `verifier` says whom the tokens of this client speak for, None if that is the tenant's.
    """

    dialect: Dialect
    identity: Identity
    peer: str
    open_socket: Callable[[], AbstractAsyncContextManager[Socket]] = field(repr=False)
    headers: bytes = field(default=b"{}", repr=False)
    verifier: TokenVerifier | None = field(default=None, repr=False)


class Door(Protocol):
    """Where the web floor hands over a client."""

    def refuse_if_suspended(self) -> None:
        """Return if anybody may come in; never waits.

        Raises:
            Suspended: the tenant is switched off.
        """
        ...

    def refuse_if_full(self) -> None:
        """Return if one more may come in; never waits.

        Raises:
            RateLimited: a quota of the tenant is used up.
        """
        ...

    def admit(self, opening: Opening) -> None:
        """Start a connection actor for the client; never waits."""
        ...


@frozen
class PolicyQuestion:
    """What may this identity do on this private topic?

    `headers` is the JSON object that policies see as `request.headers`, empty for none.
    """

    sub_topic: str
    identity: Identity
    headers: bytes = field(default=b"", repr=False)


@frozen
class Grants:
    """What the policies of the database grant on one private topic."""

    broadcast: bool
    presence: bool


class Policies(Protocol):
    """Who may read and write on private topics: row security of the table realtime.messages (spec 7).

    Fails closed. Every method raises `PolicyUndecided` when there is no answer, with the code and text of spec 2.3.
    """

    async def may_read(self, question: PolicyQuestion, *, presence: bool) -> Grants:
        """Return what may be received; presence is only asked about if it is wanted."""
        ...

    async def may_write(self, question: PolicyQuestion) -> Grants:
        """Return what may be sent."""
        ...
