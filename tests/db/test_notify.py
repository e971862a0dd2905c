"""The change source over triggers and NOTIFY, against a real server."""

from __future__ import annotations

import pytest

from tests.contracts.change_source import CONTRACT
from tests.support.notify import NotifyHarness, install, notify_source

pytestmark = pytest.mark.postgres


@pytest.fixture
async def notes(database):
    """A database with everything that is installed, and a published table."""
    await install(database)
    database.execute(
        "create table notes (id int primary key, body text)",
        "alter publication supabase_realtime add table notes",
    )
    return database


@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
async def test_the_notify_source_keeps_the_contract_of_a_change_source(must, notes):
    async with notify_source(notes.conninfo) as source:
        await must(NotifyHarness(source, notes))
