from __future__ import annotations

import pytest

from tests.support.row_security import ALICE, BOB, court, identity_of, prepare

pytestmark = pytest.mark.postgres

OWN = "create policy own on notes using (auth.uid() = user_id)"
ALL = {"id", "user_id", "body"}


@pytest.fixture
def notes(database):
    """A table under row security whose rows are for their owners."""
    prepare(database)
    database.execute(
        "create table notes (id int primary key, user_id uuid, body text)",
        "alter table notes enable row level security",
        "grant select on notes to anon, authenticated, service_role",
    )
    return database


def insert(number: int, owner: str) -> str:
    return f"insert into notes values ({number}, '{owner}', 'body {number}')"


async def test_a_row_is_shown_to_those_whose_policy_lets_them_read_it(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))

        assert await judge.seen([mine, other], identity_of("authenticated", ALICE)) == [mine]
        assert await judge.seen([mine, other], identity_of("authenticated", BOB)) == [other]
        assert await judge.seen([mine, other], identity_of("service_role")) == [mine, other]
        assert await judge.seen([mine, other], identity_of("authenticated")) == []
