"""A transaction that cannot be read is read three times and then left out; nothing behind it waits for ever."""

from __future__ import annotations

import pytest
import trio
from attrs import define, frozen
from structlog.testing import capture_logs

from actors.db.catalog import Catalog
from actors.db.continuity import ATTEMPTS, Continuity, System
from actors.db.pool import Pool
from actors.db.replication import ReplicationSource
from actors.db.replication_stream import ReplicationStream
from actors.realtime.change_ports import Gap
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Lsn, Position, Relation
from tests.support.replication import DURABLE, NOTES, NOW, Follower

SECRET = "what was in the row"


@pytest.fixture(autouse=True)
async def deadline():
    with trio.fail_after(60):
        yield


@frozen
class FailingCatalog(Catalog):
    """Cannot describe the table `poison`."""

    async def describe(self, relation: Relation):
        if relation.name == "poison":
            raise KeyError(SECRET)
        return await super().describe(relation)


@pytest.fixture
async def source(database):
    database.execute(*NOTES, "create table poison (id int primary key)")
    database.execute("alter publication supabase_realtime add table poison")
    pool = Pool(database.conninfo)
    yield ReplicationSource(database.conninfo, FailingCatalog(pool), lambda: NOW, slots=DURABLE)
    pool.close()


@pytest.mark.postgres
async def test_a_commit_that_cannot_be_read_is_left_out_at_the_third_time(source, database):
    follower = Follower(source)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(follower.run)
            database.execute(
                "insert into notes values (1)",
                "begin; insert into notes values (2); insert into poison values (1);"
                " insert into notes values (3); commit",
                "insert into notes values (4)",
                "insert into notes values (5)",
            )
            await follower.wait_for(5)
            nursery.cancel_scope.cancel()

    # What came before the row in its transaction could be read.
    assert follower.ids == [1, 2, 4, 5]
    assert len(follower.advice) == ATTEMPTS
    assert [gap.starts_over for gap in follower.gaps] == [False]
    failed = [line for line in logs if line["event"] == "commit.failed"]
    (skipped,) = [line for line in logs if line["event"] == "commit.skipped"]
    assert [line["attempt"] for line in failed] == [1, 2, 3]
    assert {line["lsn"] for line in failed} == {skipped["lsn"]}
    assert SECRET not in str(logs)


@pytest.mark.postgres
async def test_what_was_left_out_is_not_tried_again_after_the_next_break(source, database):
    follower = Follower(source)
    async with trio.open_nursery() as nursery:
        await nursery.start(follower.run)
        database.execute("insert into poison values (1)")
        await follower.wait_for_connects(ATTEMPTS + 1)
        database.execute(
            "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots"
            " where database = current_database() and active"
        )
        await follower.wait_for_connects(ATTEMPTS + 2)
        database.execute("insert into notes values (1)")
        await follower.wait_for(1)
        nursery.cancel_scope.cancel()

    assert len(follower.advice) == ATTEMPTS + 1


@define
class RecordedCopy:
    """A replication connection that has sent some messages and then nothing."""

    messages: list[bytes]

    def receive_nowait(self):
        return self.messages.pop(0) if self.messages else None

    async def wait_readable(self):
        await trio.sleep_forever()


def wal(payload: bytes) -> bytes:
    return b"w" + bytes(24) + payload


def begin(lsn: int, time_us: int = 0) -> bytes:
    return wal(b"B" + lsn.to_bytes(8, "big") + time_us.to_bytes(8, "big") + bytes(4))


def commit(lsn: int) -> bytes:
    lsns = lsn.to_bytes(8, "big") + (lsn + 8).to_bytes(8, "big")
    return wal(b"C" + b"\0" + lsns + bytes(8))


def stream_of(continuity: Continuity, *messages: bytes) -> ReplicationStream:
    catalog = Catalog(Pool(""))
    return ReplicationStream(
        RecordedCopy(list(messages)), catalog, continuity, lambda: NOW, 10.0
    )


@pytest.mark.parametrize(
    ("messages", "poisoned"),
    [
        # A message of no known kind inside a transaction.
        ([begin(100), commit(100), begin(200), wal(b"?")], 200),
        # A transaction whose time is no date.
        ([begin(100), commit(100), begin(300, 2**62)], 300),
        # A row of a table that was not described.
        ([begin(400), wal(b"I\0\0\0\1N\0\0")], 400),
    ],
)
async def test_the_transaction_of_a_message_that_cannot_be_read_is_left_out(
    messages, poisoned, autojump_clock
):
    continuity = Continuity()
    starts = []
    for _ in range(ATTEMPTS):
        with pytest.raises(DatabaseUnavailable, match="cannot be read"):
            await stream_of(continuity, *messages).receive()
        starts.append(continuity.start(None))

    assert starts == [0, 0, poisoned + 1]
    assert continuity.owed is not None


async def test_failures_at_different_places_are_not_added_up(autojump_clock):
    continuity = Continuity()
    for lsn in (100, 200) * ATTEMPTS:
        with pytest.raises(DatabaseUnavailable):
            await stream_of(continuity, begin(lsn), wal(b"?")).receive()

    assert continuity.start(None) == 0


async def test_what_belongs_to_no_transaction_and_cannot_be_read_costs_the_slot(autojump_clock):
    continuity = Continuity()
    needs = []
    for _ in range(ATTEMPTS):
        with pytest.raises(DatabaseUnavailable):
            await stream_of(continuity, b"?").receive()
        needs.append(continuity.needs_new_slot)

    assert needs == [False, False, True]
    assert continuity.owed is not None


# What is remembered.


async def test_a_log_that_ends_before_what_it_sent_is_another(autojump_clock):
    continuity = Continuity()
    system = System("7", 1)
    continuity.recognise(system, Lsn(500))
    continuity.note_confirmed(Lsn(600))
    continuity.recognise(system, Lsn(600))
    before = continuity.owed
    continuity.recognise(system, Lsn(599))

    assert before is None
    assert continuity.owed.starts_over
    assert continuity.resumable(Position(Lsn(550), 0)) == 0


async def test_another_timeline_is_another_system(autojump_clock):
    continuity = Continuity()
    continuity.recognise(System("7", 1), Lsn(500))
    continuity.recognise(System("7", 2), Lsn(900))

    assert continuity.owed.starts_over
    assert continuity.needs_new_slot


async def test_a_gap_that_starts_over_is_not_made_smaller(autojump_clock):
    continuity = Continuity()
    continuity.owe(Gap("another system", starts_over=True))
    continuity.owe(Gap("something less"))

    assert continuity.owed.starts_over
