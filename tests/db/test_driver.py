"""Contract tests: what the driver relies on inside psycopg still holds, against a real server."""

from __future__ import annotations

import socket
from contextlib import aclosing

import psycopg
import pytest
import trio
import trio.testing
from psycopg.pq import TransactionStatus

from actors.db.driver import CopyBoth, connect
from tests.support.postgres import until

pytestmark = pytest.mark.postgres

SLOW = "select pg_sleep(60)"
SLEEPING = """
    select from pg_stat_activity
    where datname = current_database() and wait_event = 'PgSleep'
"""


@pytest.fixture
async def connection(database):
    async with await connect(database.conninfo) as connection:
        yield connection


async def test_queries_bind_their_parameters_and_return_rows(connection):
    cursor = await connection.execute("select %s::int + 1, %s::text", (41, "it's"))

    assert await cursor.fetchall() == [(42, "it's")]


async def test_a_connection_is_in_autocommit_mode(connection, database):
    await connection.execute("create table t (id int)")

    assert connection.info.transaction_status == TransactionStatus.IDLE
    async with await connect(database.conninfo) as other:
        assert await (await other.execute("select count(*) from t")).fetchone() == (0,)


async def test_an_error_in_a_transaction_rolls_it_back(connection):
    await connection.execute("create table t (id int)")

    async def insert_and_fail():
        async with connection.transaction():
            await connection.execute("insert into t values (1)")
            await connection.execute("select 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        await insert_and_fail()

    assert await (await connection.execute("select count(*) from t")).fetchone() == (0,)


async def test_a_statement_larger_than_the_socket_buffer_gets_through(connection):
    text = "x" * 20_000_000

    cursor = await connection.execute("select length(%s), %s", (text, text))

    assert (await cursor.fetchone()) == (len(text), text)


async def test_other_tasks_run_while_a_query_does(connection):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.execute, SLOW)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert connection.closed


async def test_two_tasks_take_turns_on_one_connection(connection):
    results = []

    async def ask(number):
        cursor = await connection.execute("select %s::int", (number,))
        results.append(await cursor.fetchone())

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, number)

    assert sorted(results) == [(number,) for number in range(10)]


async def test_a_connection_cancelled_in_flight_is_closed(connection):
    with trio.move_on_after(0.05) as scope:
        await connection.execute(SLOW)

    assert scope.cancelled_caught
    assert connection.closed
    assert not connection.is_idle()


async def test_a_transaction_cancelled_in_flight_closes_its_connection(connection):
    with trio.move_on_after(0.05) as scope:
        async with connection.transaction():
            await connection.execute(SLOW)

    assert scope.cancelled_caught
    assert connection.closed


async def test_a_connection_cancelled_on_its_way_out_of_a_pipeline_is_not_idle(connection):
    with trio.CancelScope() as scope:
        async with connection.pipeline():
            await connection.execute("select 1")
            # Leaving the block awaits the answers: nothing is in flight that could be seen as such.
            await connection.wait(connection._pipeline._fetch_gen(flush=True))
            scope.cancel()

    assert scope.cancelled_caught
    assert not connection.is_idle()


async def test_notifications_arrive_and_waiting_for_them_can_be_given_up(connection, database):
    await connection.execute("listen news")
    async with aclosing(connection.notifies()) as notifications:
        database.execute("notify news, 'first'")
        first = await anext(notifications)
        with trio.move_on_after(0.05) as scope:
            await anext(notifications)

    assert (first.channel, first.payload) == ("news", "first")
    assert scope.cancelled_caught
    assert connection.is_idle()


async def test_timeouts_are_refused_in_favour_of_cancel_scopes(connection):
    async with aclosing(connection.notifies(timeout=1)) as notifications:
        with pytest.raises(psycopg.NotSupportedError, match="cancel scope"):
            await anext(notifications)


async def test_leaving_the_block_closes_and_rolls_back(database):
    async with await connect(database.conninfo) as connection:
        await connection.execute("create table t (id int)")
        await connection.execute("begin")
        await connection.execute("insert into t values (1)")

    assert connection.closed
    async with await connect(database.conninfo) as other:
        assert await (await other.execute("select count(*) from t")).fetchone() == (0,)


async def test_cancel_safe_ends_the_running_query(connection, database):
    async def run():
        with pytest.raises(psycopg.errors.QueryCanceled):
            await connection.execute(SLOW)

    async with await connect(database.conninfo) as watch, trio.open_nursery() as nursery:
        nursery.start_soon(run)
        # A request that comes before the query has begun is ignored.
        await until(watch, SLEEPING)
        await connection.cancel_safe()

    assert connection.is_idle()


async def test_closing_wakes_who_waits(connection):
    async def run():
        with pytest.raises(psycopg.OperationalError):
            await connection.execute(SLOW)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        await connection.close()

    assert connection.closed


async def test_a_connection_the_server_ended_is_not_idle(connection, postgres_server):
    pid = connection.info.backend_pid

    postgres_server.execute(f"select pg_terminate_backend({pid}, 5000)")

    assert not connection.is_idle()


async def test_a_unix_socket_will_do(postgres_server):
    async with await connect(postgres_server.socket_conninfo) as connection:
        assert connection.is_idle()


async def test_a_host_name_is_looked_up(database):
    async with await connect(database.conninfo, host="localhost") as connection:
        assert connection.is_idle()


async def test_options_win_over_the_conninfo(database):
    async with await connect(database.conninfo, application_name="elsewhere") as connection:
        cursor = await connection.execute("show application_name")

        assert await cursor.fetchone() == ("elsewhere",)


async def test_connections_carry_our_name_unless_told_otherwise(connection):
    cursor = await connection.execute("show application_name")

    assert await cursor.fetchone() == ("troupe",)


async def test_a_refused_connection_is_an_operational_error(postgres_server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(psycopg.OperationalError, match="refused"):
            await connect(f"host=127.0.0.1 port={unused.getsockname()[1]}")


async def test_a_server_that_does_not_answer_times_out():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            await connect(f"host=127.0.0.1 port={deaf.getsockname()[1]} connect_timeout=1")


async def test_connecting_can_be_cancelled():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with trio.move_on_after(0.05) as scope:
            await connect(f"host=127.0.0.1 port={deaf.getsockname()[1]}")

    assert scope.cancelled_caught


@pytest.fixture
async def stream(database):
    """A replication stream of a fresh slot, with the connection it runs on."""
    options = "proto_version '1', publication_names 'p'"
    async with await connect(database.conninfo, replication="database") as connection:
        await connection.execute("CREATE PUBLICATION p")
        await connection.execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput")
        copy = await CopyBoth.start(
            connection, f"START_REPLICATION SLOT s LOGICAL 0/0 ({options})"
        )
        await receive_keepalive(copy)
        yield copy, connection


async def receive(copy: CopyBoth) -> bytes:
    while (data := copy.receive_nowait()) is None:
        await copy.wait_readable()
    return data


async def receive_keepalive(copy: CopyBoth) -> bytes:
    """Ask for an answer by a standby status update, and return it."""
    await copy.send(b"r" + bytes(32) + b"\1")
    while (data := await receive(copy))[:1] != b"k":
        pass
    return data


async def receive_until_error(copy: CopyBoth) -> None:
    while True:
        await receive(copy)


async def test_copy_both_carries_messages_in_both_directions(stream):
    copy, _ = stream

    answer = await receive_keepalive(copy)

    assert len(answer) == 18


async def test_what_has_not_arrived_is_none(stream):
    copy, _ = stream
    while copy.receive_nowait() is not None:
        pass

    assert copy.receive_nowait() is None


async def test_a_refused_command_says_why(database):
    async with await connect(database.conninfo, replication="database") as connection:
        with pytest.raises(psycopg.errors.UndefinedObject, match="does not exist"):
            await CopyBoth.start(connection, "START_REPLICATION SLOT nowhere LOGICAL 0/0")


async def test_a_terminated_stream_says_why(stream, postgres_server):
    copy, connection = stream
    postgres_server.execute(f"select pg_terminate_backend({connection.info.backend_pid}, 5000)")

    with pytest.raises(psycopg.errors.AdminShutdown):
        await receive_until_error(copy)


async def test_waiting_for_the_stream_can_be_given_up_and_resumed(stream):
    copy, _ = stream
    with trio.move_on_after(0.1) as scope:
        while True:
            await receive(copy)

    assert scope.cancelled_caught
    assert await receive_keepalive(copy)


async def test_closing_a_stream_wakes_its_reader(stream):
    copy, connection = stream

    async def read():
        with pytest.raises(psycopg.OperationalError):
            await receive_until_error(copy)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await connection.close()

    assert connection.closed
