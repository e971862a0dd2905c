"""Reads the answers to many small questions in few statements; one that makes Postgres raise fails alone.

Called by `filters`; connections come from the pool.
A statement that fails is asked again in halves, so what is good is answered whatever stands beside it.

**Invariants**
- Nothing is written: every transaction is read only, and its settings end with it.
- The settings are those with which the values in the stream are written (`server_facts`).
- The search path is the usual one while values are read and compared, as some of them are names of tables;
  such statements give every name with its schema. Where the catalog is read, the path is `pg_catalog`.
- A statement ends after `MAX_STATEMENT_MS`, and what is suspected to be slow after `MAX_APART_MS`.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from attrs import define, field, frozen

from actors.db.sqlstates import QUERY_CANCELED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence

    from actors.db.driver import TrioConnection
    from actors.db.pool import Pool

T = TypeVar("T")
R = TypeVar("R")

#: A regular expression may take for ever, so a statement may not. In milliseconds, for many questions
#: and for those that are asked apart because of that.
MAX_STATEMENT_MS = 2000
MAX_APART_MS = 200
#: How many questions are asked in one statement.
MAX_QUESTIONS = 2000

_BEGIN = f"""
    BEGIN READ ONLY;
    SET LOCAL statement_timeout = {MAX_STATEMENT_MS};
    SET LOCAL client_encoding = 'UTF8';
    SET LOCAL timezone = 'UTC';
    SET LOCAL datestyle = 'ISO';
    SET LOCAL intervalstyle = 'postgres';
    SET LOCAL extra_float_digits = 1;
    SET LOCAL bytea_output = 'hex'
"""
_USUAL_PATH = "SET LOCAL search_path = DEFAULT"
_CATALOG_PATH = "SET LOCAL search_path = pg_catalog"

_word_start = re.compile(r"(?<=[a-z0-9])(?=[A-Z])").sub


@frozen
class Fault:
    """Postgres raised, or we did in its words."""

    sqlstate: str
    message: str

    @property
    def text(self) -> str:
        """What the client is told: `ERROR 22P02 (invalid_text_representation) …` (spec 6.2)."""
        return f"ERROR {self.sqlstate} ({_name(self.sqlstate)}) {self.message}"


#: What Postgres says of a text with a NUL, or with half of a surrogate pair.
NOT_SENDABLE = Fault("22021", 'invalid byte sequence for encoding "UTF8"')
#: What it says when a statement took longer than it may.
TOO_SLOW = Fault(QUERY_CANCELED, "canceling statement due to statement timeout")


@define(eq=False)
class ReadOnlySession:
    """A connection that is asked one statement after the other, in as few transactions as possible."""

    _connection: TrioConnection
    _is_begun: bool = field(default=False, init=False)
    _reads_catalog: bool = field(default=False, init=False)
    _limit_ms: int = field(default=MAX_STATEMENT_MS, init=False)

    async def rows(self, statement: bytes, parameters: Sequence[object]) -> list[Any]:
        """Return the rows of a statement that gives every name with its schema.

        Raises:
            psycopg.Error: Postgres raised; the session can be used on unless the connection is closed.
        """
        return await self._rows(statement, parameters, reads_catalog=False)

    async def catalog_rows(self, statement: bytes, parameters: Sequence[object]) -> list[Any]:
        """Return the rows of a statement whose names are those of `pg_catalog`.

        Raises:
            psycopg.Error: Postgres raised.
        """
        return await self._rows(statement, parameters, reads_catalog=True)

    async def limit(self, limit_ms: int) -> None:
        """Let the statements from now on take so long at most."""
        if not self._is_begun:
            await self._begin()
        if limit_ms != self._limit_ms:
            await self._connection.execute(b"SET LOCAL statement_timeout = %d" % limit_ms)
            self._limit_ms = limit_ms

    async def end(self) -> None:
        """End the transaction, if there is one."""
        if self._is_begun:
            self._is_begun = False
            await self._connection.execute("ROLLBACK")

    @property
    def is_broken(self) -> bool:
        return self._connection.closed

    async def _rows(
        self, statement: bytes, parameters: Sequence[object], *, reads_catalog: bool
    ) -> list[Any]:
        if not self._is_begun:
            await self._begin()
        if reads_catalog is not self._reads_catalog:
            await self._connection.execute(_CATALOG_PATH if reads_catalog else _USUAL_PATH)
            self._reads_catalog = reads_catalog
        try:
            cursor = await self._connection.execute(statement, parameters)
            return await cursor.fetchall()
        except psycopg.Error:
            if not self._connection.closed:
                await self.end()
            raise

    async def _begin(self) -> None:
        await self._connection.execute(_BEGIN)
        self._is_begun, self._reads_catalog, self._limit_ms = True, False, MAX_STATEMENT_MS


@asynccontextmanager
async def read_only_session(pool: Pool) -> AsyncIterator[ReadOnlySession]:
    """Return a session on a connection of the pool.

    Raises:
        DatabaseUnavailable: there was no connection, or it broke.
    """
    async with pool.connection() as connection:
        session = ReadOnlySession(connection)
        yield session
        await session.end()


async def isolated(
    session: ReadOnlySession,
    questions: Sequence[T],
    ask: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
    owner: Callable[[T], Hashable],
    attempts: Sequence[bytes] = (),
) -> list[R | Fault]:
    """Return the answer to each question, or why it made Postgres raise.

    `ask` answers many at once with one statement of the session.
    Where it fails the `attempts` are made: a statement among them that fails says why all must.
    Where it takes too long, those of one owner are asked apart from the others, and given up together.

    Raises:
        psycopg.Error: the connection broke.
    """
    answers: dict[int, R | Fault] = {}
    places = list(range(len(questions)))
    waiting = [
        _Part(places[start : start + MAX_QUESTIONS])
        for start in range(0, len(places), MAX_QUESTIONS)
    ]
    while waiting:
        part = waiting.pop()
        try:
            await session.limit(part.limit_ms)
            found = await ask([questions[place] for place in part.places])
        except psycopg.Error as error:
            if session.is_broken:
                raise
            if len(part.places) == len(questions) and (
                fault := await _failure(session, attempts)
            ):
                return [fault] * len(questions)
            smaller = part.divided(error, lambda place: owner(questions[place]))
            waiting += smaller
            if not smaller:
                answers.update(dict.fromkeys(part.places, fault_of(error)))
        else:
            answers.update(zip(part.places, found, strict=True))
    return [answers[place] for place in places]


@frozen
class _Part:
    """Questions that are asked together, by their places."""

    places: list[int]
    limit_ms: int = MAX_STATEMENT_MS

    def divided(self, error: psycopg.Error, owner: Callable[[int], Hashable]) -> list[_Part]:
        """Return in what parts to ask again after the error; none if that is of no use."""
        if isinstance(error, psycopg.errors.QueryCanceled):
            if self.limit_ms == MAX_APART_MS:
                return []
            by_owner: dict[Hashable, list[int]] = {}
            for place in self.places:
                by_owner.setdefault(owner(place), []).append(place)
            return [_Part(places, MAX_APART_MS) for places in by_owner.values()]
        if len(self.places) == 1:
            return []
        middle = len(self.places) // 2
        halves = (self.places[:middle], self.places[middle:])
        return [_Part(places, self.limit_ms) for places in halves]


async def _failure(session: ReadOnlySession, attempts: Sequence[bytes]) -> Fault | None:
    """Return why the first of the statements fails, None if all succeed."""
    for attempt in attempts:
        try:
            await session.rows(attempt, ())
        except psycopg.Error as error:
            if session.is_broken:
                raise
            return fault_of(error)
    return None


def fault_of(error: psycopg.Error) -> Fault:
    """Return what Postgres said."""
    return Fault(error.sqlstate or "", error.diag.message_primary or "")


def raised(text: str) -> Fault:
    """Return a fault in the words of a check of ours, as upstream's trigger raises them."""
    return Fault("P0001", text)


def is_sendable(text: str) -> bool:
    """Whether Postgres could take a text as a parameter; else the whole statement would be spoilt."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _name(sqlstate: str) -> str:
    """Return the name of a condition; psycopg calls its classes by them."""
    try:
        name = psycopg.errors.lookup(sqlstate).__name__
    except KeyError:
        return "unknown"
    return _word_start("_", name).lower()
