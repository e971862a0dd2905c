"""A database as a Supabase project has it, for tests of who may see which row."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from attrs import define

from actors.db.pool import Pool
from actors.db.privileges import Privileges
from actors.db.row_sessions import Answer, RowSessions
from actors.db.sights import Decider, Strictness
from actors.db.visibility import DatabaseVisibility
from actors.realtime.change_ports import Question
from actors.realtime.ports import Identity
from tests.support.streaming import Reader, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from actors.db.row_query import RowQuery
    from actors.realtime.change_ports import Sight
    from protocol.changes.model import Change
    from tests.support.postgres import Database

ROLES = ("anon", "authenticated", "service_role")
ALICE = "00000000-0000-0000-0000-00000000000a"
BOB = "00000000-0000-0000-0000-00000000000b"

_ROLE = """
    do $$ begin create role {} nologin {};
    exception when duplicate_object or unique_violation then null; end $$
"""
_AUTH = (
    "create schema auth",
    "grant usage on schema auth to public",
    """
    create function auth.uid() returns uuid language sql stable as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.sub', true), ''),
            nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$
    """,
    "create publication supabase_realtime for all tables",
)


def prepare(database: Database) -> None:
    """Make the roles, which belong to the whole server, and what policies call."""
    database.execute(
        *(_ROLE.format(role, "bypassrls" if role == "service_role" else "") for role in ROLES),
        *_AUTH,
    )


def claims_of(sub: str | None, **others: Any) -> bytes:
    claims = others if sub is None else {"sub": sub, **others}
    return json.dumps(claims).encode()


def identity_of(role: str, sub: str | None = None, **others: Any) -> Identity:
    return Identity(role, claims_of(sub, role=role, **others), 0.0)


class RecordingSessions(RowSessions):
    """Notes the arguments of every statement that asks policies."""

    def __init__(self, *pools: Pool) -> None:
        super().__init__(*pools)
        self.calls: list[Sequence[Any]] = []

    async def call(self, query: RowQuery, arguments: Sequence[Any], **options: bool) -> Answer:
        self.calls.append(arguments)
        return await super().call(query, arguments, **options)


#: The usual policy, and those who did not sign in.
OWN = "create policy own on notes using (auth.uid() = user_id)"
ANON = identity_of("anon")
SERVICE = identity_of("service_role")


def user(sub: str, **others: Any) -> Identity:
    """Return the identity of somebody who signed in."""
    return identity_of("authenticated", sub, **others)


def insert(number: int, owner: str, body: str = "body") -> str:
    """Return the statement that adds a row to `notes`."""
    return f"insert into notes values ({number}, '{owner}', '{body}')"


@define
class Court:
    """Reads changes from the stream, and asks who may see them.

    `calls` has the arguments of the statements that asked: transactions, claims, numbers of lists, lists.
    """

    database: Database
    visibility: DatabaseVisibility
    calls: list[Sequence[Any]]
    _reader: Reader

    async def written(self, *statements: str, count: int | None = None) -> list[Change]:
        """Run statements, each in a transaction of its own, and return the changes they made: one each unless told."""
        self.database.execute(*statements)
        return await self.read(len(statements) if count is None else count)

    async def read(self, count: int) -> list[Change]:
        """Return the next changes of the stream."""
        return await self._reader.changes(count)

    async def sight(self, change: Change, identity: Identity) -> Sight | None:
        """Return what one identity is shown of one change."""
        (answer,) = await self.visibility.check([Question(identity, (change,))])
        return answer.get(change)

    async def seen(self, changes: Sequence[Change], identity: Identity) -> list[Change]:
        """Return those of the changes that are shown with columns."""
        (answer,) = await self.visibility.check([Question(identity, tuple(changes))])
        return [change for change in changes if change in answer and answer[change].columns]


@asynccontextmanager
async def court(
    database: Database, *, login: str | None = None, timeout_s: float = 2.0, **strictness: bool
) -> AsyncIterator[Court]:
    """Open a court over a prepared database; it may log in as somebody else than the superuser."""
    conninfo = database.conninfo if login is None else database.conninfo_as(login)
    pool = Pool(conninfo)
    sessions = RecordingSessions.open(conninfo, timeout_s)
    visibility = DatabaseVisibility(
        Privileges(pool), sessions, Decider(Strictness(**strictness))
    )
    try:
        async with reading(conninfo) as reader:
            yield Court(database, visibility, sessions.calls, reader)
    finally:
        visibility.close()
        pool.close()


def selected(database: Database, identity: Identity, query: str) -> list[tuple[Any, ...]]:
    """Return what a plain query of the identity returns, the reference for what may be seen."""
    with psycopg.connect(database.conninfo) as connection:
        connection.execute(
            "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            (identity.role, identity.claims.decode()),
        )
        return connection.execute(query).fetchall()
