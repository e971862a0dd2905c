"""The trigger functions of other servers' SQL: what they tell, to whom, and that they fail no write."""

from __future__ import annotations

import json
import time

import psycopg
import pytest

from actors.db.driver import connect
from actors.db.functions import CHANNELS
from actors.db.schema import migrate
from tests.support.embedded import query

pytestmark = pytest.mark.postgres

MOST_BYTES = 7999


@pytest.fixture
async def ready(database):
    """A database with everything that is installed, and a table without triggers."""
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
    database.execute("create table products (id int primary key, name text, price numeric)")
    return database


def attach(database, function="notify_table_changes", table="products", arguments=""):
    """Make the trigger as the documents do, with the words they use."""
    database.execute(
        f"create trigger {table}_changes_trigger after insert or update or delete on {table}"
        f" for each row execute function {function}({arguments})"
    )


def heard(database, *statements, role=None):
    """Run statements in one transaction; return what is told on which channel."""
    with psycopg.connect(database.conninfo, autocommit=True) as listening:
        for channel in sorted(set(CHANNELS.values())):
            listening.execute(f"listen {channel}")
        with psycopg.connect(database.conninfo) as writing:
            if role is not None:
                writing.execute(f"set role {role}")
            for statement in statements:
                writing.execute(statement)
            # Told in the order of the commits, so all the others come before this one.
            writing.execute("notify table_changes, 'the end'")
        found = []
        for notice in listening.notifies(timeout=30):
            if notice.payload == "the end":
                return found
            found.append((notice.channel, notice.payload))
    raise AssertionError(found)


@pytest.mark.capability("GF-075", "GF-076", "GF-077", "GF-079", "GF-080")
async def test_a_change_is_told_in_the_words_of_the_documents(ready):
    attach(ready)

    told = heard(
        ready,
        "insert into products values (1, 'it''s', 1.50)",
        "update products set name = null",
        "delete from products",
    )

    assert {channel for channel, _ in told} == {"table_changes"}
    payloads = [json.loads(payload) for _, payload in told]
    first = {"id": 1, "name": "it's", "price": 1.5}
    second = first | {"name": None}
    assert [
        (p["schema"], p["table"], p["event"], p["old_record"], p["new_record"])
        for p in payloads
    ] == [
        ("public", "products", "INSERT", None, first),
        ("public", "products", "UPDATE", first, second),
        ("public", "products", "DELETE", second, None),
    ]
    assert all(abs(p["timestamp"] - time.time()) < 600 for p in payloads)  # noqa: TID251


@pytest.mark.capability("FB-021", "FB-023", "FB-078")
@pytest.mark.parametrize("function", ["notify_table_change", "notify_realtime_change"])
async def test_the_other_dialect_hears_it_in_its_own_words(ready, function):
    attach(ready, function)

    ((channel, payload),) = heard(ready, "insert into products values (1)")

    assert channel == "fluxbase_changes"
    told = json.loads(payload)
    record = {"id": 1, "name": None, "price": None}
    assert (told["type"], told["record"], told["old_record"]) == ("INSERT", record, None)


@pytest.mark.capability("GF-078")
async def test_what_a_trigger_returns_lets_the_write_go_on(ready):
    ready.execute(
        "create trigger early before insert or update or delete on products"
        " for each row execute function notify_table_changes()"
    )

    ready.execute("insert into products values (1), (2)", "delete from products where id = 1")
    ready.execute("update products set name = 'new'")

    assert query(ready.conninfo, "select id, name from products") == [(2, "new")]


async def test_equal_changes_of_one_transaction_are_told_each(ready):
    ready.execute("create table keyless (name text)")
    attach(ready, table="keyless")

    told = heard(ready, *["insert into keyless values ('a')"] * 20)

    payloads = [json.loads(payload) for _, payload in told]
    assert [payload["number"] for payload in payloads] == list(range(1, 21))
    assert len({payload["transaction"] for payload in payloads}) == 1


async def test_what_was_rolled_back_to_a_savepoint_is_not_told(ready):
    attach(ready)

    told = heard(
        ready,
        "insert into products values (1)",
        "savepoint s",
        "insert into products values (2)",
        "rollback to s",
        "insert into products values (3)",
    )

    payloads = [json.loads(payload) for _, payload in told]
    assert [payload["new_record"]["id"] for payload in payloads] == [1, 3]


@pytest.mark.parametrize("size", [7000, 7600, 7700, 7900, 8000, 100_000])
async def test_a_row_of_any_size_is_told(ready, size):
    attach(ready)

    ((_, payload),) = heard(ready, f"insert into products values (7, repeat('x', {size}))")

    told = json.loads(payload)
    assert told.get("is_partial", False) is (size >= 7900)
    assert len(payload.encode()) <= MOST_BYTES
    assert told["new_record"]["id"] == 7


async def test_a_large_row_is_told_by_its_key_before_and_after(ready):
    ready.execute('create table "P q" (a int, big text, "B" text, primary key ("B", a))')
    ready.execute(
        'create trigger t after insert or update or delete on "P q"'
        " for each row execute function notify_table_changes()"
    )

    told = heard(
        ready,
        """insert into "P q" values (1, repeat('x', 9000), 'it''s')""",
        """update "P q" set a = 2""",
        """delete from "P q" """,
    )

    keys = [(json.loads(p)["old_record"], json.loads(p)["new_record"]) for _, p in told]
    one, two = {"B": "it's", "a": 1}, {"B": "it's", "a": 2}
    assert keys == [(None, one), (one, two), (two, None)]


async def test_a_large_row_without_a_key_is_told_without_one(ready):
    ready.execute("create table keyless (name text)")
    attach(ready, table="keyless")

    ((_, payload),) = heard(ready, "insert into keyless values (repeat('x', 9000))")

    told = json.loads(payload)
    assert told["is_partial"] is True
    assert told["new_record"] == {}


async def test_a_key_that_does_not_fit_fails_no_write(ready):
    ready.execute("create table wide (name text primary key)")
    attach(ready, table="wide")

    # A control character has six bytes in JSON.
    ((_, payload),) = heard(ready, "insert into wide values (repeat(chr(1), 2000))")

    assert json.loads(payload)["is_partial"] is True


async def test_a_trigger_with_an_argument_tells_keys_only(ready):
    attach(ready, arguments="'key'")

    ((_, payload),) = heard(ready, "insert into products values (7, 'secret')")

    assert json.loads(payload)["new_record"] == {"id": 7}
    assert "secret" not in payload


async def test_a_writer_needs_no_right_but_to_write(ready):
    role = f"writer_{ready.name}"
    attach(ready, "realtime.notify_table_change")
    ready.execute(f"create role {role}", f"grant insert on products to {role}")
    try:
        told = heard(ready, "insert into products values (1, repeat('x', 9000))", role=role)
    finally:
        ready.execute(f"drop owned by {role}", f"drop role {role}")

    assert len(told) == 1


async def test_settings_of_the_writer_do_not_change_how_values_are_written(ready):
    ready.execute(
        "create table moments (id int primary key, at timestamptz, took interval, data bytea,"
        " what regclass)"
    )
    attach(ready, table="moments")

    ((_, payload),) = heard(
        ready,
        "set timezone = 'Asia/Tokyo'",
        "set datestyle = 'German'",
        "set intervalstyle = 'iso_8601'",
        "set bytea_output = 'escape'",
        "set quote_all_identifiers = on",
        "insert into moments values (1, '2026-01-02 03:04:05+00', '1 day 02:00', 'a', 'moments')",
    )

    assert json.loads(payload)["new_record"] == {
        "id": 1,
        "at": "2026-01-02T03:04:05+00:00",
        "took": "1 day 02:00:00",
        "data": "\\x61",
        "what": "public.moments",
    }


async def test_a_search_path_of_the_writer_does_not_mislead(ready):
    ready.execute(
        "create schema evil",
        "create function evil.pg_notify(text, text) returns void language plpgsql"
        " as $$ begin raise 'misled'; end $$",
    )
    attach(ready)

    told = heard(
        ready, "set search_path = evil, pg_catalog, public", "insert into products values (1)"
    )

    assert len(told) == 1
