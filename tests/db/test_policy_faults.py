from __future__ import annotations

import psycopg
import pytest
import trio
import trio.lowlevel
import trio.testing
from structlog.testing import capture_logs

from actors.db.row_faults import ERROR_FAILED, ERROR_SLOW
from actors.db.row_judge import MAX_TIMEOUTS, SLOW_ONES
from actors.realtime.change_ports import Question
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Identity
from tests.support.row_security import ALICE, ANON, BOB, OWN, court, identity_of, insert, user

pytestmark = pytest.mark.postgres

LOCKS_HELD = "select from pg_locks where locktype = 'advisory' and objid = 4711"


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


async def test_a_lock_that_a_policy_takes_is_not_kept(notes):
    notes.execute(
        "create policy locked on notes using (pg_try_advisory_lock(4711) and 1 / (id - 2) < 9)"
    )
    async with court(notes) as judge:
        for change in await judge.written(insert(1, ALICE), insert(2, ALICE)):
            await judge.sight(change, ANON)

        with psycopg.connect(notes.conninfo) as connection:
            assert connection.execute(LOCKS_HELD).fetchall() == []


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

        # A few together with all, and then a few alone.
        assert len(judge.calls) <= SLOW_ONES + MAX_TIMEOUTS + 1
        assert [answer[change].fault for answer in answers] == [ERROR_SLOW] * 100


async def test_claims_that_are_slow_delay_nobody_else(notes):
    notes.execute(DAWDLE, f"create policy slow on notes using (dawdle(auth.uid() = '{BOB}'))")
    async with court(notes, timeout_s=4.0) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        await judge.seen([change], user(ALICE))
        took_s = {}

        async def ask(name, identity):
            started = trio.current_time()
            assert (await judge.sight(change, identity)) is not None
            took_s[name] = trio.current_time() - started

        async with trio.open_nursery() as nursery:
            # The first is in flight when the others come, who are asked together.
            nursery.start_soon(ask, "first", user(ALICE, exp=0))
            await trio.testing.wait_all_tasks_blocked()
            for number in range(3):
                nursery.start_soon(ask, f"slow {number}", user(BOB, exp=number))
                nursery.start_soon(ask, f"fast {number}", user(ALICE, exp=number))

    # A quarter of the time for each that is slow, and not all of it after that.
    assert max(took_s[f"fast {number}"] for number in range(3)) < 4.0
    assert max(took_s[f"slow {number}"] for number in range(3)) > 4.0


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
