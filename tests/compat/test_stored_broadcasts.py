"""Stock clients hear what the database broadcasts, and what was stored before they came."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from tests.compat.client import (
    KINDS,
    PHOENIX_JS,
    REALTIME_PY,
    SUPABASE_JS_V1,
    SUPABASE_JS_V2,
    running_client,
)
from tests.support.tokens import mint

EVERYTHING = {"since": 0}
TRIGGER = """
    create function public.tell_of_orders() returns trigger language plpgsql as $$
    begin
      perform realtime.broadcast_changes(
        'stored:' || coalesce(new.room, old.room), tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
      return null;
    end $$
"""


@pytest.fixture(scope="module", autouse=True)
def orders(server):
    server.execute(
        "create table public.orders (id int primary key, room text, total int)",
        TRIGGER,
        "create trigger tell after insert or update or delete on public.orders"
        " for each row execute function public.tell_of_orders()",
        "create policy stored_read on realtime.messages for select to authenticated"
        " using (realtime.topic() like 'stored:%')",
        "create policy stored_write on realtime.messages for insert to authenticated"
        " with check (realtime.topic() like 'stored:%')",
    )
    yield
    server.execute(
        "drop policy stored_read on realtime.messages",
        "drop policy stored_write on realtime.messages",
        "drop table public.orders cascade",
        "drop function public.tell_of_orders",
    )


@pytest.fixture(params=KINDS, ids=str)
def client(request, server):
    """A client of each kind, with a user's token."""
    with running_client(request.param, server.url, mint("authenticated")) as client:
        yield client


@pytest.fixture
def modern(server):
    with running_client(SUPABASE_JS_V2, server.url, mint("authenticated")) as client:
        yield client


def expect(client, topic, **fields):
    return client.heard.expect("broadcast", topic=topic, **fields)


def test_a_trigger_tells_of_inserts_updates_and_deletes(client, server, topic):
    name = f"stored:{topic}"
    client.join(name, private=True)
    row = {"id": int(topic.rpartition("-")[2]), "room": topic, "total": 1}

    server.execute(
        f"insert into public.orders values ({row['id']}, '{topic}', 1)",
        f"update public.orders set total = 2 where id = {row['id']}",
        f"delete from public.orders where id = {row['id']}",
    )

    images = {
        "INSERT": (row, None),
        "UPDATE": (row | {"total": 2}, row),
        "DELETE": (None, row | {"total": 2}),
    }
    for operation, (record, old_record) in images.items():
        heard = expect(client, name, name=operation)["payload"]
        UUID(heard.pop("id"))
        assert heard == {
            "schema": "public",
            "table": "orders",
            "operation": operation,
            "record": record,
            "old_record": old_record,
        }


@pytest.mark.parametrize("is_private", [True, False])
def test_what_sql_sends_reaches_channels_of_the_same_kind_with_its_row_id(
    client, server, topic, is_private
):
    name = f"stored:{topic}"
    client.join(name, private=is_private)
    send = "select realtime.send('{{\"n\": {}}}', 'e', '{}', {})"

    server.execute(send.format(1, name, not is_private), send.format(2, name, is_private))

    heard = expect(client, name)
    assert heard["payload"]["n"] == 2
    if client.kind != PHOENIX_JS:
        assert heard["meta"] == {"id": heard["payload"]["id"]}


def test_bytes_reach_who_can_carry_them(modern, server, topic, start_client):
    name = f"stored:{topic}"
    with running_client(SUPABASE_JS_V1, server.url, mint("authenticated")) as old:
        modern.join(name, private=True)
        old.join(name, private=True)

        server.execute(
            f"select realtime.send_binary('\\x00ff', 'bytes', '{name}')",
            f"select realtime.send('{{}}', 'after', '{name}')",
        )

        heard = expect(modern, name)
        assert (heard["name"], heard["binary"]) == ("bytes", "00ff")
        UUID(heard["meta"]["id"])
        assert expect(old, name)["name"] == "after"


@pytest.mark.capability("SB-185")
@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2, REALTIME_PY], ids=str)
def test_what_was_stored_is_replayed_at_the_join(server, topic, kind):
    name = f"stored:{topic}"
    server.execute(
        *(f"select realtime.send('{json.dumps({'n': n})}', 'e', '{name}')" for n in range(3))
    )

    with running_client(kind, server.url, mint("authenticated")) as client:
        client.join(name, private=True, replay={"since": 0, "limit": 2})
        server.execute(f"select realtime.send('{{\"n\": 3}}', 'e', '{name}')")

        heard = [expect(client, name) for _ in range(3)]
        assert [one["payload"]["n"] for one in heard] == [1, 2, 3]
        assert [one["meta"].get("replayed") for one in heard] == [True, True, None]


# supabase-js itself refuses to ask.
@pytest.mark.parametrize("kind", [REALTIME_PY, PHOENIX_JS], ids=str)
def test_a_public_channel_has_no_replay(start_client, topic, kind):
    client = start_client(kind)

    client.subscribe(topic, replay=EVERYTHING)

    status = client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")
    assert "Replay is not allowed for public channels" in status["error"]


def test_a_client_may_have_its_broadcast_stored(modern, server, topic):
    name = f"stored:{topic}"
    with running_client(SUPABASE_JS_V2, server.url, mint("authenticated")) as other:
        modern.join(name, private=True, ack=True)
        other.join(name, private=True)

        modern.send(name, "kept", {"n": 1}, persist={"ttl": 60})
        assert modern.heard.expect("sent", topic=name)["answer"] == "ok"
        assert modern.post(name, "posted", {"n": 2}, private=True, persist=True) is None

        live = [expect(other, name) for _ in range(2)]
        assert [one["payload"] for one in live] == [{"n": 1}, {"n": 2}]
        other.remove(name)
        other.heard.expect("removed", topic=name)
        other.join(name, private=True, replay=EVERYTHING)
        replayed = [expect(other, name) for _ in range(2)]
        assert [one["payload"] for one in replayed] == [{"n": 1}, {"n": 2}]
        assert [one["meta"]["id"] for one in replayed] == [one["meta"]["id"] for one in live]
        assert expect(modern, name)["name"] == "posted"


def test_what_cannot_be_stored_is_told(modern, topic):
    modern.join(f"stored:{topic}", private=True, ack=True)

    modern.send(f"stored:{topic}", "kept", {}, persist={"ttl": 0})

    answer = modern.heard.expect("sent", topic=f"stored:{topic}")["answer"]
    assert answer.startswith("persist.ttl is not a whole number of seconds")
