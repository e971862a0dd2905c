from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel

from actors.db import row_statements
from actors.db.driver import connect
from actors.realtime.change_ports import Question
from actors.realtime.errors import DatabaseUnavailable
from tests.support.postgres import until
from tests.support.row_security import ALICE, ANON, BOB, OWN, court, insert, user

pytestmark = pytest.mark.postgres


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
    monkeypatch.setattr(row_statements, "COMMIT_WITHIN_S", 0.05)
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


async def test_a_session_whose_objects_were_discarded_makes_them_again(notes):
    notes.execute("create policy everybody on notes using (true)")
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        assert await judge.seen([change], ANON) == [change]
        async with judge.visibility._sessions._usual.connection() as connection:
            await connection.execute("discard temp")

        assert await judge.seen([change], ANON) == [change]
