"""Row changes from a real Postgres to clients of a running node, as upstream's suite has them."""

from __future__ import annotations

import pytest

from tests.support.rows_client import SUBSCRIBED, rows_client
from tests.support.running_node import running_node

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.every_postgres]

VERSIONS = ["1.0.0", "2.0.0"]
SCHEMA = (
    "do $$ begin create role anon; exception when duplicate_object then null; end $$",
    "create table notes (id int primary key, body text, data bytea)",
    "alter table notes replica identity full",
    "create table later (id int primary key)",
    "create table secrets (id int primary key, body text)",
    "create table keyless (body text)",
    "grant select on notes, later, keyless to anon",
    "grant select (body) on secrets to anon",
    "create publication supabase_realtime for table notes, secrets, keyless",
)
NOTES = {"event": "*", "schema": "public", "table": "notes"}
UNABLE = "Unable to subscribe to changes with given parameters."


@pytest.fixture
def tables(database):
    database.execute(*SCHEMA)
    yield database
    database.execute("drop owned by anon")


@pytest.fixture
async def node(tables, nursery):
    async with running_node(tables.conninfo) as node:
        yield node


@pytest.mark.parametrize("version", VERSIONS)
async def test_insert_update_and_delete_arrive_with_their_ids(tables, node, version):
    async with rows_client(node.port, version) as client:
        ids = await client.subscribed(
            "room",
            *({**NOTES, "event": event} for event in ("*", "INSERT", "UPDATE", "DELETE")),
        )
        tables.execute(
            "insert into notes values (1, 'a', '\\x0102ff')",
            "update notes set body = 'b' where id = 1",
            "delete from notes where id = 1",
        )
        insert, update, delete = [await client.change() for _ in range(3)]

    assert set(insert["ids"]) == {ids[0], ids[1]}
    assert set(update["ids"]) == {ids[0], ids[2]}
    assert set(delete["ids"]) == {ids[0], ids[3]}
    assert insert["data"]["type"] == "INSERT"
    assert insert["data"]["record"] == {"id": 1, "body": "a", "data": "0102ff"}
    assert insert["data"]["columns"] == [
        {"name": "id", "type": "int4"},
        {"name": "body", "type": "text"},
        {"name": "data", "type": "bytea"},
    ]
    assert (insert["data"]["schema"], insert["data"]["table"]) == ("public", "notes")
    assert insert["data"]["errors"] is None
    assert update["data"]["record"]["body"] == "b"
    assert update["data"]["old_record"]["body"] == "a"
    assert "record" not in delete["data"]
    assert delete["data"]["old_record"]["id"] == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_select_narrows_every_kind_of_change_and_keeps_the_key(tables, node, version):
    async with rows_client(node.port, version) as client:
        await client.subscribed("room", {**NOTES, "select": ["body"]})
        await client.subscribed("filtered", {**NOTES, "select": ["id"], "filter": "body=eq.a"})
        tables.execute(
            "insert into notes values (1, 'a', '\\x00')",
            "update notes set body = 'b' where id = 1",
            "delete from notes where id = 1",
        )
        insert, update, delete = [(await client.change("room"))["data"] for _ in range(3)]
        filtered = await client.change("filtered")

    assert insert["record"] == {"id": 1, "body": "a"}
    assert [column["name"] for column in insert["columns"]] == ["id", "body"]
    assert update["record"] == {"id": 1, "body": "b"}
    assert update["old_record"] == {"id": 1, "body": "a"}
    assert delete["old_record"] == {"id": 1, "body": "b"}
    assert filtered["data"]["record"] == {"id": 1}


async def test_entries_with_different_selections_get_frames_of_their_own(tables, node):
    async with rows_client(node.port) as client:
        ids = await client.subscribed(
            "room", {**NOTES, "select": ["body"]}, NOTES, {**NOTES, "event": "INSERT"}
        )
        tables.execute("insert into notes values (1, 'a')")
        frames = [await client.change() for _ in range(2)]

    found = {tuple(sorted(frame["ids"])): set(frame["data"]["record"]) for frame in frames}
    assert found == {
        (ids[0],): {"id", "body"},
        tuple(sorted(ids[1:])): {"id", "body", "data"},
    }


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_not_published_is_refused_in_upstreams_words(tables, node, version):
    async with rows_client(node.port, version) as client:
        told = await client.refused("room", {"event": "INSERT", "schema": "elsewhere"})
        both = await client.refused("both", NOTES, {"event": "*", "table": "later"})
        none = await client.join("nil", None)
        reply = await client.next("phx_reply", "nil")
        tables.execute("insert into notes values (1)")
        await client.subscribed("witness", NOTES)
        tables.execute("insert into notes values (2)")
        heard = await client.change()

    assert told == (
        f"{UNABLE} Please check Realtime is enabled for the given connect parameters:"
        " [event: INSERT, schema: elsewhere, table: *, filters: [], select: nil]"
    )
    assert both == (
        f"{UNABLE} Please check Realtime is enabled for the given connect parameters:"
        " [event: *, schema: public, table: later, filters: [], select: nil]"
    )
    assert none
    assert reply["response"] == {"postgres_changes": []}
    # Of the refused join no entry counts, also not the one that could have been granted.
    assert heard["data"]["record"]["id"] == 2


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        (
            {**NOTES, "filter": "notacolumn=eq.1"},
            (
                "An exception happened so please check your connect parameters: [event: *,"
                ' schema: public, table: notes, filters: [{"notacolumn", "eq", "1", false}],'
                " select: nil]. Exception: ERROR P0001 (raise_exception)"
                " invalid column for filter notacolumn"
            ),
        ),
        (
            {**NOTES, "filter": "id=eq.abc"},
            (
                "Exception: ERROR 22P02 (invalid_text_representation)"
                ' invalid input syntax for type integer: "abc"'
            ),
        ),
        (
            {**NOTES, "select": ["nothing"]},
            (
                'select: ["nothing"]]. Exception: ERROR P0001 (raise_exception)'
                " invalid column for select nothing"
            ),
        ),
        (
            {"event": "*", "schema": "public", "select": ["id"]},
            (
                "Column selection is not supported for wildcard subscriptions."
                " Provide an explicit schema and table name."
            ),
        ),
        ({**NOTES, "filter": "id"}, 'Error parsing `filter` params: ["id"]'),
        ({"event": "*"}, 'subscribe to: %{"event" => "*"}'),
        ({**NOTES, "select": "id"}, "Error parsing `select` params: expected a list"),
        ({**NOTES, "filter": "data=like.a"}, "Exception: ERROR"),
    ],
)
async def test_an_entry_that_makes_no_sense_is_refused_and_can_be_joined_again(
    tables, node, binding, said
):
    async with rows_client(node.port) as client:
        if "like" not in str(binding):
            told = await client.refused("room", binding)
            assert said in told
        await client.subscribed("room2", NOTES)
        tables.execute("insert into notes values (1)")
        assert (await client.change("room2"))["data"]["record"]["id"] == 1


async def test_a_role_that_does_not_exist_is_refused(tables, node):
    async with rows_client(node.port, role="nobody") as client:
        told = await client.refused("room", NOTES)

    assert told.endswith(
        'Exception: ERROR 42704 (undefined_object) role "nobody" does not exist'
    )


async def test_who_waits_for_the_outcome_is_refused_the_join(tables, node):
    wait = {"postgres_changes_options": {"wait": True, "timeout": 5000}}
    async with rows_client(node.port) as client:
        await client.join("room", {**NOTES, "table": "nowhere"}, **wait)
        refusal = await client.next("phx_reply", "room")
        await client.subscribed("other", NOTES, **wait)

    assert refusal["status"] == "error"
    assert refusal["response"]["reason"].startswith(
        f"UnableToSubscribeToPostgres: {UNABLE} Please check Realtime is enabled"
    )


async def test_a_table_published_later_is_heard_without_a_rejoin(tables, node):
    async with rows_client(node.port) as client:
        await client.refused("room", {"event": "*", "table": "later"})
        await client.subscribed("all", {"event": "*", "schema": "public"})
        tables.execute(
            "alter publication supabase_realtime add table later",
            "insert into later values (1)",
        )
        assert (await client.change("all"))["data"]["record"] == {"id": 1}

        system = await client.next("system", "room")
        assert (system["status"], system["message"]) == ("ok", SUBSCRIBED)
        tables.execute("insert into later values (2)")
        heard = await client.change("room")
        while heard["data"]["record"]["id"] == 1:
            heard = await client.change("room")
        assert heard["data"]["record"] == {"id": 2}

        tables.execute("alter publication supabase_realtime drop table later")
        system = await client.next("system", "room")
        assert system["status"] == "error"
        assert "Please check Realtime is enabled" in system["message"]


async def test_names_with_wildcards_match_like_like(tables, node):
    tables.execute(
        "create table my_table (id int primary key)",
        "create table myxtable (id int primary key)",
        "grant select on my_table, myxtable to anon",
        "alter publication supabase_realtime add table my_table, myxtable",
    )
    async with rows_client(node.port) as client:
        await client.subscribed("exact", {"table": "myxtable"})
        await client.subscribed("wild", {"table": "my_table", "schema": "publi%"})
        tables.execute("insert into myxtable values (1)", "insert into my_table values (2)")

        assert (await client.change("exact"))["data"]["record"]["id"] == 1
        assert [(await client.change("wild"))["data"]["table"] for _ in range(2)] == [
            "myxtable",
            "my_table",
        ]


async def test_errors_go_to_everybody_whatever_the_filter(tables, node):
    async with rows_client(node.port) as client:
        await client.subscribed(
            "secrets", {"table": "secrets", "schema": "public", "filter": "body=eq.x"}
        )
        await client.subscribed(
            "keyless", {"table": "keyless", "schema": "public", "filter": "body=eq.x"}
        )
        tables.execute(
            "insert into secrets values (1, 'y')", "insert into keyless values ('y')"
        )

        secret = await client.change("secrets")
        keyless = await client.change("keyless")

    assert secret["data"]["errors"] == ["Error 401: Unauthorized"]
    assert secret["data"]["record"] == {}
    assert keyless["data"]["errors"] == ["Error 400: Bad Request, no primary key"]


@pytest.mark.capability("M5-061")
async def test_who_may_not_read_a_table_is_told_that_in_place_of_every_change(tables, node):
    tables.execute("alter table notes replica identity full", "revoke all on notes from anon")
    async with rows_client(node.port) as client:
        await client.subscribed("room", NOTES)
        tables.execute(
            "insert into notes values (1, 'secret')",
            "update notes set body = 'more secret'",
            "delete from notes",
        )
        changes = [(await client.change())["data"] for _ in range(3)]

    for change in changes:
        assert change["errors"] == ["Error 401: Unauthorized"]
        assert change["columns"] == []
        assert not change.get("record")
        assert not change.get("old_record")


@pytest.mark.capability("M5-077")
async def test_a_table_that_is_not_published_is_refused_like_one_that_is_not_there(
    tables, node
):
    tables.execute("revoke all on later from anon")
    async with rows_client(node.port) as client:
        there = await client.refused("there", {"event": "*", "table": "later"})
        nowhere = await client.refused("nowhere", {"event": "*", "table": "never"})

    assert there == nowhere.replace("never", "later")


async def test_a_column_that_gets_another_type_is_filtered_by_it_from_then_on(tables, node):
    async with rows_client(node.port) as client:
        await client.subscribed("room", {**NOTES, "filter": "id=eq.07"})
        tables.execute(
            "insert into notes (id, body) values (7, 'a'), (8, 'a')",
            "alter table notes alter column id type text",
            "insert into notes (id, body) values ('07', 'b'), ('8x', 'b')",
        )
        heard = [(await client.change())["data"]["record"]["id"] for _ in range(2)]
        tables.execute("alter table notes drop column id cascade")
        tables.execute("insert into notes (body) values ('c')")
        system = await client.next("system", "room")

    assert heard == [7, "07"]
    assert system["status"] == "error"
    assert "invalid column for filter id" in system["message"]


async def test_a_filter_that_raises_for_a_row_is_told_alone(tables, node):
    async with rows_client(node.port) as client:
        await client.subscribed("room", {**NOTES, "filter": "body=match.^a"})
        await client.subscribed("other", NOTES)
        tables.execute("insert into notes (id, body) values (1, 'abc'), (2, 'xyz')")

        assert (await client.change("room"))["data"]["record"]["id"] == 1
        assert [(await client.change("other"))["data"]["record"]["id"] for _ in range(2)] == [
            1,
            2,
        ]
