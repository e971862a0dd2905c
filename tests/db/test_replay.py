"""Which stored broadcasts the database hands out for a replay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from actors.db.driver import connect
from actors.db.janitor import KEPT
from actors.db.partitions import keep_partitions
from actors.db.pool import Pool
from actors.db.replay import PostgresReplay
from actors.db.schema import migrate
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.stored_ports import ReplayQuestion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.postgres import Database

pytestmark = pytest.mark.postgres

MANY = 1_000_000
SEND = "select realtime.send(jsonb_build_object('n', n), 'e', 'room') from generate_series({}, {}) n"


@pytest.fixture
async def migrated(database: Database) -> Database:
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
        await keep_partitions(connection, KEPT)
    return database


@pytest.fixture
async def replays(migrated: Database) -> AsyncIterator[PostgresReplay]:
    pool = Pool(migrated.conninfo)
    yield PostgresReplay(pool)
    pool.close()


def question(topic="room", since_ms=0, limit=25, size_bytes=MANY) -> ReplayQuestion:
    return ReplayQuestion(topic, since_ms, limit, size_bytes)


def numbers(stored) -> list[int]:
    return [json.loads(one.message.payload)["n"] for one in stored]


async def test_the_newest_come_oldest_first_in_the_order_in_which_they_were_sent(
    migrated, replays
):
    migrated.execute(SEND.format(1, 20), SEND.format(21, 40))

    assert numbers(await replays.newest(question())) == list(range(16, 41))
    assert numbers(await replays.newest(question(limit=3))) == [38, 39, 40]


async def test_rows_of_several_days_come_in_order(migrated, replays):
    migrated.execute(
        *(
            "insert into realtime.messages (topic, extension, payload, event, private, inserted_at)"
            f" values ('room', 'broadcast', '{{\"n\": {n}}}', 'e', true,"
            f" timezone('utc', now()) - interval '{hours} hours')"
            for n, hours in ((2, 1), (1, 23), (3, 0))
        )
    )

    assert numbers(await replays.newest(question())) == [1, 2, 3]


async def test_only_private_broadcasts_of_the_topic_that_are_due_are_replayed(
    migrated, replays
):
    row = (
        "insert into realtime.messages (topic, extension, payload, event, private, inserted_at)"
        " values ('{}', '{}', {}, {}, {}, timezone('utc', now()) + interval '{} minutes')"
    )
    one = """'{"n": 1}'"""
    migrated.execute(
        row.format("elsewhere", "broadcast", one, "'e'", "true", 0),
        row.format("room", "presence", one, "'e'", "true", 0),
        row.format("room", "broadcast", one, "'e'", "false", 0),
        row.format("room", "broadcast", one, "'e'", "true", 2),
        row.format("room", "broadcast", "null", "'e'", "true", 0),
        row.format("room", "broadcast", one, "null", "true", 0),
    )

    assert list(await replays.newest(question())) == []


async def test_rows_from_before_since_are_not_replayed(migrated, replays):
    migrated.execute(SEND.format(1, 1))
    async with await connect(migrated.conninfo) as connection:
        cursor = await connection.execute(
            "select (extract(epoch from inserted_at at time zone 'utc') * 1000)::float8"
            " from realtime.messages"
        )
        ((stored_ms,),) = await cursor.fetchall()

    assert numbers(await replays.newest(question(since_ms=int(stored_ms)))) == [1]
    assert list(await replays.newest(question(since_ms=int(stored_ms) + 1))) == []
    assert list(await replays.newest(question(since_ms=253_402_300_799_999))) == []


async def test_bytes_and_ids_are_those_of_the_row(migrated, replays):
    migrated.execute("select realtime.send_binary('\\x00ff', 'e', 'room')")

    (stored,) = await replays.newest(question())

    assert stored.message.payload == b"\x00\xff"
    assert stored.message.is_binary
    assert json.loads(stored.message.metadata) == {"replayed": True, "id": stored.id}


async def test_a_replay_has_a_size_and_the_newest_whatever_its_own(migrated, replays):
    migrated.execute(
        "select realtime.send(jsonb_build_object('n', n, 'x', repeat('x', 100)), 'e', 'room')"
        " from generate_series(1, 10) n"
    )

    (one,) = await replays.newest(question(limit=1))
    size_bytes = len(one.message.payload)

    assert numbers(await replays.newest(question(size_bytes=3 * size_bytes))) == [8, 9, 10]
    assert numbers(await replays.newest(question(size_bytes=1))) == [10]


async def test_a_topic_is_a_value_and_no_part_of_the_query(migrated, replays):
    assert list(await replays.newest(question("'; drop table realtime.messages; --"))) == []
    assert list(await replays.newest(question("%s %(topic)s"))) == []


async def test_without_the_table_the_answer_is_that_it_cannot_be_read(database):
    pool = Pool(database.conninfo)

    with pytest.raises(DatabaseUnavailable):
        await PostgresReplay(pool).newest(question())

    pool.close()


@pytest.mark.parametrize("topic", ["a\0b", "\ud800"])
async def test_a_topic_that_postgres_cannot_take_is_refused(replays, topic):
    with pytest.raises(DatabaseUnavailable):
        await replays.newest(question(topic))
