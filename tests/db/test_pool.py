from __future__ import annotations

import psycopg
import pytest
import trio
import trio.lowlevel
import trio.testing

from actors.db.pool import Pool
from actors.realtime.errors import DatabaseUnavailable

pytestmark = pytest.mark.postgres


@pytest.fixture
async def pool(database):
    pool = Pool(database.conninfo, max_size=2, wait_s=5.0)
    yield pool
    pool.close()


async def backend(pool: Pool) -> int:
    """Return the process id of the connection that is lent next."""
    async with pool.connection() as connection:
        return connection.info.backend_pid


async def test_a_connection_is_used_again(pool):
    assert await backend(pool) == await backend(pool)


async def test_two_tasks_never_share_a_connection(pool):
    async with pool.connection() as first, pool.connection() as second:
        assert first is not second


async def test_who_finds_none_waits_for_one_to_come_back(pool):
    lent = []

    async def borrow():
        lent.append(await backend(pool))

    async with trio.open_nursery() as nursery, pool.connection(), pool.connection():
        nursery.start_soon(borrow)
        await trio.testing.wait_all_tasks_blocked()
        assert lent == []

    assert len(lent) == 1


@pytest.mark.parametrize("ticks", range(12))
async def test_what_is_cancelled_anywhere_in_a_pipeline_spoils_no_later_answer(pool, ticks):
    async def borrow():
        async with pool.connection() as connection, connection.pipeline():
            await connection.execute("begin")
            await connection.execute("select 'old'")
            await connection.execute("rollback")

    for _ in range(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(borrow)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

        async with pool.connection() as connection:
            cursor = await connection.execute("select 'new'")
            assert await cursor.fetchall() == [("new",)]


async def test_who_waits_too_long_is_refused(database):
    pool = Pool(database.conninfo, max_size=1, wait_s=0.05)
    async with pool.connection():
        with pytest.raises(DatabaseUnavailable, match="were busy"):
            await backend(pool)
    pool.close()


async def test_a_cancelled_connection_is_not_lent_again(pool):
    before = await backend(pool)
    with trio.move_on_after(0.05):
        async with pool.connection() as connection:
            await connection.execute("select pg_sleep(60)")

    assert await backend(pool) != before


async def test_a_connection_left_in_a_transaction_is_not_lent_again(pool):
    async with pool.connection() as connection:
        await connection.execute("begin")
        left = connection.info.backend_pid

    assert await backend(pool) != left


async def test_an_error_of_the_query_leaves_the_connection_usable(pool):
    before = await backend(pool)
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with pool.connection() as connection:
            await connection.execute("select 1 / 0")

    assert await backend(pool) == before


async def test_what_the_server_closed_is_replaced(pool, postgres_server):
    before = await backend(pool)
    postgres_server.execute(f"select pg_terminate_backend({before}, 5000)")

    assert await backend(pool) != before


async def test_a_database_that_goes_away_amid_a_query_is_unavailable(pool, postgres_server):
    async def ask_too_late():
        async with pool.connection() as connection:
            pid = connection.info.backend_pid
            postgres_server.execute(f"select pg_terminate_backend({pid}, 5000)")
            await connection.execute("select 1")

    with pytest.raises(DatabaseUnavailable, match="ended the connection"):
        await ask_too_late()

    assert await backend(pool)


async def test_a_database_that_is_not_there_is_unavailable(postgres_server):
    pool = Pool(postgres_server.conninfo("nowhere"))

    with pytest.raises(DatabaseUnavailable, match="does not exist"):
        await backend(pool)


async def test_what_comes_back_after_closing_is_closed(pool):
    async with pool.connection() as connection:
        pool.close()

    assert connection.closed


async def test_waiting_can_be_cancelled_without_losing_a_place(pool):
    async with pool.connection(), pool.connection():
        with trio.move_on_after(0.05) as scope:
            await backend(pool)
    assert scope.cancelled_caught

    async with pool.connection(), pool.connection():
        pass
