"""Messages have a partition for each day around today, and none that is older than they are kept."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo

from actors.db.driver import connect
from actors.db.partitions import keep_partitions, partition_day, partition_name
from actors.db.schema import migrate
from tests.support.embedded import query

if TYPE_CHECKING:
    from actors.db.partitions import Upkeep
    from tests.support.postgres import Database

pytestmark = pytest.mark.postgres

KEPT = timedelta(hours=72)
PRESENT = """
    select inhrelid::regclass::text from pg_inherits
    where inhparent = 'realtime.messages'::regclass order by 1
"""


def today_of(database: Database) -> date:
    ((today,),) = query(database.conninfo, "select (now() at time zone 'utc')::date")
    return today


def days(database: Database, first: int, last: int) -> list[str]:
    today = today_of(database)
    return [partition_name(today + timedelta(days=number)) for number in range(first, last + 1)]


async def keep(database: Database, retention: timedelta = KEPT) -> Upkeep:
    async with await connect(database.conninfo) as connection:
        return await keep_partitions(connection, retention)


@pytest.fixture
async def migrated(database):
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
    return database


async def test_there_is_one_from_yesterday_to_three_days_ahead(migrated):
    upkeep = await keep(migrated)

    assert upkeep.made == days(migrated, -1, 3)
    assert query(migrated.conninfo, PRESENT) == [
        (f"realtime.{name}",) for name in days(migrated, -1, 3)
    ]


async def test_a_message_of_today_finds_its_place(migrated):
    await keep(migrated)
    with psycopg.connect(migrated.conninfo, autocommit=True) as connection:
        connection.execute(
            "set timezone = 'Pacific/Kiritimati'"
        )  # where it may be tomorrow already
        connection.execute("select realtime.send('{}', 'e', 'room')")
        connection.execute("set timezone = 'Pacific/Pago_Pago'")
        connection.execute("select realtime.send('{}', 'e', 'room')")

    assert query(migrated.conninfo, "select count(*) from realtime.messages") == [(2,)]


async def test_the_second_time_nothing_is_done(migrated):
    await keep(migrated)

    upkeep = await keep(migrated)

    assert (upkeep.made, upkeep.dropped) == ([], [])


async def test_what_is_older_than_messages_are_kept_is_dropped(migrated):
    today = today_of(migrated)
    old = [today - timedelta(days=number) for number in (2, 3, 4, 5)]
    for day in old:
        query(
            migrated.conninfo,
            f"create table realtime.{partition_name(day)} partition of realtime.messages"
            f" for values from ('{day}') to ('{day + timedelta(days=1)}')",
        )

    upkeep = await keep(migrated)

    # 72 hours before any time of today are within the day three days ago.
    assert upkeep.dropped == [partition_name(day) for day in reversed(old[2:])]


async def test_one_that_has_more_than_its_name_says_is_not_dropped(migrated):
    today = today_of(migrated)
    old, younger = partition_name(today - timedelta(days=9)), today - timedelta(days=2)
    migrated.execute(
        f"create table realtime.{old} partition of realtime.messages"
        f" for values from ('{today - timedelta(days=9)}') to ('{younger}')",
        "create table realtime.messages_2020_01_01 partition of realtime.messages default",
    )

    assert (await keep(migrated)).dropped == []
    assert (await keep(migrated, timedelta(hours=24))).dropped == [old]


async def test_a_day_that_cannot_be_made_or_dropped_keeps_no_other_from_it(migrated):
    today = today_of(migrated)
    ancient, older = (partition_name(today - timedelta(days=number)) for number in (8, 9))
    migrated.execute(
        f"create table realtime.elsewhere partition of realtime.messages"
        f" for values from ('{today}') to ('{today + timedelta(days=1)}')",
        f"create table realtime.{partition_name(today + timedelta(days=1))} (precious int)",
        *(
            f"create table realtime.{partition_name(day)} partition of realtime.messages"
            f" for values from ('{day}') to ('{day + timedelta(days=1)}')"
            for day in (today - timedelta(days=number) for number in (8, 9))
        ),
        f"create view kept as select * from realtime.{older}",
    )

    upkeep = await keep(migrated)

    (yesterday,), later = days(migrated, -1, -1), days(migrated, 2, 3)
    assert upkeep.made == [yesterday, *later]
    assert upkeep.dropped == [ancient]
    assert [sentence.split(":")[0] for sentence in upkeep.left_out] == [
        *days(migrated, 0, 1),
        older,
    ]


async def test_partitions_that_are_not_a_day_s_are_left_alone(migrated):
    await keep(migrated)
    query(
        migrated.conninfo,
        "create table realtime.ancient partition of realtime.messages"
        " for values from ('1990-01-01') to ('1990-01-02')",
    )

    assert (await keep(migrated)).dropped == []


async def test_a_table_that_is_no_partition_is_left_alone_whatever_its_name(migrated):
    await keep(migrated)
    migrated.execute(
        "create schema archive",
        "create table archive.messages_2020_01_01 partition of realtime.messages"
        " for values from ('2020-01-01') to ('2020-01-02')",
        "create table realtime.messages_2020_01_01 (precious int)",
    )

    assert (await keep(migrated)).dropped == []


async def test_who_names_a_partition_does_not_pass_by_the_policies(migrated):
    await keep(migrated)
    query(migrated.conninfo, "select realtime.send('{}', 'e', 'room')")
    (partition,) = days(migrated, 0, 0)

    query(migrated.conninfo, f"grant select on realtime.{partition} to anon")
    with psycopg.connect(migrated.conninfo, autocommit=True) as connection:
        connection.execute("set role anon")
        found = connection.execute(f"select * from realtime.{partition}").fetchall()

    assert found == []


async def test_without_the_table_nothing_is_done(database):
    upkeep = await keep(database)

    assert (upkeep.made, upkeep.dropped) == ([], [])


async def test_a_table_of_another_role_is_left_to_it(migrated):
    name = f"stranger_{migrated.name}"
    query(migrated.conninfo, f"create role {name} login")
    try:
        async with await connect(make_conninfo(migrated.conninfo, user=name)) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await keep_partitions(connection, KEPT)
    finally:
        query(migrated.conninfo, f"drop role {name}")


@pytest.mark.parametrize("name", ["messages_2026_02_30", "messages_2026_2_3", "messages", ""])
def test_a_name_that_is_no_day_is_none(name):
    assert partition_day(name) is None


def test_a_day_is_read_from_the_name_it_gave():
    assert partition_day(partition_name(date(2026, 11, 21))) == date(2026, 11, 21)


async def test_a_partition_without_an_end_is_kept(migrated):
    migrated.execute(
        "create table realtime.messages_2030_01_01 partition of realtime.messages"
        " for values from ('2030-01-01') to ('infinity')"
    )

    assert (await keep(migrated, timedelta(0))).left_out == []
    assert ("realtime.messages_2030_01_01",) in query(migrated.conninfo, PRESENT)


async def test_nobody_waits_for_long_behind_the_making_of_partitions(migrated):
    with psycopg.connect(migrated.conninfo) as backup:
        backup.execute("select from realtime.messages")
        with trio.fail_after(10), pytest.raises(psycopg.errors.LockNotAvailable):
            await keep(migrated)

    assert (await keep(migrated)).made == days(migrated, -1, 3)


async def test_an_old_partition_that_is_read_keeps_none_from_being_made(migrated):
    migrated.execute(
        "create table realtime.messages_2020_01_01 partition of realtime.messages"
        " for values from ('2020-01-01') to ('2020-01-02')"
    )
    with psycopg.connect(migrated.conninfo) as backup:
        backup.execute("select from realtime.messages_2020_01_01")
        with trio.fail_after(10):
            upkeep = await keep(migrated)
        assert upkeep.made == days(migrated, -1, 3)
        assert [name.split(":")[0] for name in upkeep.left_out] == ["messages_2020_01_01"]

    assert (await keep(migrated)).dropped == ["messages_2020_01_01"]
