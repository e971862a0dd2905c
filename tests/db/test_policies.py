"""Who may do what on a private topic is what plain SQL lets the same role do."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.db.driver import connect
from actors.db.janitor import KEPT
from actors.db.partitions import keep_partitions
from actors.db.policies import PostgresPolicies
from actors.db.schema import migrate
from actors.db.storing import PostgresStorage
from actors.realtime.errors import PolicyUndecided
from actors.realtime.ports import Grants, Identity, PolicyQuestion
from actors.realtime.stored_ports import Storage
from protocol.events import UserBroadcast
from tests.support.embedded import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.postgres import Database

pytestmark = pytest.mark.postgres

ALICE = "00000000-0000-4000-8000-00000000000a"
BOB = "00000000-0000-4000-8000-00000000000b"
ALL, NOTHING = Grants(broadcast=True, presence=True), Grants(broadcast=False, presence=False)
BROADCAST, PRESENCE = (
    Grants(broadcast=True, presence=False),
    Grants(broadcast=False, presence=True),
)


def asker(
    topic: str = "room", role: str = "authenticated", headers: bytes = b"", **claims: Any
) -> PolicyQuestion:
    body = json.dumps({"role": role, "sub": ALICE} | claims).encode()
    return PolicyQuestion(topic, Identity(role, body, 4e9), headers)


@pytest.fixture
async def migrated(database: Database) -> Database:
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
        await keep_partitions(connection, KEPT)
    return database


@pytest.fixture
async def policies(migrated: Database) -> AsyncIterator[PostgresPolicies]:
    policies = PostgresPolicies(migrated.conninfo, timeout_s=5.0)
    yield policies
    policies.close()


def policy(
    database: Database, command: str, condition: str, role: str = "authenticated"
) -> None:
    clause = "using" if command == "select" else "with check"
    name = f"{command} {abs(hash(condition + role))}"
    query(
        database.conninfo,
        f'create policy "{name}" on realtime.messages for {command} to {role} {clause} ({condition})',
    )


async def test_without_a_policy_only_who_bypasses_row_security_may(policies):
    assert await policies.may_read(asker(), presence=True) == NOTHING
    assert await policies.may_write(asker()) == NOTHING
    service = asker(role="service_role")
    assert await policies.may_read(service, presence=True) == ALL
    assert await policies.may_write(service) == ALL


@pytest.mark.parametrize(
    ("condition", "granted"),
    [
        ("true", ALL),
        ("false", NOTHING),
        ("null", NOTHING),
        ("realtime.topic() = 'room'", ALL),
        ("topic = 'room'", ALL),
        ("realtime.topic() like 'other:%'", NOTHING),
        ("extension = 'broadcast'", BROADCAST),
        ("extension = 'presence'", PRESENCE),
        (f"auth.uid() = '{ALICE}'", ALL),
        (f"auth.uid() = '{BOB}'", NOTHING),
        ("auth.role() = 'authenticated'", ALL),
        ("(auth.jwt() ->> 'team') = 'red'", ALL),
        ("current_setting('request.jwt.claims')::jsonb ->> 'team' = 'red'", ALL),
        ("current_setting('request.headers')::jsonb ->> 'x-room' = 'blue'", ALL),
        ("exists (select from public.members where member = auth.uid())", ALL),
        ("exists (select from members where member = auth.uid() and false)", NOTHING),
        ("not private", ALL),
        ("private", NOTHING),
        ("event is null and payload is null", ALL),
    ],
)
async def test_a_policy_sees_topic_extension_token_and_headers(
    migrated, policies, condition, granted
):
    migrated.execute(
        "create table public.members (member uuid)",
        f"insert into public.members values ('{ALICE}')",
        "grant select on public.members to authenticated",
    )
    policy(migrated, "select", condition)
    policy(migrated, "insert", condition)
    question = asker(headers=b'{"x-room":"blue"}', team="red")

    assert await policies.may_read(question, presence=True) == granted
    assert await policies.may_write(question) == granted


async def test_writing_needs_no_right_to_read(migrated, policies):
    policy(migrated, "insert", "true")

    assert await policies.may_write(asker()) == ALL
    assert await policies.may_read(asker(), presence=True) == NOTHING


SWALLOW = """
    create function public.swallow() returns trigger language plpgsql as
        $$ begin if new.extension = 'broadcast' then return null; end if; return new; end $$;
    create trigger swallow before insert on realtime.messages
        for each row execute function public.swallow()
"""


async def test_a_row_that_a_trigger_swallows_was_not_written(migrated, policies):
    policy(migrated, "insert", "true")
    migrated.execute(SWALLOW)

    assert await policies.may_write(asker()) == PRESENCE


SHADOW = """
    create table public.members (member uuid);
    grant select on public.members to authenticated;
    create function public.is_member() returns boolean language plpgsql as $$ begin
        create temp table if not exists members (member uuid);
        insert into pg_temp.members values (auth.uid());
        return exists (select from members where member = auth.uid());
    end $$
"""


async def test_a_temporary_table_stands_for_no_other_one(migrated, policies):
    migrated.execute(SHADOW)
    policy(migrated, "select", "public.is_member()")
    policy(migrated, "insert", "public.is_member()")

    assert await policies.may_read(asker(), presence=True) == NOTHING
    assert await policies.may_write(asker()) == NOTHING


async def test_a_lock_that_a_policy_takes_is_not_kept(migrated, policies):
    for command in ("select", "insert"):
        policy(migrated, command, "pg_try_advisory_lock(4711)")
    storage = PostgresStorage(migrated.conninfo, timeout_s=5.0)

    await policies.may_read(asker(), presence=True)
    await policies.may_write(asker())
    await storage.store(Storage(ALICE, asker(), UserBroadcast("e", b"{}", False), None))

    held = "select from pg_locks where locktype = 'advisory' and objid = 4711"
    assert query(migrated.conninfo, held) == []
    storage.close()


async def test_presence_is_asked_about_only_if_it_is_wanted(migrated, policies):
    policy(migrated, "select", "true")

    assert await policies.may_read(asker(), presence=False) == BROADCAST


async def test_nothing_is_left_behind(migrated, policies):
    policy(migrated, "insert", "true")
    await policies.may_read(asker(), presence=True)
    await policies.may_write(asker())

    assert query(migrated.conninfo, "select from realtime.messages") == []


@pytest.mark.parametrize(
    "role", ["none", "", "nobody", "pg_read_all_data\0", "\ud800", "x" * 100]
)
async def test_a_role_that_cannot_be_become_is_nobody(migrated, policies, role):
    policy(migrated, "select", "true", "public")

    with pytest.raises(PolicyUndecided) as raised:
        await policies.may_read(asker(role=role), presence=True)

    assert raised.value.code == "Unauthorized"


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("1 / 0 = 1", "Unauthorized"),
        ("(auth.jwt() ->> 'sub')::int = 1", "Unauthorized"),
        ("pg_sleep(60) is null", "QueryCanceled"),
        ("public.assertion()", "Unauthorized"),
    ],
)
async def test_a_policy_that_fails_lets_nobody_in(migrated, condition, code):
    migrated.execute(
        "create function public.assertion() returns boolean language plpgsql as"
        " $$ begin assert false; return true; end $$"
    )
    policy(migrated, "select", condition)
    policies = PostgresPolicies(migrated.conninfo, timeout_s=0.5)

    with pytest.raises(PolicyUndecided) as raised:
        await policies.may_read(asker(), presence=True)
    policies.close()

    assert raised.value.code == code


async def test_a_policy_that_fails_for_one_identity_keeps_nobody_else_out(migrated, policies):
    policy(migrated, "select", "(auth.jwt() ->> 'number')::int > 0")
    answers: dict[int, object] = {}

    async def ask(number: int, claim: str) -> None:
        try:
            answers[number] = await policies.may_read(asker(number=claim), presence=True)
        except PolicyUndecided as undecided:
            answers[number] = undecided.code

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, number, "x" if number == 7 else str(number))

    assert answers.pop(7) == "Unauthorized"
    assert answers.pop(0) == NOTHING
    assert set(answers.values()) == {ALL}


async def test_a_policy_that_dawdles_for_one_identity_keeps_nobody_else_out(migrated):
    policy(
        migrated,
        "select",
        "case when auth.jwt() ->> 'pace' = 'slow' then pg_sleep(60) is null else true end",
    )
    policies = PostgresPolicies(migrated.conninfo, timeout_s=1.0)
    answers: dict[str, object] = {}

    async def ask(name: str, pace: str) -> None:
        try:
            answers[name] = await policies.may_read(asker(name=name, pace=pace), presence=True)
        except PolicyUndecided as undecided:
            answers[name] = undecided.code

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, str(number), "fast")
        nursery.start_soon(ask, "late", "slow")
    policies.close()

    assert answers.pop("late") == "QueryCanceled"
    assert set(answers.values()) == {ALL}


async def test_a_missing_partition_is_told_apart(database):
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
    policies = PostgresPolicies(database.conninfo, timeout_s=5.0)

    with pytest.raises(PolicyUndecided) as raised:
        await policies.may_read(asker(), presence=True)
    policies.close()

    assert raised.value.code == "MissingPartition"


async def test_a_database_that_was_never_migrated_lets_nobody_in(database):
    policies = PostgresPolicies(database.conninfo, timeout_s=5.0)

    with pytest.raises(PolicyUndecided) as raised:
        await policies.may_read(asker(), presence=True)
    policies.close()

    assert raised.value.code == "Unauthorized"


async def test_a_database_that_is_away_is_told_apart():
    policies = PostgresPolicies("host=127.0.0.1 port=1", timeout_s=5.0)

    with pytest.raises(PolicyUndecided) as raised:
        await policies.may_read(asker(), presence=True)
    policies.close()

    assert raised.value.code == "UnableToConnectToProject"


async def test_a_policy_that_was_changed_is_noticed_within_seconds(migrated, policies):
    policy(migrated, "select", "true")
    assert await policies.may_read(asker(), presence=True) == ALL

    query(migrated.conninfo, "alter table realtime.messages disable row level security")
    query(migrated.conninfo, "alter table realtime.messages enable row level security")
    for (name,) in query(migrated.conninfo, "select policyname from pg_policies"):
        query(migrated.conninfo, f'drop policy "{name}" on realtime.messages')

    with trio.fail_after(10):
        while await policies.may_read(asker(), presence=True) == ALL:  # noqa: ASYNC110
            await trio.sleep(0.05)


CONDITIONS = st.sampled_from(
    [
        "true",
        "false",
        "realtime.topic() like 'team:%'",
        "realtime.topic() = 'team:' || (auth.jwt() ->> 'team')",
        "extension = 'broadcast'",
        "extension in ('broadcast', 'presence') and topic = realtime.topic()",
        f"auth.uid() = '{ALICE}'",
        "auth.uid()::text = split_part(realtime.topic(), ':', 2)",
        "auth.role() = 'anon'",
        "coalesce((auth.jwt() ->> 'admin')::boolean, false)",
        "1 / length(realtime.topic()) > 0",
    ]
)
POLICIES = st.lists(
    st.tuples(
        st.sampled_from(["permissive", "restrictive"]),
        st.sampled_from(["select", "insert", "all"]),
        st.sampled_from(["anon", "authenticated", "public"]),
        CONDITIONS,
    ),
    max_size=5,
)
ASKERS = st.builds(
    lambda topic, role, sub, team, admin: asker(topic, role, sub=sub, team=team, admin=admin),
    st.sampled_from(["team:red", "team:blue", f"user:{ALICE}", "room"]),
    st.sampled_from(["anon", "authenticated", "service_role"]),
    st.sampled_from([ALICE, BOB]),
    st.sampled_from(["red", "blue", None]),
    st.sampled_from([True, False, None]),
)


def plain(
    connection: psycopg.Connection[Any], question: PolicyQuestion, *, write: bool
) -> Grants:
    """Return what the same role gets from plain SQL, one extension after the other."""
    found = []
    for extension in ("broadcast", "presence"):
        with connection.transaction(force_rollback=True):
            if not write:
                connection.execute(
                    "insert into realtime.messages (topic, extension) values (%s, %s)",
                    (question.sub_topic, extension),
                )
            connection.execute(
                "select set_config('realtime.topic', %s, true), set_config('request.jwt.claims', %s, true)",
                (question.sub_topic, question.identity.claims.decode()),
            )
            connection.execute(f"set local role {question.identity.role}")
            if not write:
                rows = connection.execute("select from realtime.messages")
                found.append(rows.rowcount == 1)
                continue
            try:
                with connection.transaction():
                    connection.execute(
                        "insert into realtime.messages (topic, extension) values (%s, %s)",
                        (question.sub_topic, extension),
                    )
                found.append(True)
            except psycopg.errors.InsufficientPrivilege:
                found.append(False)
    return Grants(*found)


async def test_permissions_are_those_of_plain_sql(migrated):
    with psycopg.connect(migrated.conninfo, autocommit=True) as connection:

        @settings(
            max_examples=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(wanted=POLICIES, questions=st.lists(ASKERS, min_size=1, max_size=6))
        def compare(wanted, questions):
            for (name,) in connection.execute("select policyname from pg_policies").fetchall():
                connection.execute(f'drop policy "{name}" on realtime.messages')
            for number, (kind, command, role, condition) in enumerate(wanted):
                clause = (
                    f"with check ({condition})"
                    if command == "insert"
                    else f"using ({condition})"
                )
                connection.execute(
                    f"create policy p{number} on realtime.messages as {kind} for {command} to {role} {clause}"
                )
            granted = answers[0](questions)
            for question, (read, written) in zip(questions, granted, strict=True):
                assert read == plain(connection, question, write=False)
                assert written == plain(connection, question, write=True)

        answers = [None]

        async def ask_all(questions):
            policies = PostgresPolicies(migrated.conninfo, timeout_s=5.0)
            found: dict[int, tuple[Grants, Grants]] = {}

            async def ask(number):
                question = questions[number]
                found[number] = (
                    await policies.may_read(question, presence=True),
                    await policies.may_write(question),
                )

            async with trio.open_nursery() as nursery:
                for number in range(len(questions)):
                    nursery.start_soon(ask, number)
            policies.close()
            return [found[number] for number in range(len(questions))]

        answers[0] = lambda questions: trio.from_thread.run(ask_all, questions)
        await trio.to_thread.run_sync(compare)


async def test_who_asks_beside_a_slow_one_does_not_wait_for_it(migrated):
    policy(
        migrated,
        "select",
        "case when auth.jwt() ->> 'pace' = 'slow' then pg_sleep(60) is null else true end",
    )
    policies = PostgresPolicies(migrated.conninfo, timeout_s=4.0)
    await policies.may_read(asker(), presence=True)
    took_s: dict[str, float] = {}

    async def ask(name: str, pace: str) -> None:
        started = trio.current_time()
        with suppress(PolicyUndecided):
            await policies.may_read(asker(name=name, pace=pace), presence=True)
        took_s[name] = trio.current_time() - started

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "first", "fast")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "late", "slow")
        for number in range(10):
            nursery.start_soon(ask, str(number), "fast")
    policies.close()

    assert took_s.pop("late") >= 4.0
    assert max(took_s.values()) < 3.0


async def test_everybody_is_answered_in_time_by_a_policy_that_is_slow_for_all(migrated):
    policy(migrated, "select", "pg_sleep(60) is null")
    policies = PostgresPolicies(migrated.conninfo, timeout_s=1.0)
    codes = []

    async def ask(number: int) -> None:
        with pytest.raises(PolicyUndecided) as raised:
            await policies.may_read(asker(number=number), presence=True)
        codes.append(raised.value.code)

    with trio.fail_after(8):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
    policies.close()

    assert set(codes) <= {"QueryCanceled", "IncreaseConnectionPool"}
    assert len(codes) == 100


async def test_a_trigger_that_fails_for_one_topic_keeps_nobody_else_out(migrated, policies):
    policy(migrated, "select", "true")
    migrated.execute(
        "create function public.refuse() returns trigger language plpgsql as"
        " $$ begin if new.topic = 'cursed' then raise 'no'; end if; return new; end $$",
        "create trigger refuse before insert on realtime.messages"
        " for each row execute function public.refuse()",
    )
    answers: dict[str, object] = {}

    async def ask(topic: str) -> None:
        try:
            answers[topic] = await policies.may_read(asker(topic), presence=True)
        except PolicyUndecided as undecided:
            answers[topic] = undecided.code

    async with trio.open_nursery() as nursery:
        for topic in (*(f"room {number}" for number in range(20)), "cursed", "room"):
            nursery.start_soon(ask, topic)

    assert answers.pop("cursed") == "Unauthorized"
    assert set(answers.values()) == {ALL}


@pytest.mark.parametrize(
    "taken",
    [
        "revoke temporary on database {database} from public",
        "alter database {database} set default_transaction_read_only = on",
    ],
)
async def test_a_login_role_that_cannot_ask_lets_nobody_in(migrated, taken):
    name = f"guest_{migrated.name}"
    migrated.execute(f"create role {name} login", taken.format(database=migrated.name))
    policies = PostgresPolicies(migrated.conninfo_as(name), timeout_s=5.0)
    try:
        with pytest.raises(PolicyUndecided) as raised:
            await policies.may_read(asker(), presence=True)
    finally:
        policies.close()
        with psycopg.connect(migrated.conninfo, autocommit=True) as connection:
            connection.execute("set default_transaction_read_only = off")
            connection.execute(f"drop role {name}")

    assert raised.value.code == "Unauthorized"


async def test_what_a_policy_sets_is_not_seen_by_who_asks_next(migrated, policies):
    migrated.execute(
        "create function public.leave_a_trace() returns boolean language plpgsql as $$ begin"
        " if current_setting('troupe.trace', true) <> '' then return false; end if;"
        " perform set_config('troupe.trace', 'seen', false), set_config('request.jwt.claims', '{}', false);"
        " return true; end $$"
    )
    policy(migrated, "select", "public.leave_a_trace()")
    policy(migrated, "insert", "public.leave_a_trace()")

    for number in range(3):
        question = asker(number=number)
        # Each extension is a row of one statement, of which the first leaves its trace for the second.
        assert await policies.may_read(question, presence=False) == BROADCAST
        assert await policies.may_write(question) == ALL


async def test_what_is_remembered_is_forgotten_in_time(migrated):
    clock = [0.0]
    policies = PostgresPolicies(migrated.conninfo, timeout_s=5.0, clock=lambda: clock[0])
    for number in range(20):
        clock[0] += 0.5
        await policies.may_read(asker(number=number), presence=True)

    assert policies.remembered <= 3
    policies.close()


async def test_a_policy_on_a_private_topic_finds_the_user_id_of_goforward(migrated, policies):
    condition = f"current_setting('app.current_user_id')::uuid = '{ALICE}'"
    policy(migrated, "select", condition)
    policy(migrated, "insert", condition)

    assert await policies.may_read(asker(), presence=True) == ALL
    assert await policies.may_write(asker()) == ALL
    assert await policies.may_write(asker(sub=BOB)) == NOTHING
