"""What clients are told about their subscriptions to row changes, and when."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.errors import DatabaseUnavailable
from tests.support.changes import INT4, make_table
from tests.support.memory_database import MemoryDatabase
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

ALL_NOTES = {"event": "*", "schema": "public", "table": "notes"}
SUBSCRIBED = ("ok", "Subscribed to PostgreSQL")
WAIT = {"postgres_changes_options": {"wait": True, "timeout": 20_000}}
OTHERS = make_table({"id": INT4}, name="others", oid=2)


def notices(messages):
    return [
        (m.payload["status"], m.payload["message"]) for m in messages if m.event == "system"
    ]


def ids_of(messages):
    return [
        m.payload["data"]["record"]["id"] for m in messages if m.event == "postgres_changes"
    ]


def is_empty(router) -> bool:
    """Whether nothing is left of anybody."""
    return not router.channels() and not router._index._groups


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ({"table": "nowhere"}, "Please check Realtime is enabled for the given connect"),
        ({**ALL_NOTES, "filter": "nothing=eq.1"}, "invalid column for filter nothing"),
        ({**ALL_NOTES, "filter": "id"}, 'Error parsing `filter` params: ["id"]'),
        ({**ALL_NOTES, "select": ["nothing"]}, "invalid column for select nothing"),
        ({"schema": "*", "select": ["id"]}, "Column selection is not supported"),
        ({"event": "INSERT"}, 'subscribe to: %{"event" => "INSERT"}'),
    ],
)
async def test_what_cannot_be_had_is_refused_once_and_the_channel_stays_joined(
    autojump_clock, binding, words
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client, other = stage.connect(), stage.connect()
        client.join(postgres_changes=[ALL_NOTES, binding])
        reply, system = await client.received()
        await other.joined(postgres_changes=[ALL_NOTES])

        source.insert((1, "a"))
        other.broadcast("hello")
        await trio.sleep(100)

        assert reply.payload["status"] == "ok"
        assert [words in message for _, message in notices([system])] == [True]
        assert notices([system])[0][0] == "error"
        assert [m.event for m in await client.received()] == ["broadcast"]
        assert ids_of(await other.received()) == [1]


async def test_a_role_that_does_not_exist_is_refused(autojump_clock):
    async with open_stage(source=MemorySource()) as stage:
        stage.database.roles.remove("anon")
        client = stage.connect()
        client.join(postgres_changes=[ALL_NOTES])

        ((status, message),) = notices(await client.received())

    assert status == "error"
    assert message.endswith('ERROR 42704 (undefined_object) role "anon" does not exist')


async def test_who_waits_for_the_outcome_is_refused_the_join(autojump_clock):
    async with open_stage(source=MemorySource()) as stage:
        client = stage.connect()
        client.join(postgres_changes=[{"table": "nowhere"}], **WAIT)
        await trio.sleep(6)
        (reply,) = await client.received()
        client.join("realtime:other", postgres_changes=[ALL_NOTES], **WAIT)
        granted, system = await client.received()

        assert reply.payload["status"] == "error"
        assert reply.response["reason"].startswith(
            "UnableToSubscribeToPostgres: Unable to subscribe to changes"
        )
        assert granted.payload["status"] == "ok"
        assert notices([system]) == [SUBSCRIBED]
        assert stage.channel() is None


async def test_a_database_that_is_away_is_asked_again_and_the_client_told_once(
    autojump_clock,
):
    source = MemorySource()
    database = MemoryDatabase()
    database.errors = [DatabaseUnavailable("All connections are busy")] * 5
    async with open_stage(source=source, database=database) as stage:
        client = stage.connect()
        client.join(postgres_changes=[ALL_NOTES])
        assert notices(await client.received()) == [("error", "All connections are busy")]

        await trio.sleep(60)

        assert notices(await client.received()) == [SUBSCRIBED]
        source.insert((1, "a"))
        assert ids_of(await client.received()) == [1]


async def test_who_waits_while_the_database_cannot_be_asked_waits_longer(autojump_clock):
    database = MemoryDatabase()
    database.errors = [DatabaseUnavailable("All connections are busy")] * 5
    async with open_stage(source=MemorySource(), database=database) as stage:
        client = stage.connect()
        client.join(postgres_changes=[ALL_NOTES], **WAIT)
        assert await client.received() == []

        await trio.sleep(5)

        reply, system = await client.received()
        assert reply.payload["status"] == "ok"
        assert notices([system]) == [SUBSCRIBED]


async def test_rows_go_on_for_others_while_somebody_is_being_resolved(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        first, second = stage.connect(), stage.connect()
        await first.joined("realtime:first", postgres_changes=[ALL_NOTES])
        stage.database.hold()
        second.join("realtime:second", postgres_changes=[ALL_NOTES])
        await second.received()

        source.insert((1, "a"))

        assert ids_of(await first.received()) == [1]
        stage.database.release()
        assert notices(await second.received()) == [SUBSCRIBED]
        source.insert((2, "a"))
        assert ids_of(await second.received()) == [2]


async def test_who_leaves_while_being_resolved_leaves_nothing_behind(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client, stays = stage.connect(), stage.connect()
        stage.database.hold()
        join_ref = client.join(postgres_changes=[{**ALL_NOTES, "filter": "id=eq.1"}])
        stays.join(postgres_changes=[ALL_NOTES])
        await client.received()
        client.push("phx_leave", join_ref=join_ref)
        await client.received()
        stage.database.release()

        assert notices(await stays.received()) == [SUBSCRIBED]
        assert notices(await client.received()) == []
        stays.leave_socket()
        await stays.received()
        assert is_empty(stage.feed.router)


async def test_a_thousand_who_join_one_topic_are_resolved_in_few_questions(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        clients = [stage.connect() for _ in range(1000)]
        for number, client in enumerate(clients):
            client.join(postgres_changes=[{**ALL_NOTES, "filter": f"id=eq.{number % 10}"}])
        told = [notices(await client.received()) for client in clients]

        source.insert((3, "a"))

        heard = [ids_of(await client.received()) for client in clients]
        assert told == [[SUBSCRIBED]] * 1000
        assert len(stage.database.resolved) < 10
        assert max(stage.database.resolved) == 1
        assert max(stage.database.compiled) <= 10
        assert heard == [[3] if number % 10 == 3 else [] for number in range(1000)]


async def test_a_table_published_later_is_let_in_and_one_taken_away_is_told(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client, other = stage.connect(), stage.connect()
        client.join(postgres_changes=[ALL_NOTES, {"table": "others"}])
        await other.joined("realtime:other", postgres_changes=[ALL_NOTES])
        await trio.sleep(20)
        assert [status for status, _ in notices(await client.received())] == ["error"]

        stage.database.tables.append(OTHERS)
        source.written += 1
        await trio.sleep(20)
        assert notices(await client.received()) == [SUBSCRIBED]
        source.insert((1, "a"))
        source.insert((2,), table=OTHERS)
        assert ids_of(await client.received()) == [1, 2]

        stage.database.tables.remove(OTHERS)
        source.written += 1
        await trio.sleep(20)
        assert [status for status, _ in notices(await client.received())] == ["error"]
        source.insert((3, "a"))
        assert ids_of(await client.received()) == []
        # Who is not concerned hears nothing of all that.
        assert notices(await other.received()) == []


async def test_a_database_to_which_nothing_is_written_is_asked_nothing(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        await stage.connect().joined(postgres_changes=[ALL_NOTES])
        await trio.sleep(20)
        looks = stage.database.looks, len(stage.database.resolved)

        await trio.sleep(1000)

        assert (stage.database.looks, len(stage.database.resolved)) == looks


async def test_wildcards_hear_a_table_that_appears_later_at_once(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[{"schema": "public"}])
        stage.database.tables.append(OTHERS)

        source.insert((1,), table=OTHERS)

        assert ids_of(await client.received()) == [1]


async def test_a_token_of_another_role_has_everything_resolved_again(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[{**ALL_NOTES, "filter": "id=eq.1"}])
        resolved = len(stage.database.resolved)

        client.push("access_token", {"access_token": "authenticated"})

        assert notices(await client.received()) == [SUBSCRIBED]
        assert len(stage.database.resolved) == resolved + 1
        source.insert((1, "a"), (2, "b"))
        assert ids_of(await client.received()) == [1]


async def test_equal_entries_are_both_named(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[ALL_NOTES, ALL_NOTES])

        source.insert((1, "a"))

        (change,) = await client.received()
        assert len(change.payload["ids"]) == 2
        assert len(set(change.payload["ids"])) == 1


async def test_names_are_patterns(autojump_clock):
    source = MemorySource()
    names = ["my_notes", "myxnotes", "mynotes"]
    tables = [make_table({"id": INT4}, name=name, oid=oid) for oid, name in enumerate(names)]
    async with open_stage(source=source, database=MemoryDatabase(tables)) as stage:
        client = stage.connect()
        await client.joined(
            postgres_changes=[{"schema": "publi%", "table": "my_notes", "filter": "id=gt.0"}]
        )

        for number, table in enumerate(tables, 1):
            source.insert((number,), table=table)

        assert ids_of(await client.received()) == [1, 2]
