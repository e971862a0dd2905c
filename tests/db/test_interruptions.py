"""The change source while Postgres stops, dies, comes back, or is another one."""

from __future__ import annotations

import signal

import pytest
import trio

from actors.db.driver import connect
from actors.realtime.errors import DatabaseUnavailable
from tests.contracts.change_source import receive
from tests.support.postgres import Database, running_server
from tests.support.replication import (
    BREAK_OFF,
    DURABLE,
    EVERYTHING,
    NOTES,
    TEMPORARY,
    Follower,
    PostgresHarness,
    following,
    refusal,
    streaming,
)  # fmt: skip

pytestmark = pytest.mark.postgres

both_modes = pytest.mark.parametrize(
    "slots", [DURABLE, TEMPORARY], ids=lambda slots: slots.mode.value
)


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(60):
        yield


@pytest.fixture(scope="module")
def own_server():
    """A server that the tests of this file may stop and restart."""
    with running_server() as server:
        yield server


@pytest.fixture
def own(own_server):
    """A database with a published table on a server that may be stopped; restarted as it was afterwards."""
    settings = own_server.settings
    own_server.execute("create database own")
    database = Database(own_server, "own")
    database.execute(*NOTES)
    yield database
    own_server.stop()
    own_server.settings = settings
    own_server.start()
    own_server.execute("drop database own with (force)")


def restart(database: Database, how: signal.Signals = signal.SIGINT, **settings: str) -> None:
    server = database.server
    server.stop(how)
    server.settings = {**server.settings, **settings}
    server.start()


async def test_wal_level_replica_says_what_to_set(own):
    restart(own, wal_level="replica")

    assert "wal_level = logical" in await refusal(own.conninfo)


@both_modes
async def test_slots_exhausted_says_what_to_raise(own, slots):
    restart(own, max_replication_slots="1")
    async with streaming(own.conninfo, slots=TEMPORARY):
        assert "max_replication_slots" in await refusal(own.conninfo, slots=slots)


async def test_walsenders_exhausted_says_what_to_raise(own):
    restart(own, max_wal_senders="1")
    async with streaming(own.conninfo):
        assert "max_wal_senders" in await refusal(own.conninfo)


async def receive_until_it_stops(own: Database, slots, *, task_status) -> None:
    """Stream and acknowledge everything until the server stops; start with the first row."""
    async with streaming(own.conninfo, slots=slots) as stream:
        own.execute("insert into notes values (0)")
        task_status.started(await receive(stream, 1))
        with pytest.raises(DatabaseUnavailable, match="waiting for it to come back"):
            await receive(stream, EVERYTHING)


async def time_to_stop_s(own: Database, slots, *last_statements: str) -> float:
    """Return how long a fast stop takes, right after some statements, while somebody streams."""
    async with trio.open_nursery() as nursery:
        await nursery.start(receive_until_it_stops, own, slots)
        own.execute(*last_statements)
        began = trio.current_time()
        await trio.to_thread.run_sync(own.server.stop, signal.SIGINT)
        took_s = trio.current_time() - began
    own.server.start()
    return took_s


@both_modes
async def test_an_idle_stream_does_not_hold_up_a_stop(own, slots):
    # Read by the server for us, but not published: must be confirmed all the same.
    others = ("create table others (id int)", "insert into others values (1)")

    assert await time_to_stop_s(own, slots, *others) < 2


@both_modes
async def test_a_busy_stream_does_not_hold_up_a_stop(own, slots):
    many = "insert into notes select generate_series(1, 20000)"

    assert await time_to_stop_s(own, slots, many) < 2


async def test_a_server_killed_mid_stream_says_so(own):
    async with streaming(own.conninfo) as stream:
        await trio.to_thread.run_sync(own.server.stop, signal.SIGQUIT)
        with pytest.raises(DatabaseUnavailable, match="waiting for it to come back"):
            await receive(stream, 1)
    own.server.start()


# What is received all the same.


async def terminate_walsender(own: Database) -> None:
    async with await connect(own.conninfo) as connection:
        await connection.execute(BREAK_OFF)


async def restart_fast(own: Database) -> None:
    await trio.to_thread.run_sync(restart, own)


async def restart_after_sigquit(own: Database) -> None:
    await trio.to_thread.run_sync(restart, own, signal.SIGQUIT)


async def restart_after_sigkill(own: Database) -> None:
    await trio.to_thread.run_sync(restart, own, signal.SIGKILL)


INTERRUPTIONS = [
    terminate_walsender,
    restart_fast,
    restart_after_sigquit,
    restart_after_sigkill,
]
interrupted = pytest.mark.parametrize(
    "interrupt", INTERRUPTIONS, ids=lambda interrupt: interrupt.__name__
)


async def insert_around(follower: Follower, own: Database, interrupt) -> None:
    """Commit rows 1 to 6 before, around and after an interruption, and wait for the last."""
    # Else Postgres itself loses what it had not written yet.
    own.execute("alter database own set synchronous_commit = on")
    harness = PostgresHarness(follower.source, own)
    await harness.insert(1)
    await follower.wait_for(1)
    await harness.insert(2, 3)
    await interrupt(own)
    await harness.insert(4)
    await harness.insert(5)
    await follower.wait_for_connects(2)
    await harness.insert(6)
    await follower.wait_for(6)


@interrupted
async def test_a_durable_slot_brings_every_row_once_and_in_order(own, interrupt):
    async with following(own.conninfo, slots=DURABLE) as follower:
        await insert_around(follower, own, interrupt)

    assert follower.ids == [1, 2, 3, 4, 5, 6]
    assert follower.gaps == []


@interrupted
async def test_without_one_what_may_be_missing_is_announced(own, interrupt):
    async with following(own.conninfo, slots=TEMPORARY) as follower:
        await insert_around(follower, own, interrupt)

    assert follower.ids == sorted(follower.ids)
    assert len(follower.gaps) >= 1


@pytest.fixture
def another(own):
    """The same on another server, which may take the place of the first one."""
    with running_server() as server:
        server.execute("create database own")
        database = Database(server, "own")
        database.execute(*NOTES)
        yield database


async def test_another_system_at_the_same_address_starts_over(own, another):
    async with following(own.conninfo, slots=DURABLE) as follower:
        own.execute("insert into notes select generate_series(1, 3)")
        await follower.wait_for(3)
        await trio.to_thread.run_sync(own.server.stop)
        await trio.to_thread.run_sync(another.server.stop)
        another.server.port, port = own.server.port, another.server.port
        await trio.to_thread.run_sync(another.server.start)
        await follower.wait_for_connects(2)
        another.execute("insert into notes values (4)")
        await follower.wait_for(4)
    another.server.stop()
    another.server.port = port
    own.server.start()

    assert follower.ids == [1, 2, 3, 4]
    assert [gap.starts_over for gap in follower.gaps] == [True]
