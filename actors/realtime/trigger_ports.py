"""What switches row changes of a table on and off, as a protocol.

Called by the HTTP requests that manage triggers; implemented in `actors.db.enabling`.
"""

from __future__ import annotations

from typing import Protocol

from actors.realtime.errors import Refused


class NoSuchTable(Refused):
    """There is no table of that name whose rows could be followed."""

    def __init__(self, schema: str, table: str) -> None:
        super().__init__("", f'relation "{schema}.{table}" does not exist')


class MayNotEnable(Refused):
    """The login role of this server lacks a right; the reason names it."""


class TableTriggers(Protocol):
    """Switches row changes of tables on and off, with the rights of the server's login role.

    Who may ask for that is the caller's to decide, before.
    """

    async def enable(self, schema: str, table: str) -> None:
        """Let clients follow the table; doing it again does nothing.

        Raises:
            NoSuchTable: there is no such table, or what has that name has no rows of its own.
            MayNotEnable: the login role may not; the reason is a sentence.
            Unavailable: the database could not be asked; ask again later.
        """
        ...

    async def disable(self, schema: str, table: str) -> None:
        """Let nobody follow the table any more; doing it again does nothing.

        Raises:
            NoSuchTable: there is no such table, or what has that name has no rows of its own.
            MayNotEnable: the login role may not, or the table cannot be left out alone; the reason is a sentence.
            Unavailable: the database could not be asked; ask again later.
        """
        ...
