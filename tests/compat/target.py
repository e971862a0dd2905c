"""The server that tests of what every such server can do are run against: our own, or another one that variables name.

| variable | what |
| --- | --- |
| `TROUPE_TESTS_URL` | its HTTP address, as a client library is given it |
| `TROUPE_TESTS_ANON_KEY` | a key of the role `anon` |
| `TROUPE_TESTS_WS_URL` | its WebSocket address, if it is not where Supabase has it |
| `TROUPE_TESTS_DATABASE_URL` | its Postgres, as an owner of tables; without it tests of row changes are skipped |

At the gateway of a Supabase stack, whose keys are good for it, and at hosted Supabase the same tests can be run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from attrs import frozen

from tests.support.requirements import require
from tests.support.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.server import Server

URL = "TROUPE_TESTS_URL"
KEY = "TROUPE_TESTS_ANON_KEY"
WEBSOCKET_URL = "TROUPE_TESTS_WS_URL"
DATABASE_URL = "TROUPE_TESTS_DATABASE_URL"


@frozen
class Target:
    """Where a server is, and a key that it takes; `database` is empty if its Postgres is out of reach."""

    url: str
    websocket_url: str
    key: str
    database: str

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        require(
            self.database,
            f"The database of the server under test is not known: {DATABASE_URL}.",
        )
        with psycopg.connect(self.database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


def own(server: Server) -> Target:
    """Return our own server, with a key of the suite's."""
    return Target(server.url, server.websocket_url, mint(), server.conninfo)


def named(environment: Mapping[str, str]) -> Target | None:
    """Return the server that variables name, None if they name none.

    Raises:
        ValueError: it has an address and no key.
    """
    url = environment.get(URL, "").rstrip("/")
    if not url:
        return None
    if KEY not in environment:
        raise ValueError(f"{URL} is set, and {KEY} is not.")
    beside = url.replace("http", "ws", 1) + "/realtime/v1/websocket"
    return Target(
        url,
        environment.get(WEBSOCKET_URL, beside),
        environment[KEY],
        environment.get(DATABASE_URL, ""),
    )
