from __future__ import annotations

import pytest
import trio
import trio.testing
from attrs import define, field

from actors.db.insert_position import InsertPosition
from actors.db.pool import Pool
from actors.realtime.errors import DatabaseUnavailable


@define
class CountingPool(Pool):
    """Answers with how often it was asked, once for each permit; while `is_away` it refuses."""

    asked: int = 0
    is_away: bool = False
    number: int = 0
    permits: trio.Semaphore = field(factory=lambda: trio.Semaphore(0))

    def connection(self):
        return self

    async def __aenter__(self):
        self.asked += 1
        if self.is_away:
            raise DatabaseUnavailable("away")
        return self

    async def __aexit__(self, *_error):
        pass

    async def execute(self, _statement):
        self.number = self.asked
        await self.permits.acquire()
        return self

    async def fetchone(self):
        return (f"0/{self.number}",)


@pytest.fixture
def pool():
    return CountingPool("")


async def ask(position: InsertPosition, answers: list) -> None:
    try:
        answers.append(await position.read())
    except DatabaseUnavailable as away:
        answers.append(away.advice)


async def test_who_comes_while_a_query_runs_shares_the_next_one(pool, autojump_clock):
    position, first, others = InsertPosition(pool), [], []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, position, first)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(10):
            nursery.start_soon(ask, position, others)
        await trio.testing.wait_all_tasks_blocked()
        pool.permits.release()
        pool.permits.release()

    assert (first, others) == ([1], [2] * 10)


async def test_one_who_gives_up_while_asking_leaves_the_others_alone(pool, autojump_clock):
    position, answers = InsertPosition(pool), []
    async with trio.open_nursery() as others:
        async with trio.open_nursery() as first:
            first.start_soon(ask, position, answers)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(2):
                others.start_soon(ask, position, answers)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        pool.permits.release()

    assert answers == [2, 2]


async def test_a_database_that_is_away_is_asked_once_for_all(pool, autojump_clock):
    pool.is_away = True
    position, answers = InsertPosition(pool), []
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask, position, answers)

    assert answers == ["away"] * 10
    assert pool.asked == 1
