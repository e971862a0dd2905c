from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from actors.db.driver import connect
from actors.db.pool import Pool
from actors.db.visibility import MAX_AGE_S, ColumnVisibility
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Identity, Question
from protocol.changes.model import Kind
from tests.support.changes import INT4, TEXT, make_change, make_table

pytestmark = pytest.mark.postgres

ALL = {"id", "body"}


@pytest.fixture
async def pool(database):
    pool = Pool(database.conninfo)
    yield pool
    pool.close()


@pytest.fixture
def visibility(pool):
    return ColumnVisibility(pool)


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


async def question(database, role: str, *, row_security: bool = False) -> Question:
    async with await connect(database.conninfo) as connection:
        cursor = await connection.execute("select to_regclass('notes')::oid::bigint")
        (oid,) = await cursor.fetchone()
    table = make_table({"id": INT4, "body": TEXT}, oid=oid, row_security=row_security)
    change = make_change(Kind.INSERT, table, new=("1", "a"))
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


async def test_without_a_grant_nothing_is_seen(notes, visibility):
    notes.execute("revoke select on notes from visitor")

    assert await columns(visibility, [await question(notes, "visitor")]) == [set()]


async def test_without_the_schema_nothing_is_seen(notes, visibility):
    notes.execute("revoke usage on schema public from public")

    assert await columns(visibility, [await question(notes, "visitor")]) == [set()]


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


async def test_row_security_leaves_the_table_to_the_service_role(notes, visibility):
    notes.execute("alter table notes enable row level security")
    questions = [await question(notes, "visitor"), await question(notes, "service_role")]

    assert await columns(visibility, questions) == [set(), ALL]


async def test_row_security_of_the_past_counts_as_well(notes, visibility):
    asked = await question(notes, "visitor", row_security=True)

    assert await columns(visibility, [asked]) == [set()]


async def test_a_withheld_table_is_logged_once(notes, visibility):
    asked = await question(notes, "visitor", row_security=True)

    with capture_logs() as logs:
        await columns(visibility, [asked, asked])
        await columns(visibility, [asked])

    assert logs == [
        {
            "event": "table.withheld",
            "log_level": "warning",
            "schema": "public",
            "table": "notes",
        }
    ]


async def test_an_answer_is_remembered_for_a_moment_only(notes, pool):
    now = 100.0
    visibility = ColumnVisibility(pool, lambda: now)
    asked = await question(notes, "visitor")

    first = await columns(visibility, [asked])
    notes.execute("revoke select on notes from visitor")
    now += 0.9 * MAX_AGE_S
    soon = await columns(visibility, [asked])
    now += 0.1 * MAX_AGE_S
    later = await columns(visibility, [asked])

    assert (first, soon, later) == ([ALL], [ALL], [set()])


async def test_many_questions_are_one_query(notes, pool):
    queries = []

    class CountingPool:
        def connection(self):
            queries.append(1)
            return pool.connection()

    visibility = ColumnVisibility(CountingPool())
    questions = [await question(notes, role) for role in ("visitor", "service_role") * 10]

    assert await columns(visibility, questions) == [ALL] * 20
    assert len(queries) == 1


async def test_a_database_that_is_away_cannot_be_asked(notes, postgres_server):
    visibility = ColumnVisibility(Pool(postgres_server.conninfo("nowhere")))

    with pytest.raises(DatabaseUnavailable):
        await columns(visibility, [await question(notes, "visitor")])


async def test_no_questions_need_no_database(postgres_server):
    assert await ColumnVisibility(Pool(postgres_server.conninfo("nowhere"))).check([]) == []
