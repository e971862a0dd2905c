"""The statements of the page on databases without logical replication do what it says."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.contracts.change_source import receive
from tests.support.embedded import query
from tests.support.notify import install, notify_source
from tests.support.postgres import fresh_database, running_server
from tests.support.server import PROJECT

pytestmark = pytest.mark.postgres

PAGE = (PROJECT / "docs" / "howto" / "change-source-triggers.md").read_text("utf-8")
BLOCKS = [
    textwrap.dedent(text)
    for text in re.findall(r"^ *```sql\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
]


@pytest.fixture(scope="module")
def plain_server():
    """A server without logical replication."""
    with running_server(wal_level="replica") as server:
        yield server


@pytest.mark.capability("FB-024")
async def test_the_page_is_true(plain_server):
    enable, listed, keys_only, disable, grant = BLOCKS
    with fresh_database(plain_server, "page") as database:
        await install(database)
        database.execute("create table products (id int primary key, name text)")
        async with notify_source(database.conninfo) as source, source.connect(None) as stream:
            database.execute(enable)
            assert "products" in tables_of(database, listed)
            database.execute("insert into products values (1, 'a')")
            (told,) = await receive(stream, 1)
            database.execute(*keys_only.split(";\n")[:2])
            database.execute("insert into products values (2, 'b')")
            (fetched,) = await receive(stream, 1)
            database.execute(disable)
        database.execute("create role app_owner")
        database.execute(*grant.split(";\n")[:2])
        left = tables_of(database, listed)
        database.execute("drop owned by app_owner", "drop role app_owner")

    assert (told.new, fetched.new) == (("1", "a"), ("2", "b"))
    # Theirs tells of stored broadcasts.
    assert left == {"messages"}


def tables_of(database, statement):
    return {table for _schema, table, _trigger in query(database.conninfo, statement)}
