from __future__ import annotations

from contextlib import asynccontextmanager

import psycopg
import pytest
import trio
import trio.lowlevel
from structlog.testing import capture_logs

from actors.db import row_judge
from actors.db.driver import connect
from actors.db.privileges import MAX_AGE_S
from actors.db.row_judge import ERROR_FAILED, ERROR_SLOW, MAX_TIMEOUTS
from actors.realtime.change_ports import Question
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Identity
from tests.support.postgres import until
from tests.support.row_security import ALICE, BOB, court, identity_of, prepare

pytestmark = pytest.mark.postgres

OWN = "create policy own on notes using (auth.uid() = user_id)"
ANON = identity_of("anon")
SERVICE = identity_of("service_role")


@pytest.fixture
def made_roles(database):
    """Make roles of the server that go with the test."""
    made = []

    def make(*definitions):
        for definition in definitions:
            database.execute(f"create role {definition}")
            made.insert(0, definition.split(" bypassrls")[0].split(" superuser")[0])
            made[0] = made[0].split(" login")[0].split(" noinherit")[0].split(" in role")[0]

    yield make
    for role in made:
        database.execute(f"drop owned by {role} cascade", f"drop role {role}")


def user(sub: str, **others) -> Identity:
    return identity_of("authenticated", sub, **others)


@pytest.fixture
def notes(database):
    """A table under row security without any policy."""
    prepare(database)
    database.execute(
        "create table notes (id int primary key, user_id uuid, body text)",
        "alter table notes enable row level security",
        "grant select on notes to anon, authenticated, service_role",
    )
    return database


def insert(number: int, owner: str) -> str:
    return f"insert into notes values ({number}, '{owner}', 'body {number}')"


@pytest.mark.capability("M5-014", "M5-048", "M5-049", "M5-074")
async def test_a_row_is_shown_to_those_whose_policy_lets_them_read_it(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))

        assert await judge.seen([mine, other], user(ALICE)) == [mine]
        assert await judge.seen([mine, other], user(BOB)) == [other]
        assert await judge.seen([mine, other], SERVICE) == [mine, other]
        assert await judge.seen([mine, other], ANON) == []


async def test_a_row_is_judged_as_it_is_now(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        inserted, moved, gone, _ = await judge.written(
            insert(1, ALICE),
            f"update notes set user_id = '{BOB}'",
            insert(2, ALICE),
            "delete from notes where id = 2",
        )

        assert await judge.seen([inserted, moved, gone], user(ALICE)) == []
        assert await judge.seen([inserted, moved, gone], user(BOB)) == [inserted, moved]


KEYS = (
    ("id bigint primary key", "9007199254740993"),
    ("id uuid primary key", f"'{ALICE}'"),
    ("id text primary key", "'a \"b\" \\ {c}, ''d'' (e) %s ü 漢'"),
    ("id text primary key", "''"),
    ("id char(5) primary key", "'ab'"),
    ("id varchar(3) primary key", "'NUL'"),
    ('id "char" primary key', "'x'"),
    ("id bytea primary key", "'\\x00ff22'"),
    ("id bit(3) primary key", "'101'"),
    ("id numeric(6, 2) primary key", "1.10"),
    ("id timestamptz primary key", "'2026-01-02 03:04:05.123456+05'"),
    ("id date primary key", "'0044-03-15 BC'"),
    ("id interval primary key", "'1 year 2 days -03:04:05.5'"),
    ("id float8 primary key", "0.1"),
    ("id mood primary key", "'sad'"),
    ("id short primary key", "'dom'"),
    ("id pair primary key", "row(1, 'a b')"),
    ("id int[] primary key", "'{{1,2},{3,4}}'"),
    ("id int4range primary key", "'[1,5)'"),
    ("id inet primary key", "'192.0.2.1'"),
    ('"i""d %s" int primary key', "1"),
    ("a int, b text, primary key (b, a)", "1, 'x'"),
    ("a int, b text, primary key (a) include (b)", "1, 'x'"),
)


@pytest.mark.capability("M5-075")
@pytest.mark.parametrize("rows", [False, True])
async def test_a_row_is_found_by_a_key_of_any_type(notes, rows):
    notes.execute(
        "create type mood as enum ('glad', 'sad')",
        "create domain short as varchar(3)",
        "create type pair as (x int, y text)",
    )
    tables = [f'"o""dd %s {{}} {number}"' for number in range(len(KEYS))]
    for table, (definition, _) in zip(tables, KEYS, strict=True):
        notes.execute(
            f"create table {table} ({definition})",
            f"alter table {table} enable row level security",
            f"create policy everybody on {table} using (true)",
            f"grant select on {table} to anon",
        )
    async with court(notes, rows=rows) as judge:
        changes = await judge.written(
            *(
                f"insert into {table} values ({row})"
                for table, (_, row) in zip(tables, KEYS, strict=True)
            )
        )

        seen = await judge.seen(changes, ANON)

    assert [key for key, change in zip(KEYS, changes, strict=True) if change not in seen] == []


async def test_a_key_is_compared_by_the_operator_of_its_index(notes):
    notes.execute(
        "create schema apart",
        "create extension citext schema apart",
        "grant usage on schema apart to anon",
        "create table words (id apart.citext primary key)",
        "alter table words enable row level security",
        "create policy everybody on words using (true)",
        "grant select on words to anon",
    )
    async with court(notes) as judge:
        change, _ = await judge.written(
            "insert into words values ('Word')", "update words set id = 'wORD'"
        )

        assert await judge.seen([change], ANON) == [change]


async def test_a_renamed_table_and_its_renamed_columns_are_found_at_once(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        before, first = await judge.written(insert(1, ALICE), insert(2, ALICE))
        assert await judge.seen([before], user(ALICE)) == [before]
        notes.execute(
            "alter table notes rename to papers",
            "alter table papers rename column id to number",
            "alter table papers rename column user_id to id",
        )

        assert await judge.seen([first], user(ALICE)) == [first]


async def test_another_table_that_took_over_the_name_is_not_asked(notes):
    notes.execute("create policy nobody on notes using (false)")
    async with court(notes) as judge:
        first, second = await judge.written(insert(1, ALICE), insert(2, ALICE))
        assert await judge.seen([first], ANON) == []
        notes.execute(
            "alter table notes rename to papers",
            "create table notes (id int primary key)",
            "insert into notes values (1), (2)",
            "grant select on notes to anon",
        )

        assert await judge.seen([first, second], ANON) == []


async def test_a_partition_is_judged_by_the_policies_of_its_root_when_published_by_it(notes):
    notes.execute(
        "create table logs (id int primary key, user_id uuid) partition by range (id)",
        "create table logs_1 partition of logs for values from (1) to (100)",
        "alter table logs enable row level security",
        "create policy own on logs using (auth.uid() = user_id)",
        "grant select on logs to authenticated",
        "alter publication supabase_realtime set (publish_via_partition_root = true)",
    )
    async with court(notes) as judge:
        mine, other = await judge.written(
            f"insert into logs values (1, '{ALICE}')", f"insert into logs values (2, '{BOB}')"
        )

        assert await judge.seen([mine, other], user(ALICE)) == [mine]


async def test_whom_row_security_does_not_bind_is_asked_of_the_catalog(notes, made_roles):
    made_roles("overseer bypassrls", "boss superuser", "owner", "clerk in role owner")
    notes.execute(
        "grant select on notes to overseer, clerk",
        "alter table notes owner to owner",
    )
    roles = ("overseer", "boss", "owner", "clerk")
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        free = [role for role in roles if await judge.seen([change], identity_of(role))]
        notes.execute("alter table notes force row level security")
        await trio.sleep(MAX_AGE_S)
        forced = [role for role in roles if await judge.seen([change], identity_of(role))]

    assert free == ["overseer", "boss", "owner", "clerk"]
    assert forced == ["overseer", "boss"]


async def test_policies_of_inherited_roles_count(notes, made_roles):
    made_roles("staff", "intern in role staff", "temp noinherit in role staff")
    notes.execute(
        "grant select on notes to intern, temp",
        "create policy all_of_staff on notes to staff using (true)",
    )
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert await judge.seen([change], identity_of("intern")) == [change]
        assert await judge.seen([change], identity_of("temp")) == []


async def test_what_changes_about_policies_counts_within_a_second(notes):
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        outcomes = []
        for statement in (
            OWN,
            "drop policy own on notes",
            "alter table notes disable row level security",
            "revoke select on notes from authenticated",
        ):
            notes.execute(statement)
            await trio.sleep(MAX_AGE_S)
            outcomes.append(bool(await judge.seen([change], user(ALICE))))

    assert outcomes == [True, False, True, False]


@pytest.mark.capability("M5-016")
async def test_a_failing_policy_is_told_to_those_it_fails_for_alone(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))
        with capture_logs() as logs:
            failed = await judge.sight(mine, user("null"))
            await judge.sight(other, user("null"))

        assert (failed.columns, failed.fault) == (frozenset(), ERROR_FAILED)
        assert await judge.seen([mine], user(ALICE)) == [mine]
    assert logs == [
        {
            "event": "policy.failed",
            "log_level": "warning",
            "schema": "public",
            "table": "notes",
            "role": "authenticated",
            "sqlstate": "22P02",
        }
    ]


async def test_a_policy_that_fails_for_one_row_spoils_no_other(notes):
    notes.execute("create policy division on notes using (1 / (id - 2) is not null)")
    async with court(notes) as judge:
        changes = await judge.written(*(insert(number, ALICE) for number in (1, 2, 3)))

        (answer,) = await judge.visibility.check([Question(ANON, tuple(changes))])

        assert [answer[change].fault for change in changes] == [None, ERROR_FAILED, None]


async def test_of_a_thousand_subscribers_one_with_unusable_claims_loses_alone(notes):
    notes.execute("create policy signed_in on notes using (auth.uid() is not null)")
    number_of_users = 1000
    subs = [f"00000000-0000-0000-0000-{number:012d}" for number in range(number_of_users)]
    subs[500] = "null"
    async with court(notes) as judge:
        changes = tuple(await judge.written(insert(1, ALICE), insert(2, BOB)))
        with trio.fail_after(20):
            answers = await judge.visibility.check(
                [Question(user(sub), changes) for sub in subs]
            )

    faults = {(place, sight.fault) for place, a in enumerate(answers) for sight in a.values()}
    assert faults == {(place, ERROR_FAILED if place == 500 else None) for place in range(1000)}
    assert {len(answer) for answer in answers} == {2}


async def test_claims_that_postgres_cannot_take_are_refused_alone(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        unusable = Identity("authenticated", b'{"sub": "\0"}', 0.0)
        questions = [Question(one, (change,)) for one in (user(ALICE), unusable, user(BOB))]

        answers = await judge.visibility.check(questions)

        assert [[s.fault for s in answer.values()] for answer in answers] == [
            [None],
            [ERROR_FAILED],
            [],
        ]


@pytest.mark.parametrize(
    "claims",
    [
        '{"sub": "\'; drop table notes; --"}',
        '{"sub": "$$ || pg_sleep(100) || $$"}',
        '{"sub": "%s {0} \\\\ \\""}',
        "not json",
        "",
        "'",
    ],
)
@pytest.mark.capability("M5-015")
async def test_claims_are_values_whatever_is_in_them(notes, claims):
    notes.execute("create policy nobody on notes using (auth.uid() is not null)")
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        identity = Identity("authenticated", claims.encode(), 0.0)

        assert await judge.seen([change], identity) == []
        assert await judge.seen([change], user(ALICE)) == [change]


@pytest.mark.parametrize(
    "role",
    [
        "none",
        "postgres'; reset role; --",
        '"postgres"',
        "postgres",
        "authenticated; set role postgres",
        "",
        "\0",
    ],
)
@pytest.mark.capability("M5-017")
async def test_a_role_is_a_name_whatever_is_in_it(notes, role):
    notes.execute(OWN)
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))

        seen = await judge.seen([change], Identity(role, b"{}", 0.0))

        # The token is signed: whoever may sign for the superuser is one.
        assert seen == ([change] if role == "postgres" else [])


async def test_a_role_with_an_odd_name_is_asked_for_by_it(notes, made_roles):
    made_roles('"o\'dd ""one"" {} %s"')
    notes.execute(
        'grant select on notes to "o\'dd ""one"" {} %s"',
        "create policy me on notes using (current_user = 'o''dd \"one\" {} %s')",
    )
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert await judge.seen([change], identity_of('o\'dd "one" {} %s')) == [change]
        assert await judge.seen([change], ANON) == []


@pytest.mark.capability("M5-076")
async def test_a_policy_cannot_write(notes):
    notes.execute(
        "create table spied (who text)",
        "grant all on spied to anon",
        """create function spy() returns bool language plpgsql volatile as $$
            begin
                insert into spied values ('read');
                return true;
            end $$""",
        "create policy spied on notes using (spy())",
    )
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert (await judge.sight(change, ANON)).fault == ERROR_FAILED
    with psycopg.connect(notes.conninfo) as connection:
        assert connection.execute("select count(*) from spied").fetchone() == (0,)


async def test_nothing_a_policy_sets_reaches_the_next_identity(notes):
    notes.execute(
        """create function first_come() returns uuid language plpgsql volatile as $$
            begin
                if coalesce(current_setting('app.user', true), '') = '' then
                    perform set_config('app.user', auth.uid()::text, false);
                end if;
                return current_setting('app.user')::uuid;
            end $$""",
        "create policy own on notes using (first_come() = user_id)",
    )
    async with court(notes) as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))
        questions = [Question(user(sub), (mine, other)) for sub in (ALICE, BOB)]

        for _ in range(2):
            first, second = await judge.visibility.check(questions)
            assert (set(first), set(second)) == ({mine}, {other})


async def test_a_policy_cannot_pretend_to_have_been_asked(notes):
    notes.execute(
        """create function pretend() returns bool language plpgsql volatile as $$
            begin
                if auth.uid() is null then
                    raise sqlstate 'TR000';
                end if;
                return true;
            end $$""",
        "create policy pretended on notes using (pretend())",
    )
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        questions = [
            Question(one, (change,)) for one in (user(ALICE), identity_of("authenticated"))
        ]

        answers = await judge.visibility.check(questions)

        assert [set(answer) for answer in answers] == [{change}, set()]


async def test_a_failed_assertion_is_the_failure_of_one(notes):
    notes.execute(
        """create function insist() returns bool language plpgsql stable as $$
            begin
                assert auth.uid() is not null;
                return true;
            end $$""",
        "create policy insisting on notes using (insist())",
    )
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        questions = [
            Question(one, (change,)) for one in (identity_of("authenticated"), user(ALICE))
        ]

        answers = await judge.visibility.check(questions)

        assert [answer[change].fault for answer in answers] == [ERROR_FAILED, None]


DAWDLE = """
    create function dawdle(wanted bool) returns bool language plpgsql stable as $$
    begin
        if wanted then perform pg_sleep(30); end if;
        return true;
    end $$
"""


async def test_one_for_whom_a_policy_takes_too_long_is_refused_alone_and_not_asked_again(notes):
    notes.execute(DAWDLE, f"create policy slow on notes using (dawdle(auth.uid() = '{BOB}'))")
    async with court(notes, timeout_s=0.3) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        users = [f"00000000-0000-0000-0000-{number:012d}" for number in range(100)] + [BOB]
        questions = [Question(user(sub), (change,)) for sub in users]

        answers = await judge.visibility.check(questions)
        started = trio.current_time()
        again = await judge.visibility.check(questions)

        assert [answer[change].fault for answer in answers] == [None] * 100 + [ERROR_SLOW]
        assert again == answers
        assert trio.current_time() - started < 0.3


async def test_a_policy_that_is_slow_for_everybody_is_not_tried_for_everybody(notes):
    notes.execute(DAWDLE, "create policy slow on notes using (dawdle(true))")
    async with court(notes, timeout_s=0.1) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        questions = [Question(user(ALICE, exp=number), (change,)) for number in range(100)]

        answers = await judge.visibility.check(questions)

        # All together, and then a few alone.
        assert len(judge.calls) == 1 + MAX_TIMEOUTS
        assert [answer[change].fault for answer in answers] == [ERROR_SLOW] * 100


async def test_slow_policies_delay_no_other_table(notes):
    notes.execute(
        DAWDLE,
        *(
            statement
            for number in range(6)
            for statement in (
                f"create table slow_{number} (id int primary key)",
                f"alter table slow_{number} enable row level security",
                f"create policy slow on slow_{number} using (dawdle(true))",
                f"grant select on slow_{number} to anon",
            )
        ),
        "create policy everybody on notes using (true)",
    )
    async with court(notes, timeout_s=1.0) as judge:
        *slow, change = await judge.written(
            *(f"insert into slow_{number} values (1)" for number in range(6)), insert(1, ALICE)
        )
        # What is slow shows the first time; from then on it keeps to itself.
        for one in slow:
            assert (await judge.sight(one, ANON)).fault == ERROR_SLOW

        async with trio.open_nursery() as nursery:
            for number, one in enumerate(slow):
                nursery.start_soon(try_sight, judge, one, identity_of("anon", str(number)))
            await trio.sleep(0.1)
            started = trio.current_time()
            seen = await judge.seen([change], ANON)
            took_s = trio.current_time() - started
            nursery.cancel_scope.cancel()

    assert seen == [change]
    assert took_s < 0.5


async def try_sight(judge, change, identity):
    try:
        await judge.sight(change, identity)
    except DatabaseUnavailable:
        return


async def test_a_table_that_is_locked_can_be_asked_about_later(notes):
    notes.execute(OWN)
    async with court(notes, timeout_s=0.4) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        assert await judge.seen([change], user(ALICE)) == [change]
        with psycopg.connect(notes.conninfo) as connection:
            connection.execute("lock table notes in access exclusive mode")
            with pytest.raises(DatabaseUnavailable, match="locked"):
                await judge.seen([change], user(ALICE))

        assert await judge.seen([change], user(ALICE)) == [change]


async def test_when_all_connections_are_taken_the_answer_is_that_and_no_silence(notes):
    notes.execute(DAWDLE, "create policy slow on notes using (dawdle(true))")
    async with court(notes, timeout_s=5.0) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        for pool in (judge.visibility._sessions._usual, judge.visibility._sessions._slow):
            pool.max_size, pool._places, pool.wait_s = 0, trio.Semaphore(0), 0.1

        with pytest.raises(DatabaseUnavailable, match="busy"):
            await judge.seen([change], ANON)


async def test_who_is_cancelled_leaves_the_others_their_answer(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        answers = []

        async def ask(sub):
            answers.append(await judge.seen([change], user(sub)))

        async with trio.open_nursery() as nursery:
            for sub in (ALICE, BOB):
                nursery.start_soon(ask, sub)
            with trio.move_on_after(0.001):
                await judge.seen([change], user(ALICE))

    assert sorted(answers, key=len) == [[], [change]]


async def test_the_number_of_statements_does_not_grow_with_those_who_share_an_identity(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        counts = []
        for number in (1, 10_000):
            judge.calls.clear()
            answers = await judge.visibility.check([Question(user(ALICE), (change,))] * number)
            counts.append([len(arguments[1]) for arguments in judge.calls])
            assert [set(answer) for answer in answers] == [{change}] * number

    assert counts == [[1], [1]]


async def test_what_is_asked_meanwhile_goes_with_the_next_statement(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(judge.seen, [change], user(ALICE))
            while not judge.calls:
                await trio.lowlevel.checkpoint()
            for number in range(100):
                nursery.start_soon(judge.seen, [change], user(ALICE, exp=number))

    assert [len(arguments[1]) for arguments in judge.calls] == [1, 100]


async def test_a_commit_that_other_sessions_do_not_see_yet_is_waited_for(notes):
    notes.execute("create policy everybody on notes using (true)")
    async with (
        court(notes) as judge,
        trio.open_nursery() as nursery,
        waiting_for_a_standby(notes),
    ):
        nursery.start_soon(commit_synchronously, notes, insert(1, ALICE))
        (change,) = await judge.read(1)
        sights = []

        async def look():
            sights.append(await judge.sight(change, ANON))

        nursery.start_soon(look)
        while len(judge.calls) < 3:
            await trio.lowlevel.checkpoint()
        assert sights == []

    assert [sight.columns for sight in sights] == [{"id", "user_id", "body"}]


async def test_a_commit_that_is_not_seen_for_long_can_be_asked_about_later(notes, monkeypatch):
    monkeypatch.setattr(row_judge, "COMMIT_WITHIN_S", 0.05)
    notes.execute("create policy everybody on notes using (true)")
    async with (
        court(notes) as judge,
        trio.open_nursery() as nursery,
        waiting_for_a_standby(notes),
    ):
        nursery.start_soon(commit_synchronously, notes, insert(1, ALICE))
        (change,) = await judge.read(1)
        with pytest.raises(DatabaseUnavailable, match="standby"):
            await judge.sight(change, ANON)


@asynccontextmanager
async def waiting_for_a_standby(database):
    """Let synchronous commits wait until the end of the block; the write-ahead log has them at once."""
    setting = "synchronous_standby_names"
    reload = "select pg_reload_conf()"
    database.execute(f"alter system set {setting} = 'nobody'", reload)
    try:
        async with await connect(database.conninfo) as connection:
            await until(
                connection,
                f"select from pg_settings where name = '{setting}' and setting <> ''",
            )
        yield
    finally:
        database.execute(f"alter system reset {setting}", reload)


async def commit_synchronously(database, statement):
    async with await connect(database.conninfo) as connection:
        await connection.execute("set synchronous_commit = on")
        await connection.execute(statement)


async def test_the_login_role_needs_replication_and_membership_and_nothing_else(
    notes, made_roles
):
    made_roles(
        "doorkeeper login replication noinherit in role anon, authenticated, service_role"
    )
    notes.execute(OWN, "revoke all on schema public from public")
    notes.execute("grant usage on schema public to anon, authenticated, service_role")
    async with court(notes, login="doorkeeper") as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))

        assert await judge.seen([mine, other], user(ALICE)) == [mine]
        assert await judge.seen([mine, other], ANON) == []
        assert await judge.seen([mine, other], SERVICE) == [mine, other]


async def test_a_role_that_the_login_role_may_not_take_is_refused(notes, made_roles):
    made_roles("doorkeeper login replication in role anon")
    notes.execute("create policy everybody on notes using (true)")
    async with court(notes, login="doorkeeper") as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert await judge.seen([change], ANON) == [change]
        assert (await judge.sight(change, user(ALICE))).fault == ERROR_FAILED


async def test_without_the_right_to_temporary_objects_rows_are_refused(notes, made_roles):
    made_roles("doorkeeper login replication in role anon")
    notes.execute(
        "create policy everybody on notes using (true)",
        f"revoke temporary on database {notes.name} from public",
    )
    async with court(notes, login="doorkeeper") as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert (await judge.sight(change, ANON)).fault == ERROR_FAILED
        notes.execute(f"grant temporary on database {notes.name} to doorkeeper")

        assert await judge.seen([change], ANON) == [change]
