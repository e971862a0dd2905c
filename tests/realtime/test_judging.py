"""Which rows a filter lets through, and what becomes of one that goes wrong."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Absent, Kind
from tests.support.changes import INT4, TEXT, make_table
from tests.support.memory_database import MemoryDatabase
from tests.support.memory_tenant import open_stage
from tests.support.source import NOTES, MemorySource

ALL_NOTES = {"event": "*", "schema": "public", "table": "notes"}
SUBSCRIBED = ("ok", "Subscribed to PostgreSQL")


def filtered(text, **members):
    return {**ALL_NOTES, "filter": text, **members}


def changes(messages):
    return [m.payload["data"] for m in messages if m.event == "postgres_changes"]


def ids_of(messages):
    return [change["record"]["id"] for change in changes(messages)]


def notices(messages):
    return [
        (m.payload["status"], m.payload["message"]) for m in messages if m.event == "system"
    ]


@pytest.mark.capability("SB-114", "M5-023")
async def test_updates_are_judged_by_the_new_row_and_deletes_by_the_old(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("body=eq.in")])

        source.write(
            (Kind.UPDATE, ("1", "in"), ("1", "out")),
            (Kind.UPDATE, ("2", "out"), ("2", "in")),
            (Kind.UPDATE, ("3", Absent.UNCHANGED), ("3", "in")),
            (Kind.DELETE, None, ("4", "in")),
            (Kind.DELETE, None, ("5", Absent.NOT_LOGGED)),
        )

        heard = changes(await client.received())
        assert [(data["type"], data["old_record"]["id"]) for data in heard] == [
            ("UPDATE", 1),
            ("DELETE", 4),
        ]


@pytest.mark.capability("M5-018", "M5-051")
async def test_a_topic_may_be_named_like_the_table_it_is_for(autojump_clock):
    source = MemorySource()
    topic = "realtime:public:notes"
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(topic, postgres_changes=[filtered("id=eq.123", event="INSERT")])

        source.insert((122, "a"), (123, "b"))
        source.write((Kind.UPDATE, ("123", "c"), None))

        (change,) = await client.received()
        assert change.topic == topic
        assert change.payload["data"]["record"] == {"id": 123, "body": "b"}


async def test_one_frame_names_the_entries_whose_filter_matches(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        texts = ["id=eq.1", "id=gt.0", "id=eq.2", "body=eq.a,id=lt.5"]
        client.join(postgres_changes=[filtered(text) for text in texts])
        reply = (await client.received())[0]
        ids = [entry["id"] for entry in reply.response["postgres_changes"]]

        source.insert((1, "a"))

        (change,) = await client.received()
        assert set(change.payload["ids"]) == {ids[0], ids[1], ids[3]}


async def test_entries_with_other_columns_get_a_frame_of_their_own(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("id=eq.1", select=["id"]), ALL_NOTES])

        source.insert((1, "a"))

        records = [data["record"] for data in changes(await client.received())]
        assert sorted(records, key=len) == [{"id": 1}, {"id": 1, "body": "a"}]


async def test_what_only_postgres_can_judge_is_asked_in_one_batch_and_once_each(
    autojump_clock,
):
    source = MemorySource()
    database = MemoryDatabase(judged_elsewhere={"body"})
    async with open_stage(source=source, database=database) as stage:
        clients = [stage.connect() for _ in range(50)]
        for client in clients:
            await client.joined(
                postgres_changes=[filtered("body=like.a%"), filtered("body=eq.b")]
            )

        source.insert((1, "ab"), (2, "b"), (3, "c"))

        assert [ids_of(await client.received()) for client in clients] == [[1, 2]] * 50
        assert database.judged == [6]


async def test_who_is_not_let_through_is_not_asked_about(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("id=gt.2")])

        source.insert((1, "a"), (2, "b"))
        await client.received()

        assert stage.visibility.asked == []


async def test_a_filter_that_fails_for_a_row_is_told_once_and_to_nobody_else(autojump_clock):
    source = MemorySource()
    database = MemoryDatabase(judged_elsewhere={"body"})
    async with open_stage(source=source, database=database) as stage:
        client, other = stage.connect(), stage.connect()
        await client.joined(postgres_changes=[filtered("body=like.%")])
        await other.joined(postgres_changes=[ALL_NOTES])

        source.insert((1, "fault"), (2, "a"))
        source.insert((3, "fault"), (4, "a"))

        messages = await client.received()
        ((status, message),) = notices(messages)
        assert status == "error"
        assert message.endswith("Exception: ERROR 22012 (division_by_zero) division by zero")
        assert ids_of(messages) == [2, 4]
        messages = await other.received()
        assert notices(messages) == []
        assert ids_of(messages) == [1, 2, 3, 4]


async def test_a_database_that_is_away_while_a_row_is_judged_loses_nothing(autojump_clock):
    source = MemorySource()
    database = MemoryDatabase(judged_elsewhere={"body"})
    async with open_stage(source=source, database=database) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("body=like.a%")])
        database.errors = [DatabaseUnavailable("away")] * 3

        source.insert((1, "a"), (2, "b"))
        await trio.sleep(60)

        assert ids_of(await client.received()) == [1]


async def test_a_column_of_another_type_is_judged_by_that_from_then_on(autojump_clock):
    source = MemorySource()
    retyped = make_table({"id": TEXT, "body": TEXT})
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("id=eq.1")])
        source.insert((1, "a"), (2, "a"))
        stage.database.alter(retyped)
        source.insert((1, "b"), (2, "b"), table=retyped)
        source.insert((1, "c"), table=retyped)

        assert ids_of(await client.received()) == [1, "1", "1"]
        # Once when it subscribed, once for the table as it became.
        assert stage.database.compiled == [1, 1]


async def test_a_table_described_again_unchanged_is_asked_nothing(autojump_clock):
    source = MemorySource()
    again = make_table({"id": INT4, "body": TEXT})
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("id=eq.1")])

        source.insert((1, "a"))
        source.insert((1, "b"), (2, "b"), table=again)

        assert ids_of(await client.received()) == [1, 1]
        assert stage.database.compiled == [1]


async def test_a_filter_whose_column_is_gone_is_told_and_again_when_it_is_back(
    autojump_clock,
):
    source = MemorySource()
    without = make_table({"id": INT4})
    back = make_table({"id": INT4, "body": TEXT})
    async with open_stage(source=source) as stage:
        client, other = stage.connect(), stage.connect()
        await client.joined(postgres_changes=[filtered("body=eq.a")])
        await other.joined(postgres_changes=[ALL_NOTES])
        stage.database.alter(without)
        source.insert((1,), table=without)
        source.insert((2,), table=without)
        messages = await client.received()
        ((status, message),) = notices(messages)
        assert status == "error"
        assert "invalid column for filter body" in message
        assert ids_of(messages) == []

        stage.database.alter(back)
        source.insert((3, "a"), (4, "b"), table=back)

        messages = await client.received()
        assert notices(messages) == [SUBSCRIBED]
        assert ids_of(messages) == [3]
        assert ids_of(await other.received()) == [1, 2, 3, 4]


async def test_a_filter_tells_nothing_of_a_column_that_may_not_be_read(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("body=eq.secret"), filtered("id=eq.1")])
        stage.visibility.hidden_columns = {"body"}

        source.insert((1, "x"), (2, "secret"))

        (change,) = await client.received()
        assert change.payload["data"]["record"] == {"id": 1}
        assert len(change.payload["ids"]) == 1


async def test_without_a_primary_key_everybody_hears_of_the_error(autojump_clock):
    source = MemorySource()
    keyless = make_table({"id": INT4, "body": TEXT}, key=())
    database = MemoryDatabase([keyless])
    async with open_stage(source=source, database=database) as stage:
        stage.visibility.fault = "Error 400: Bad Request, no primary key"
        client = stage.connect()
        await client.joined(
            postgres_changes=[filtered("id=eq.7"), filtered("id=eq.1", select=["id"])]
        )

        source.insert((1, "a"), table=keyless)

        (change,) = await client.received()
        assert change.payload["data"]["errors"] == ["Error 400: Bad Request, no primary key"]
        assert len(change.payload["ids"]) == 2


async def test_who_may_not_read_the_key_hears_of_the_error_whatever_the_filter(
    autojump_clock,
):
    source = MemorySource()
    database = MemoryDatabase(unreadable={("anon", NOTES.relation.oid)})
    async with open_stage(source=source, database=database) as stage:
        stage.visibility.fault = "Error 401: Unauthorized"
        client = stage.connect()
        await client.joined(postgres_changes=[filtered("id=eq.7")])

        source.write((Kind.INSERT, ("1", "a"), None), (Kind.DELETE, None, ("1", None)))

        (change,) = await client.received()
        assert change.payload["data"]["errors"] == ["Error 401: Unauthorized"]

        # Once it may read the key, the filter counts.
        stage.visibility.fault = None
        source.insert((2, "a"), (7, "a"))
        assert ids_of(await client.received()) == [7]
