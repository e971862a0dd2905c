"""Channels in Postgres: what every store does, who may look at the tables, and what happens without them."""

from __future__ import annotations

import pytest

from actors.db.channel_store import NO_TABLES, PostgresChannelStore
from actors.db.driver import connect
from actors.db.pool import Pool
from actors.db.schema import migrate
from actors.realtime.errors import DatabaseUnavailable
from tests.contracts.channel_store import CONTRACT, ROOM, SUBSCRIPTION
from tests.support.embedded import query

pytestmark = pytest.mark.postgres


class Stores:
    """Opens the store of one database as often as wanted."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self.pools: list[Pool] = []

    def open(self) -> PostgresChannelStore:
        self.pools.append(Pool(self.conninfo, 1))
        return PostgresChannelStore(self.pools[-1])


@pytest.fixture
async def stores(database):
    stores = Stores(database.conninfo)
    yield stores
    for pool in stores.pools:
        pool.close()


@pytest.fixture
async def store(database, stores):
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
    return stores.open()


@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
async def test_postgres_keeps_the_contract_of_a_channel_store(must, store, stores):
    await must(store, stores.open)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_nobody_but_this_server_may_look_at_channels(database, store, role):
    await store.add(ROOM)

    rows = query(
        database.conninfo,
        f"select has_table_privilege('{role}', name, 'select, insert, update, delete, truncate'), relrowsecurity"
        " from unnest(array['realtime.troupe_channels', 'realtime.troupe_subscriptions']) as name"
        " join pg_class on pg_class.oid = name::regclass",
    )

    assert rows == [(False, True), (False, True)]


async def test_without_the_tables_there_are_no_channels_and_none_is_kept(stores):
    store = stores.open()

    assert list(await store.load()) == []
    with pytest.raises(DatabaseUnavailable) as away:
        await store.add(ROOM)
    assert away.value.advice == NO_TABLES


async def test_a_row_that_somebody_else_wrote_is_left_out(database, store):
    await store.add(ROOM)
    await store.subscribe(ROOM, SUBSCRIPTION)
    database.execute(
        "insert into realtime.troupe_channels values ('odd', '{\"permissions\": 5}', true, '', 0)",
        "insert into realtime.troupe_subscriptions values ('odd', 'room', '[]', '', 0)",
    )

    (channel,) = await store.load()

    assert [one.id for one in channel.subscriptions] == ["sub_1"]


async def test_a_database_that_is_away_is_said_to_be():
    pool = Pool("host=127.0.0.1 port=1 dbname=none", 1, 1.0)

    with pytest.raises(DatabaseUnavailable):
        await PostgresChannelStore(pool).load()


async def test_a_database_that_does_not_answer_holds_nobody_up(database, store, stores):
    slow = PostgresChannelStore(stores.open()._pool, 0.2)
    async with await connect(database.conninfo) as other, other.transaction():
        await other.execute("lock table realtime.troupe_channels")

        for attempt in (slow.add(ROOM), slow.remove("room"), slow.load()):
            with pytest.raises(DatabaseUnavailable):
                await attempt

    assert await slow.add(ROOM)
