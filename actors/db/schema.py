"""Installs what an application of Supabase finds in its database: roles, schema realtime, functions, publications.

Called by `janitor` at start and by the command `troupe migrate`; the statements are in `sql/`.
Steps run once, in the order of their numbers; functions are restated when they are ours and have changed.

**Invariants**
- What is there already stays as it is: nothing of others is dropped, and a function somebody else made is not replaced.
- One transaction under one lock: a step that fails leaves no trace, of itself or of the others.
- What the login role may not do is left out, with a sentence that names the missing right, and tried again next time.

**Source**: spec 4.4 and 11 for the objects.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import psycopg
from attrs import field, frozen

from actors.db.functions import FUNCTIONS, Function, definition, read_sql
from actors.db.publications import PUBLICATION

if TYPE_CHECKING:
    from actors.db.driver import TrioConnection


@frozen
class Step:
    """A file of `sql/steps` that is run once; `right` is what the login role needs for it."""

    name: str
    right: str


@frozen
class Migration:
    """What was done, and in sentences what was left out."""

    done: list[str] = field(factory=list[str])
    left_out: list[str] = field(factory=list[str])


STEPS: Final = (
    Step(
        "0001_roles",
        "the attribute CREATEROLE, or membership in anon, authenticated and service_role",
    ),
    Step("0002_schema", "CREATE on the database"),
    Step("0003_messages", "CREATE on the schema realtime"),
    Step("0004_auth", "CREATE on the database and on the schema auth"),
    Step("0005_publications", "CREATE on the database and ownership of realtime.messages"),
    Step("0006_replay_until", "ownership of realtime.messages"),
    Step("0007_replay_index", "ownership of realtime.messages and of its partitions"),
    Step("0008_channels", "CREATE on the schema realtime"),
)
#: How a function that we may restate is told from one that came with a Supabase stack; a digest of it follows.
MARK: Final = "Made by Troupe, "
BARRED: Final = (
    "All was left out (permission denied for schema realtime): the login role needs USAGE and CREATE"
    " on the schema realtime, or no_migrate."
)
#: Missing because an earlier step was left out.
_MISSING: Final = (
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedTable,
)

_IS_BARRED = """
    SELECT NOT has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = 'realtime'
"""
_DONE_TABLE = """
    CREATE TABLE IF NOT EXISTS realtime.troupe_steps (
        name text PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT now())
"""
_HAS_ROOM = """
    SELECT to_regnamespace('public') IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_proc
        WHERE pronamespace = to_regnamespace('public') AND proname = %s
        AND NOT coalesce(obj_description(oid, 'pg_proc'), '') ^@ %s)
"""
_COMMENT = """
    SELECT coalesce(obj_description(to_regprocedure(%(signature)s), 'pg_proc'), '')
    WHERE to_regprocedure(%(signature)s) IS NOT NULL
"""


async def migrate(connection: TrioConnection, publication: str = PUBLICATION) -> Migration:
    """Bring the database up to date; doing it again does nothing.

    `publication` is what tables are added to by SQL that names no other.

    Raises:
        psycopg.Error: a step failed for another reason than a missing right; nothing was changed.
    """
    migration = Migration()
    async with connection.transaction():
        # Servers that start together would trip over each other; the lock goes with the transaction.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('troupe migrate'))")
        if await _is_barred(connection):
            migration.left_out.append(BARRED)
            return migration
        done = await _done(connection)
        for step in STEPS:
            if step.name not in done:
                statement = read_sql("steps", step.name)
                await _run(connection, step.name, statement, step.right, migration)
        for function in FUNCTIONS:
            await _restate(connection, function, publication, migration)
        await _remember(connection, migration)
    return migration


async def _run(
    connection: TrioConnection, name: str, statement: bytes, right: str, migration: Migration
) -> None:
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        words = error.diag.message_primary
        migration.left_out.append(
            f"{name} was left out ({words}): the login role needs {right}."
        )
    except _MISSING as error:
        if not migration.left_out:
            raise
        words = error.diag.message_primary
        migration.left_out.append(f"{name} was left out ({words}): mend the one before first.")
    else:
        migration.done.append(name)


async def _restate(
    connection: TrioConnection, function: Function, publication: str, migration: Migration
) -> None:
    statement = definition(function, publication)
    mark = MARK + blake2b(statement, digest_size=8).hexdigest()
    found = await connection.execute(_COMMENT, {"signature": function.signature})
    row = await found.fetchone()
    if row is not None and (row[0] == mark or not row[0].startswith(MARK)):
        return
    if function.schema == "public" and not await _has_room(connection, function):
        return
    statement += f"COMMENT ON FUNCTION {function.signature} IS '{mark}'".encode()
    right = f"CREATE on the schema {function.schema}"
    await _run(connection, function.name, statement, right, migration)


async def _has_room(connection: TrioConnection, function: Function) -> bool:
    """Whether there is a schema public, and no function in it by that name which somebody else made.

    With another signature it would be left alone, too, but calls could mean either.
    """
    found = await connection.execute(_HAS_ROOM, (function.name.removeprefix("public."), MARK))
    return await found.fetchone() == (True,)


async def _is_barred(connection: TrioConnection) -> bool:
    """Whether there is a schema realtime that the login role may not even look into."""
    found = await connection.execute(_IS_BARRED)
    return await found.fetchone() == (True,)


async def _done(connection: TrioConnection) -> frozenset[str]:
    found = await connection.execute("SELECT to_regclass('realtime.troupe_steps') IS NOT NULL")
    if await found.fetchone() == (False,):
        return frozenset()
    rows = await connection.execute("SELECT name FROM realtime.troupe_steps")
    return frozenset(name for (name,) in await rows.fetchall())


async def _remember(connection: TrioConnection, migration: Migration) -> None:
    """Note the steps that need not run again; where that cannot be noted they run again and find all done."""
    steps = [step.name for step in STEPS if step.name in migration.done]
    try:
        async with connection.transaction():
            await connection.execute(_DONE_TABLE)
            await connection.execute(
                "INSERT INTO realtime.troupe_steps SELECT unnest(%s::text[])"
                " ON CONFLICT DO NOTHING",
                (steps,),
            )
    except (psycopg.errors.InsufficientPrivilege, *_MISSING):
        return
