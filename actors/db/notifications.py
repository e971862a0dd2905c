"""A connection that listens: what others send by NOTIFY, as bytes and in the order of their commits.

Used by `notify_stream` alone; `driver` connects.
The payloads are not decoded here, for anybody may send one, and a text that is no UTF-8 must break nothing.

**Invariants**
- Nothing is read while a query runs on this connection: there is none, once it listens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import trio
from attrs import define, field
from psycopg import sql

from actors.db.driver import connect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from psycopg.pq import PGnotify

    from actors.db.driver import TrioConnection


@define(eq=False)
class Notifications:
    """What has arrived and was not taken yet; `connection` is to be closed by who made this."""

    connection: TrioConnection
    _arrived: list[tuple[str, bytes]] = field(factory=list[tuple[str, bytes]], init=False)

    @classmethod
    async def listen(cls, conninfo: str, channels: Sequence[str]) -> Self:
        """Connect and listen; what commits from then on arrives.

        Raises:
            psycopg.Error: Postgres could not be reached, or refused.
        """
        connection = await connect(conninfo)
        listening = cls(connection)
        # What comes while the answer to a query is read is handed to this; psycopg would keep it for its own iterator.
        connection.pgconn.notify_handler = listening._take
        try:
            for channel in channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except psycopg.Error:
            connection.discard()
            raise
        except trio.Cancelled:
            connection.discard()
            raise
        return listening

    async def receive(self) -> list[tuple[str, bytes]]:
        """Wait for the next notifications, and return all that have arrived: their channels and payloads.

        Raises:
            psycopg.Error: the connection ended.
        """
        while not self._arrived:
            await self._wait_readable()
            pgconn = self.connection.pgconn
            pgconn.consume_input()
            while (notice := pgconn.notifies()) is not None:
                self._take(notice)
        arrived, self._arrived = self._arrived, []
        return arrived

    def _take(self, notice: PGnotify) -> None:
        self._arrived.append((notice.relname.decode(errors="replace"), notice.extra))

    async def _wait_readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self.connection.pgconn.socket)
        except (OSError, trio.ClosedResourceError):
            raise psycopg.OperationalError("the connection was closed") from None
