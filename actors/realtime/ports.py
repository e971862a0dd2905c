"""What the actors of this floor need from the floors above, as protocols.

Implemented on floor 3 (`auth`, `db`) and floor 4 (`web`), joined together in `actors.node`.
Every implementation and every fake passes the same contract test (`tests/contracts/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from protocol.changes.filters import Condition
    from protocol.changes.model import Change, Lsn, Position, Value
    from protocol.changes.predicates import Predicate
    from protocol.dialect import Dialect
    from protocol.frames import CloseCode


@frozen
class Identity:
    """Whom a token speaks for.

    `claims` is the JSON object of all claims, as signed.
    `expires_at` is in seconds since 1970-01-01 UTC.
    `token` is what it was read from, to be verified again later; it does not make two identities different.
    """

    role: str
    claims: bytes = field(repr=False)
    expires_at: float
    token: str = field(default="", repr=False, eq=False)


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


class Outbox(Protocol):
    """The frames waiting for one connection, and the only way to write to its socket."""

    def push(self, data: bytes) -> bool:
        """Send or queue `data`, which is one or more whole WebSocket frames.

        Never waits and never raises.
        False means that the bytes will not arrive: the socket is dead, closing, or its reader too slow;
        the owner of the connection has been or will be told, so ignoring it is safe.
        """
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

    async def receive(self) -> str | bytes:
        """Wait for the next text (str) or binary (bytes) frame.

        Raises:
            SocketClosed: there will be none; with 1008, at once, when the peer reads too slowly.
        """
        ...

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what is queued and a CLOSE frame, wait for the peer's; bounded by the caller's deadline."""
        ...


@frozen
class Opening:
    """A client at the door: admitted by the web floor, carried on by a connection actor.

    `open_socket` completes the WebSocket handshake on entry and ends the socket on exit;
    entering raises `SocketClosed` if the peer does not complete it.
    `peer` is the client's address without its port.
    `headers` is the JSON object of its `x-*` headers, for policies.
    """

    dialect: Dialect
    identity: Identity
    peer: str
    open_socket: Callable[[], AbstractAsyncContextManager[Socket]] = field(repr=False)
    headers: bytes = field(default=b"{}", repr=False)


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
class Gap:
    """Changes were lost before the chunk that carries this; `reason` is one sentence for those who wait for them.

    `starts_over` says that positions from here on have nothing to do with earlier ones:
    another database system, or another timeline of the same.
    """

    reason: str
    starts_over: bool = False


@frozen
class Chunk:
    """Changes in commit order, at most 500, never from more than one source; none only beside a gap.

    A transaction may come in several chunks, and a chunk may hold several transactions.
    `acknowledged` is how far the stream may be told to forget once the chunk is in the change log (an end LSN).
    """

    changes: tuple[Change, ...]
    acknowledged: Lsn
    gap: Gap | None = None


class ChangeStream(Protocol):
    """A live stream of changes; used by one task."""

    async def receive(self) -> Chunk:
        """Wait for the next changes.

        Raises:
            Unavailable: the stream broke; connect again.
        """
        ...

    def acknowledge(self, lsn: Lsn) -> None:
        """Note that everything up to `lsn` is in the change log; told to the source in due time, never waits."""
        ...

    @property
    def confirmed(self) -> Lsn:
        """How far the stream itself may be forgotten: all before it was acknowledged, or concerned nobody."""
        ...

    @property
    def written(self) -> Lsn:
        """How far the database has written, as far as the stream has heard."""
        ...


class ChangeSource(Protocol):
    """Where transactions come from."""

    @property
    def retention_bytes(self) -> int | None:
        """How much the database keeps for a position that lags before it drops it; None if nothing is kept.

        Known while a stream is live.
        """
        ...

    def connect(self, after: Position | None) -> AbstractAsyncContextManager[ChangeStream]:
        """Return a context that is a live stream: what commits after it was entered is received.

        So is everything behind `after`, and perhaps some before it again;
        where that is not to be had, the first chunk carries a gap.
        Entering raises `Unavailable` with a sentence that says what to change.
        """
        ...

    async def release(self, lsn: Lsn) -> None:
        """Let the database forget for good what committed before `lsn`.

        Raises:
            Unavailable: it could not be told; tell it again later.
        """
        ...

    async def insert_position(self) -> Lsn:
        """Return a position that no transaction is behind which commits from now on.

        Raises:
            Unavailable: the database could not be asked.
        """
        ...


@frozen
class Question:
    """Which of these changes may this identity see, and what of them?

    Identities that ask about the same changes best share one tuple, which is then looked at once.
    """

    identity: Identity
    changes: tuple[Change, ...]


@frozen
class Sight:
    """What an identity is shown of a change.

    `columns` are the names that may be shown.
    `key_only` says that of the old row nothing but the primary key may be.
    `fault` is the literal text of an error that the client is told in place of the row; no columns go with it.
    """

    columns: frozenset[str]
    key_only: bool = False
    fault: str | None = None


class Visibility(Protocol):
    """Who may see which row and which columns of it."""

    async def check(self, questions: Sequence[Question]) -> Sequence[Mapping[Change, Sight]]:
        """Return for each question what is shown of its changes; a change that is missing is withheld.

        Fails closed: what cannot be decided is withheld, or told as a fault.
        Who may see nothing costs nothing: answers are as large as what is shown.

        Raises:
            Unavailable: the database could not be asked; ask again later.
        """
        ...


@frozen
class FilterRequest:
    """A filter to be made ready for a table, on behalf of a role.

    The table is named by its OID alone: when a client subscribes, none of its rows may have been streamed yet,
    and what its columns are now is looked up with the privileges of the role.
    """

    relation_oid: int
    role: str
    conditions: tuple[Condition, ...]


@frozen
class Undecided:
    """Postgres could not say whether a row matches, for one question alone; the row is not to be delivered.

    `fault` is in the form of `Filters.compile`.
    """

    fault: str


class Filters(Protocol):
    """Filters of row changes, where Postgres is needed for them: at subscribe time and in doubt."""

    async def compile(self, requests: Sequence[FilterRequest]) -> Sequence[Predicate | str]:
        """Return for each request what judges its rows, or why the filter is refused.

        The refusal is the literal text that follows `Exception: ` in the message to the client (spec 6.2),
        as `ERROR 22P02 (invalid_text_representation) invalid input syntax for type integer: "abc"`.

        Raises:
            Unavailable: the database could not be asked; ask again later.
        """
        ...

    async def judge(
        self, questions: Sequence[tuple[Predicate, Sequence[Value]]]
    ) -> Sequence[bool | Undecided]:
        """Return for each question whether the row matches; for where the predicate answered ASK.

        Raises:
            Unavailable: the database could not be asked; ask again later.
        """
        ...


@frozen
class Scope:
    """The tables whose names match two patterns (`LIKE`, `*` for any), on behalf of a role.

    `select` are columns that must be there and readable.
    `is_listed` says that the tables are wanted one by one, and not only whether there are any.
    """

    role: str
    schema: str
    table: str
    select: tuple[str, ...] | None = None
    is_listed: bool = False


@frozen
class PublishedTable:
    """One published table, as a role sees it; `reads_key` says that the role may read its whole primary key."""

    relation_oid: int
    reads_key: bool


@frozen
class Extent:
    """Which published tables a scope has; `tables` only if they were to be listed.

    `fault` says why the role may not subscribe to them, in the form of `Filters.compile`.
    """

    is_published: bool
    tables: tuple[PublishedTable, ...] = ()
    fault: str | None = None


class Subscriptions(Protocol):
    """What can be subscribed to."""

    async def resolve(self, scopes: Sequence[Scope]) -> Sequence[Extent]:
        """Return what each scope comes to at this moment.

        Raises:
            Unavailable: the database could not be asked; ask again later.
        """
        ...

    async def published(self) -> str:
        """Return a text that is another one when other tables are published.

        Raises:
            Unavailable: the database could not be asked; ask again later.
        """
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
