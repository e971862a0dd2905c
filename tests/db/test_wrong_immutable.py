"""A function that is wrongly declared IMMUTABLE gives nobody the answer of somebody else.

Postgres puts the value of such a function into a plan when it makes the plan, and pooled sessions keep plans.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
import trio

from actors.db.driver import connect
from actors.db.janitor import KEPT
from actors.db.partitions import keep_partitions
from actors.db.plan_reuse import MAX_AGE_S, PlanReuse
from actors.db.policies import PostgresPolicies
from actors.db.schema import migrate
from actors.db.storing import PostgresStorage
from actors.realtime.change_ports import Question
from actors.realtime.errors import Forbidden
from actors.realtime.ports import Grants, PolicyQuestion
from actors.realtime.stored_ports import Storage
from protocol.events import UserBroadcast
from tests.support.row_security import ALICE, BOB, court, insert, user

pytestmark = [pytest.mark.postgres, pytest.mark.every_postgres]

SETTING = "nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'"
WHO = {
    "sql": f"language sql immutable as $$ select ({SETTING})::uuid $$",
    "plpgsql": f"language plpgsql immutable as $$ begin return ({SETTING})::uuid; end $$",
    "atomic": f"language sql immutable begin atomic; select ({SETTING})::uuid; end",
    "of_a_stable_one": "language sql immutable as $$ select auth.uid() $$",
}
#: Plans of its own, which know no parameters.
NESTED = """
    create function public.who() returns uuid language plpgsql stable as $$
        declare found uuid := public.inner_who();
        begin return found; end $$
"""
#: So often each plan has become a generic one.
ROUNDS = 12


def who(definition: str, *, is_nested: bool) -> list[str]:
    """Return the statements that make `public.who()`."""
    name = "inner_who" if is_nested else "who"
    statements = [f"create function public.{name}() returns uuid {definition}"]
    return statements + ([NESTED] if is_nested else [])


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("definition", WHO.values(), ids=WHO)
async def test_each_is_shown_his_own_rows(notes, definition, is_nested):
    notes.execute(
        *who(definition, is_nested=is_nested),
        "create policy own on notes using (who() = user_id)",
    )
    async with court(notes) as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))
        questions = [Question(user(sub), (mine, other)) for sub in (ALICE, BOB)]

        for _ in range(ROUNDS):
            first, second = await judge.visibility.check(questions)
            assert (set(first), set(second)) == ({mine}, {other})
            assert await judge.seen([mine, other], user(BOB)) == [other]


@pytest.fixture
async def messages(database):
    """The table of messages, with one policy for everything: the topic is the name of the only one let in."""
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
        await keep_partitions(connection, KEPT)
    return database


def topic_policies(database, definition: str, *, is_nested: bool) -> None:
    database.execute(
        *who(definition, is_nested=is_nested),
        "create policy mine on realtime.messages to authenticated"
        " using (who()::text = topic) with check (who()::text = topic)",
    )


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("definition", WHO.values(), ids=WHO)
async def test_each_is_let_into_his_own_topic(messages, definition, is_nested):
    topic_policies(messages, definition, is_nested=is_nested)
    policies = PostgresPolicies(messages.conninfo, timeout_s=5.0)
    found = {}

    async def ask(topic: str, sub: str) -> None:
        question = PolicyQuestion(topic, user(sub), b"")
        found[topic, sub] = (
            await policies.may_read(question, presence=True),
            await policies.may_write(question),
        )

    for _ in range(2):
        async with trio.open_nursery() as nursery:
            for topic in (ALICE, BOB):
                for sub in (ALICE, BOB):
                    nursery.start_soon(ask, topic, sub)
    policies.close()

    assert found == {
        (topic, sub): (Grants(topic == sub, topic == sub),) * 2
        for topic in (ALICE, BOB)
        for sub in (ALICE, BOB)
    }


@pytest.mark.parametrize("is_nested", [False, True])
async def test_each_stores_on_his_own_topic(messages, is_nested):
    topic_policies(messages, WHO["sql"], is_nested=is_nested)
    storage = PostgresStorage(messages.conninfo, timeout_s=5.0)

    def stored(topic: str, sub: str) -> Storage:
        question = PolicyQuestion(topic, user(sub), b"")
        return Storage(str(uuid4()), question, UserBroadcast("e", b"{}", False), None)

    for _ in range(ROUNDS):
        await storage.store(stored(ALICE, ALICE))
    with pytest.raises(Forbidden):
        await storage.store(stored(ALICE, BOB))
    await storage.store(stored(BOB, BOB))
    storage.close()


@pytest.mark.parametrize(
    ("definition", "is_safe"),
    [
        ("(text) returns text language sql immutable as $$ select lower($1) $$", True),
        ("(text) returns text language plpgsql immutable as $$ begin return $1; end $$", True),
        ("() returns text language sql stable as $$ select current_setting('a.b', true) $$", True),
        ("() returns name language sql immutable as $$ select current_user $$", False),
        ("() returns bigint language sql immutable as $$ select count(*) from t $$", False),
        ("() returns uuid language sql immutable as $$ select auth.uid() $$", False),
    ],
)  # fmt: skip
async def test_only_what_may_be_wrong_costs_plans(notes, definition, is_safe):
    notes.execute("create table t ()", f"create function f{definition}")
    async with await connect(notes.conninfo) as connection:
        assert await PlanReuse().is_safe(connection) is is_safe


async def test_a_function_that_becomes_wrong_is_noticed_within_a_second(notes):
    now = 0.0
    reuse = PlanReuse(lambda: now)
    async with await connect(notes.conninfo) as connection:
        assert await reuse.is_safe(connection)
        notes.execute("alter function auth.uid() immutable")
        now = MAX_AGE_S

        assert not await reuse.is_safe(connection)
