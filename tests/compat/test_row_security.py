"""Stock clients hear of the rows that they may read, and are told why of those they may not."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from actors.db.row_faults import ERROR_FAILED
from tests.compat.client import KINDS, REALTIME_PY, SUPABASE_JS_V2, running_client
from tests.support.tokens import mint

ALICE = "00000000-0000-0000-0000-00000000000a"
BOB = "00000000-0000-0000-0000-00000000000b"
OWN = "((current_setting('request.jwt.claims', true)::json ->> 'sub')::uuid = owner)"


@pytest.fixture
def open_as(server):
    """Start a client of a kind, with the token of a user."""
    with ExitStack() as stack:
        yield lambda kind, sub: stack.enter_context(
            running_client(kind, server.url, mint("authenticated", sub=sub))
        )


@pytest.fixture
def make_table(server, numbers):
    """Make a published table that users may read, and return its name."""
    made = []

    def make(policy: str | None, grant: str = "select") -> str:
        table = f"owned_{next(numbers)}"
        made.append(table)
        server.execute(
            f"create table {table} (id int primary key, owner uuid, body text)",
            f"revoke all on {table} from authenticated",
            f"grant {grant} on {table} to authenticated",
            *(
                [
                    f"alter table {table} enable row level security",
                    f"create policy p on {table} using ({policy})",
                ]
                if policy
                else []
            ),
            f"alter publication supabase_realtime add table {table}",
        )
        return table

    yield make
    server.execute(*(f"drop table {table}" for table in made))


def following(table: str) -> list[dict[str, str]]:
    return [{"event": "*", "schema": "public", "table": table}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_users_hear_of_their_own_rows(server, topic, open_as, make_table, kind):
    table = make_table(OWN)
    users = {sub: open_as(kind, sub) for sub in (ALICE, BOB)}
    for client in users.values():
        client.join(topic, changes=following(table))

    # A row is judged as it is when its change is looked at, so each write is heard of before the next.
    server.execute(f"insert into {table} values (1, '{ALICE}', 'hers'), (2, '{BOB}', 'his')")
    inserts = [client.heard.expect("change", topic=topic) for client in users.values()]
    server.execute(f"update {table} set body = 'still ' || body")
    updates = [client.heard.expect("change", topic=topic) for client in users.values()]
    server.execute(f"delete from {table}")
    deletes = [
        client.heard.expect("change", topic=topic)["old"]
        for client in users.values()
        for _ in range(2)
    ]

    assert [insert["new"]["id"] for insert in inserts] == [1, 2]
    assert [update["new"]["body"] for update in updates] == ["still hers", "still his"]
    assert deletes == [{"id": 1}, {"id": 2}] * 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_who_may_not_read_the_key_is_told_so(server, topic, open_as, make_table, kind):
    table = make_table(None, grant="select (body)")
    client = open_as(kind, ALICE)
    client.join(topic, changes=following(table))

    server.execute(f"insert into {table} values (1, null, 'secret')")

    change = client.heard.expect("change", topic=topic)
    assert change["errors"] == ["Error 401: Unauthorized"]
    assert (change["type"], change["new"], change["old"]) == ("INSERT", {}, {})


@pytest.mark.parametrize("kind", [SUPABASE_JS_V2, REALTIME_PY], ids=str)
def test_claims_that_a_policy_fails_for_harm_their_owner_alone(
    server, topic, open_as, make_table, kind
):
    table = make_table(OWN)
    spoilt, client = open_as(kind, "null"), open_as(kind, ALICE)
    for one in (spoilt, client):
        one.join(topic, changes=following(table))

    server.execute(f"insert into {table} values (1, '{ALICE}', 'hers')")

    assert client.heard.expect("change", topic=topic)["new"]["body"] == "hers"
    failed = spoilt.heard.expect("change", topic=topic)
    assert (failed["new"], failed["errors"]) == ({}, [ERROR_FAILED])


def test_a_slow_policy_delays_no_other_channel(server, topic, open_as, make_table):
    slow, quick = make_table("pg_sleep(60) is null"), make_table(OWN)
    client = open_as(SUPABASE_JS_V2, ALICE)
    client.join(f"{topic}-slow", changes=following(slow))
    client.join(topic, changes=following(quick))

    server.execute(
        f"insert into {slow} values (1, null, '')",
        f"insert into {quick} values (1, '{ALICE}', '')",
    )

    client.heard.expect("change", topic=topic)
    # The answer of the slow one comes after the time limit, and had not come yet.
    assert client.heard.passed_over("change", topic=f"{topic}-slow") == []
    assert client.heard.expect("change", topic=f"{topic}-slow")["errors"]
