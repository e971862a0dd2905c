from __future__ import annotations

import pytest
import trio

from actors.db.driver import connect
from actors.db.pool import Pool
from actors.db.privileges import MAX_AGE_S, Privileges
from actors.db.row_sessions import RowSessions
from actors.db.sights import Decider, Strictness
from actors.db.visibility import DatabaseVisibility
from actors.realtime.change_ports import Question, Sight
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Identity
from protocol.changes.model import Kind
from tests.support.changes import INT4, TEXT, make_change, make_table

pytestmark = pytest.mark.postgres

ALL = {"id", "body"}
UNAUTHORIZED = "Error 401: Unauthorized"


class CountingPool(Pool):
    """Counts how often it lends a connection."""

    lent = 0

    def connection(self):
        self.lent += 1
        return super().connection()


@pytest.fixture
async def pool(database):
    pool = Pool(database.conninfo)
    yield pool
    pool.close()


@pytest.fixture
def visibility(pool):
    visibility = DatabaseVisibility.open(pool)
    yield visibility
    visibility.close()


@pytest.fixture
def roles(postgres_server):
    """Two roles of the server: one for clients, and the one that row security does not bind.

    Roles belong to the whole server, so other tests may have made them before.
    """
    names = ("visitor", "service_role")
    postgres_server.execute(
        *(
            f"do $$ begin create role {role}; exception when duplicate_object then null; end $$"
            for role in ("visitor", "service_role bypassrls")
        )
    )
    return names


@pytest.fixture
def notes(database, roles):
    """A table that both roles may read; the grants go with the database."""
    database.execute(
        "create table notes (id int primary key, body text)",
        "grant select on notes to visitor, service_role",
    )
    yield database
    database.execute("drop owned by visitor, service_role")


async def columns(visibility, questions) -> list[set[str]]:
    """Return what may be seen of the one change of each question."""
    answers = await visibility.check(questions)
    return [set().union(*(sight.columns for sight in answer.values())) for answer in answers]


async def fault(visibility, question) -> str | None:
    """Return what the client is told in place of the one change."""
    (answer,) = await visibility.check([question])
    (sight,) = answer.values()
    return sight.fault


async def question(
    database, role: str, *, kind: Kind = Kind.INSERT, row_security: bool = False
) -> Question:
    async with await connect(database.conninfo) as connection:
        cursor = await connection.execute("select to_regclass('notes')::oid::bigint")
        (oid,) = await cursor.fetchone()
    table = make_table({"id": INT4, "body": TEXT}, oid=oid, row_security=row_security)
    row = ("1", "a")
    images = {"old": row} if kind is Kind.DELETE else {"new": row}
    change = make_change(kind, table, **images)
    return Question(Identity(role, b"{}", 0.0), (change,))


async def test_a_role_sees_the_columns_it_may_select(notes, visibility):
    assert await columns(visibility, [await question(notes, "visitor")]) == [ALL]


async def test_column_grants_count(notes, visibility):
    notes.execute(
        "revoke select on notes from visitor", "grant select (id) on notes to visitor"
    )

    assert await columns(visibility, [await question(notes, "visitor")]) == [{"id"}]


async def test_a_column_renamed_since_is_the_same_column(notes, visibility):
    asked = await question(notes, "visitor")
    notes.execute("alter table notes rename column body to words")

    assert await columns(visibility, [asked]) == [ALL]


async def test_a_column_that_took_over_a_name_is_another_one(notes, visibility):
    notes.execute(
        "revoke select on notes from visitor", "grant select (id) on notes to visitor"
    )
    asked = await question(notes, "visitor")
    notes.execute(
        "alter table notes rename column id to key",
        "alter table notes rename column body to id",
        "alter table notes rename column key to body",
    )

    assert await columns(visibility, [asked]) == [{"id"}]


async def test_a_column_dropped_and_made_again_is_another_one(notes, visibility):
    asked = await question(notes, "visitor")
    notes.execute("alter table notes drop column body", "alter table notes add body text")

    assert await columns(visibility, [asked]) == [{"id"}]


@pytest.mark.parametrize(
    "role", ["nobody_of_that_name", "", "x" * 64, "visitor\0", "\ud800", "public"]
)
async def test_a_role_that_does_not_exist_sees_nothing_and_spoils_nothing(
    notes, visibility, role
):
    questions = [await question(notes, role), await question(notes, "visitor")]

    assert await columns(visibility, questions) == [set(), ALL]


async def test_a_table_that_is_gone_is_seen_by_nobody(notes, visibility):
    asked = await question(notes, "visitor")
    notes.execute("drop table notes")

    assert await columns(visibility, [asked]) == [set()]


@pytest.mark.parametrize(
    "statement",
    [
        "revoke select on notes from visitor",
        "revoke usage on schema public from public",
        "revoke select on notes from visitor; grant select (body) on notes to visitor",
    ],
)
async def test_who_may_not_read_the_key_is_told_so(notes, visibility, statement):
    notes.execute(statement)

    assert await fault(visibility, await question(notes, "visitor")) == UNAUTHORIZED


async def test_without_a_primary_key_everybody_is_told_so(notes, visibility):
    notes.execute("alter table notes drop constraint notes_pkey")

    for role in ("visitor", "service_role", "nobody_of_that_name"):
        asked = await question(notes, role)
        assert await fault(visibility, asked) == "Error 400: Bad Request, no primary key"


async def test_a_delete_needs_neither_key_nor_privilege_for_it(notes, visibility):
    notes.execute(
        "revoke select on notes from visitor",
        "grant select (body) on notes to visitor",
        "alter table notes drop constraint notes_pkey",
    )
    asked = await question(notes, "visitor", kind=Kind.DELETE)

    assert await columns(visibility, [asked]) == [{"body"}]


async def test_who_may_read_no_column_is_refused_deletes_too(notes, visibility):
    notes.execute("revoke select on notes from visitor")
    asked = await question(notes, "visitor", kind=Kind.DELETE)

    assert await fault(visibility, asked) == UNAUTHORIZED


async def test_of_a_delete_under_row_security_the_key_is_shown(notes, visibility):
    notes.execute("alter table notes enable row level security")

    for role in ("visitor", "service_role"):
        asked = await question(notes, role, kind=Kind.DELETE)
        assert await visibility.check([asked]) == [
            {asked.changes[0]: Sight(frozenset(ALL), key_only=True)}
        ]


async def test_row_security_of_the_past_counts_as_well(notes, visibility):
    inserted = await question(notes, "visitor", row_security=True)
    deleted = await question(notes, "visitor", kind=Kind.DELETE, row_security=True)

    # The row is not there, so nobody whom row security binds may see it.
    assert await columns(visibility, [inserted]) == [set()]
    assert (await visibility.check([deleted]))[0][deleted.changes[0]].key_only


async def test_an_answer_is_remembered_for_a_moment_only(notes, pool):
    now = 100.0
    sessions = RowSessions.open(notes.conninfo, 1.0)
    visibility = DatabaseVisibility(
        Privileges(pool, lambda: now), sessions, Decider(Strictness())
    )
    asked = await question(notes, "visitor")

    first = await columns(visibility, [asked])
    notes.execute("revoke select on notes from visitor")
    now += 0.9 * MAX_AGE_S
    soon = await columns(visibility, [asked])
    now += 0.1 * MAX_AGE_S
    later = await columns(visibility, [asked])

    assert (first, soon, later) == ([ALL], [ALL], [set()])


async def test_many_who_ask_at_once_are_asked_for_by_one_query(notes):
    pool = CountingPool(notes.conninfo)
    visibility = DatabaseVisibility.open(pool)
    asked = [await question(notes, role) for role in ("visitor", "service_role") * 10]

    async with trio.open_nursery() as nursery:
        for one in asked:
            nursery.start_soon(columns, visibility, [one])

    assert await columns(visibility, asked) == [ALL] * 20
    assert pool.lent == 1
    pool.close()


async def test_a_database_that_is_away_cannot_be_asked(notes, postgres_server):
    visibility = DatabaseVisibility.open(Pool(postgres_server.conninfo("nowhere")))

    with pytest.raises(DatabaseUnavailable):
        await visibility.check([await question(notes, "visitor")])


async def test_a_catalog_that_is_locked_is_not_waited_for(notes, pool):
    privileges = Privileges(pool, timeout_s=0.2)
    async with await connect(notes.conninfo) as connection, connection.transaction():
        await privileges.find([(1, "anon")])
        await connection.execute("lock table pg_catalog.pg_policy")
        with pytest.raises(DatabaseUnavailable), trio.fail_after(10):
            await privileges.find([(2, "anon")])


async def test_no_questions_need_no_database(postgres_server):
    visibility = DatabaseVisibility.open(Pool(postgres_server.conninfo("nowhere")))

    assert await visibility.check([]) == []
