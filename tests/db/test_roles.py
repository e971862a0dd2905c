"""Which roles the database has, and for how long an answer counts."""

from __future__ import annotations

import pytest

from actors.db.driver import connect
from actors.db.pool import Pool
from actors.db.roles import KEPT_S, PostgresRoles
from actors.realtime.errors import Refused

pytestmark = pytest.mark.postgres


@pytest.fixture
async def pool(database):
    pool = Pool(database.conninfo)
    yield pool
    pool.close()


async def test_a_role_exists_or_does_not(database, pool):
    roles = PostgresRoles(pool)

    assert await roles.exists("pg_monitor") is True
    for name in ("no_such_role", "", 'a"b', "'; drop role x; --", "a\0b", "\ud800"):
        assert await roles.exists(name) is False


async def test_a_new_role_is_known_after_a_while(mock_clock, database, pool):
    roles = PostgresRoles(pool)
    database.execute("DROP ROLE IF EXISTS late_role")
    assert await roles.exists("late_role") is False
    database.execute("CREATE ROLE late_role")
    try:
        assert await roles.exists("late_role") is False
        mock_clock.jump(KEPT_S + 1)
        assert await roles.exists("late_role") is True
    finally:
        database.execute("DROP ROLE late_role")


async def test_while_the_database_is_away_what_was_known_counts(mock_clock, database, pool):
    roles = PostgresRoles(pool)
    assert await roles.exists("pg_monitor") is True
    pool.conninfo = "host=127.0.0.1 port=1 user=nobody"
    pool.close()
    mock_clock.jump(KEPT_S + 1)

    assert await roles.exists("pg_monitor") is True
    with pytest.raises(Refused):
        await roles.exists("somebody_else")


async def test_a_database_that_does_not_answer_holds_nobody_up(database, pool):
    roles = PostgresRoles(pool, 0.2)
    async with await connect(database.conninfo) as other, other.transaction():
        await other.execute("lock table pg_catalog.pg_authid")

        with pytest.raises(Refused):
            await roles.exists("pg_monitor")

    assert await roles.exists("pg_monitor")
