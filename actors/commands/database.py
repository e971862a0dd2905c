"""What the commands about a database have in common: which one, a connection to it, and words on stdout."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from actors.db.visit import visit
from actors.settings_loading import InvalidSetting, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from actors.db.driver import TrioConnection
    from actors.settings import Settings


@frozen
class OpenDatabase:
    """A connection in autocommit mode, and the settings that named it."""

    connection: TrioConnection
    settings: Settings


@asynccontextmanager
async def open_database(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[OpenDatabase]:
    """Connect to the database that flags and variables name.

    Raises:
        InvalidSetting: they name none, or are wrong.
        DatabaseUnavailable: it cannot be reached, or refused; the sentence says what to change.
    """
    settings = load(arguments, environment)
    if settings.database_url is None:
        raise InvalidSetting(
            "--database-url must name a database; the embedded one is looked after by the server"
        )
    async with visit(settings.database_url) as connection:
        yield OpenDatabase(connection, settings)


def say(text: str) -> None:
    """Print for the person who called."""
    print(text)  # noqa: T201
