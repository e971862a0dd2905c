"""What the actors of this floor need of a database whose rows change, as protocols: where changes come from,
who may see them, what a filter lets through, and what can be subscribed to.

Implemented in `actors.db`, joined together in `actors.database`; the rest of the ports is in `ports.py`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from actors.realtime.ports import Identity
    from protocol.changes.filters import Condition
    from protocol.changes.model import Change, Lsn, Position, Value
    from protocol.changes.predicates import Predicate


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


class TableAccess(Enum):
    """What a role may do with a table: it is not there, or nothing of it may be read, or something may."""

    MISSING = "missing"
    DENIED = "denied"
    GRANTED = "granted"


class Subscriptions(Protocol):
    """What can be subscribed to."""

    async def access(self, role: str, schema: str, table: str) -> TableAccess:
        """Return what a role may do with the table of exactly that name.

        Raises:
            Unavailable: the database could not be asked; ask again later.
        """
        ...

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
