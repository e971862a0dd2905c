"""A few connections to one database, lent to one task at a time.

Called by everything on this floor that asks the database something; connections come from `driver`.

**Invariants**
- Never more than `max_size` connections, and never a connection lent twice at once.
- What comes back cancelled, broken or inside a transaction is closed, not lent again.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import trio
from attrs import define, field
from psycopg.conninfo import conninfo_to_dict

from actors.db.advice import unavailable
from actors.db.driver import connect
from actors.realtime.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from actors.db.driver import TrioConnection


class PoolExhausted(DatabaseUnavailable):
    """All connections were lent for too long."""


@define(eq=False)
class Pool:
    """Connections are opened when needed and kept; who waits longer than `wait_s` for one is refused.

    `settings` are those of each session; they win over the database's and the role's, and contain no spaces.
    """

    conninfo: str = field(repr=False)
    max_size: int = 4
    wait_s: float = 5.0
    settings: Mapping[str, str] = field(factory=dict[str, str], kw_only=True)
    _idle: list[TrioConnection] = field(factory=list["TrioConnection"], init=False)
    _places: trio.Semaphore = field(init=False)
    _closed: bool = field(default=False, init=False)

    @_places.default
    def _free_places(self) -> trio.Semaphore:
        return trio.Semaphore(self.max_size)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[TrioConnection]:
        """Lend a connection in autocommit mode; waits for one to become free.

        Raises:
            PoolExhausted: none became free in time.
            DatabaseUnavailable: there was none, or the database went away meanwhile.
        """
        await self._take_place()
        try:
            connection = self._idle_connection() or await self._open()
            try:
                yield connection
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise unavailable(error) from None
            finally:
                self._take_back(connection)
        finally:
            self._places.release()

    @asynccontextmanager
    async def transaction(self, timeout_s: float) -> AsyncIterator[TrioConnection]:
        """Lend a connection in a transaction; its statements end within `timeout_s`, even where they wait for locks.

        Raises:
            PoolExhausted: none became free in time.
            DatabaseUnavailable: there was none, the database went away, or a statement took too long.
        """
        async with self.connection() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = {timeout_s * 1000:.0f}")
            yield connection

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().discard()

    async def _take_place(self) -> None:
        try:
            with trio.fail_after(self.wait_s):
                await self._places.acquire()
        except trio.TooSlowError:
            raise PoolExhausted(
                f"All {self.max_size} connections to the database were busy:"
                " allow more of them, or ask it less."
            ) from None

    def _idle_connection(self) -> TrioConnection | None:
        """Return the connection that was used last, leaving out what the server closed since."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_idle():
                return connection
        return None

    async def _open(self) -> TrioConnection:
        try:
            with trio.fail_after(self.wait_s):
                return await connect(self.conninfo, **self._options())
        except trio.TooSlowError:
            raise unavailable(psycopg.OperationalError("timeout expired")) from None
        except psycopg.OperationalError as error:
            raise unavailable(error) from None

    def _options(self) -> dict[str, str]:
        if not self.settings:
            return {}
        own = conninfo_to_dict(self.conninfo).get("options")
        settings = [f"-c {name}={value}" for name, value in self.settings.items()]
        return {"options": " ".join([*([str(own)] if own else []), *settings])}

    def _take_back(self, connection: TrioConnection) -> None:
        if connection.is_idle() and not self._closed:
            self._idle.append(connection)
        else:
            connection.discard()
