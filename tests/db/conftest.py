"""Fixtures of the tests that ask who may see a row."""

from __future__ import annotations

import pytest

from tests.support.row_security import prepare


@pytest.fixture
def made_roles(database):
    """Make roles of the server that go with the test."""
    made = []

    def make(*definitions):
        for definition in definitions:
            database.execute(f"create role {definition}")
            made.insert(0, definition.split(" bypassrls")[0].split(" superuser")[0])
            made[0] = made[0].split(" login")[0].split(" noinherit")[0].split(" in role")[0]

    yield make
    for role in made:
        database.execute(f"drop owned by {role} cascade", f"drop role {role}")


@pytest.fixture
def notes(database):
    """A table under row security without any policy."""
    prepare(database)
    database.execute(
        "create table notes (id int primary key, user_id uuid, body text)",
        "alter table notes enable row level security",
        "grant select on notes to anon, authenticated, service_role",
    )
    return database
