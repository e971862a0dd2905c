"""Row changes from a source to the clients that asked for them."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.change_ports import Gap
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Kind, Lsn
from tests.support.changes import make_change, make_table
from tests.support.memory_database import MemoryDatabase
from tests.support.memory_tenant import open_stage
from tests.support.source import NOTES, TEXT, MemorySource

EVERYTHING = [{"event": "*", "schema": "public", "table": "notes"}]
VERSIONS = ["1.0.0", "2.0.0"]


def ids_of(messages):
    return [
        m.payload["data"].get("record", {}).get("id")
        for m in messages
        if m.event == "postgres_changes"
    ]


def notices(messages):
    return [
        (m.payload["status"], m.payload["message"]) for m in messages if m.event == "system"
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.capability("M5-021")
async def test_a_row_reaches_its_subscriber_with_the_id_of_the_binding(autojump_clock, version):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect(version)
        client.join(postgres_changes=EVERYTHING)
        reply, system = await client.received()
        assert system.payload == {
            "extension": "postgres_changes",
            "status": "ok",
            "message": "Subscribed to PostgreSQL",
            "channel": "room",
        }
        (binding,) = reply.response["postgres_changes"]

        source.insert((1, "a"))

        (change,) = await client.received()
        assert change.payload["ids"] == [binding["id"]]
        assert change.payload["data"]["record"] == {"id": 1, "body": "a"}
        assert change.payload["data"]["columns"] == [
            {"name": "id", "type": "int4"},
            {"name": "body", "type": "text"},
        ]


@pytest.mark.parametrize(
    ("binding", "hears"),
    [
        ({"event": "*", "schema": "public"}, True),
        ({"event": "INSERT", "table": "notes"}, True),
        ({"event": "*", "schema": "*"}, True),
        ({"event": "*", "schema": "*", "table": "notes"}, True),
        ({"event": "UPDATE", "schema": "public", "table": "notes"}, False),
        ({"event": "*", "schema": "public", "table": "other"}, False),
        ({"event": "*", "schema": "private", "table": "notes"}, False),
    ],
)
@pytest.mark.capability("SB-027", "SB-028", "M5-010", "M5-013", "M5-047", "M5-084")
async def test_a_binding_hears_its_kind_of_change_on_its_tables(autojump_clock, binding, hears):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[binding])

        source.insert((1, "a"))

        assert ids_of(await client.received()) == ([1] if hears else [])


@pytest.mark.capability("M5-085")
async def test_one_frame_names_all_bindings_that_match(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        client.join(postgres_changes=[*EVERYTHING, {"event": "INSERT", "schema": "public"}])
        reply = (await client.received())[0]
        expected = {entry["id"] for entry in reply.response["postgres_changes"]}

        source.insert((1, "a"))

        (change,) = await client.received()
        assert set(change.payload["ids"]) == expected
        assert len(expected) == 2


async def test_select_narrows_the_columns_and_keeps_the_key(autojump_clock):
    source = MemorySource()
    table = make_table({"id": TEXT, "a": TEXT, "b": TEXT})
    async with open_stage(source=source, database=MemoryDatabase([table])) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[{**EVERYTHING[0], "select": ["b"]}])

        source.insert(("1", "x", "y"), table=table)

        (change,) = await client.received()
        assert change.payload["data"]["record"] == {"id": "1", "b": "y"}


async def test_rows_arrive_in_commit_order_whatever_the_chunks(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)

        for start in range(0, 1000, 250):
            source.insert(*((number, "x") for number in range(start, start + 250)))

        assert ids_of(await client.received()) == list(range(1000))


async def test_a_role_that_may_not_see_a_row_gets_nothing(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.hidden_from = {"anon"}
        anon, service = stage.connect(), stage.connect(role="service_role")
        await anon.joined(postgres_changes=EVERYTHING)
        await service.joined(postgres_changes=EVERYTHING)

        source.insert((1, "a"))

        assert ids_of(await service.received()) == [1]
        assert ids_of(await anon.received()) == []


async def test_a_fault_is_told_in_place_of_the_row(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.fault = "Error 401: Unauthorized"
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)

        source.insert((1, "a"))

        (change,) = await client.received()
        assert change.payload["data"]["errors"] == ["Error 401: Unauthorized"]
        assert change.payload["data"]["record"] == {}


async def test_one_question_is_asked_for_all_subscribers_of_one_identity(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        clients = [stage.connect() for _ in range(100)]
        for client in clients:
            await client.joined(postgres_changes=EVERYTHING)

        source.insert((1, "a"))
        await clients[0].received()

        assert stage.visibility.asked == [1]


async def test_a_question_that_cannot_be_asked_is_asked_again_and_nothing_is_lost(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.errors.extend([DatabaseUnavailable("away")] * 3)
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)

        source.insert((1, "a"))
        source.insert((2, "b"))
        await trio.sleep(60)

        assert ids_of(await client.received()) == [1, 2]


async def test_broadcasts_flow_while_a_question_waits(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.hold()
        client, other = stage.connect(), stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        await other.joined()
        source.insert((1, "a"))
        other.broadcast("hello")

        assert [m.event for m in await client.received()] == ["broadcast"]
        stage.visibility.release()
        assert ids_of(await client.received()) == [1]


async def test_who_leaves_while_the_question_is_out_gets_nothing(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.hold()
        client, stays = stage.connect(), stage.connect()
        join_ref = await client.joined(postgres_changes=EVERYTHING)
        await stays.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        await client.received()
        client.push("phx_leave", join_ref=join_ref)
        await client.received()
        stage.visibility.release()

        assert ids_of(await client.received()) == []
        assert ids_of(await stays.received()) == [1]


async def test_a_client_is_told_that_the_database_is_away_and_when_it_is_back(autojump_clock):
    source = MemorySource()
    source.advice = "Start Postgres"
    async with open_stage(source=source) as stage:
        client = stage.connect()
        client.join(postgres_changes=EVERYTHING)
        assert await client.received() == []
        await trio.sleep(2.1)
        assert notices(await client.received()) == [("error", "Start Postgres")]

        source.advice = None
        await trio.sleep(60)

        assert notices(await client.received()) == [("ok", "Subscribed to PostgreSQL")]
        source.insert((1, "a"))
        assert ids_of(await client.received()) == [1]


async def test_broadcasts_work_while_the_database_is_away(autojump_clock):
    source = MemorySource()
    source.advice = "Start Postgres"
    async with open_stage(source=source) as stage:
        client = stage.connect()
        client.join(postgres_changes=EVERYTHING, broadcast={"self": True})
        await trio.sleep(3)
        await client.received()

        client.broadcast("hello")

        assert [m.event for m in await client.received()] == ["broadcast"]


@pytest.mark.capability("M5-057")
async def test_a_stream_that_breaks_for_a_moment_is_back_within_five_seconds(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.break_off("Postgres went away")
        source.insert((1, "a"))
        assert ids_of(await client.received()) == []

        source.advice = None
        await trio.sleep(5)

        assert ids_of(await client.received()) == [1]


@pytest.mark.capability("M5-024", "M5-067")
async def test_a_stream_that_breaks_is_connected_again(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.break_off("Postgres went away")
        await trio.sleep(10)
        source.advice = None
        await trio.sleep(60)
        source.insert((1, "a"))

        messages = await client.received()
        assert ids_of(messages) == [1]
        assert notices(messages)[-1] == ("ok", "Subscribed to PostgreSQL")


async def test_what_the_log_could_not_keep_is_announced_as_a_gap(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source, log_bytes=5_000) as stage:
        stage.visibility.hold()
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        for number in range(100):
            source.insert((number, "x" * 100))
        await client.received()
        stage.visibility.release()

        messages = await client.received()
        assert ids_of(messages)[-1] == 99
        ((status, message),) = notices(messages)
        assert status == "error"
        assert "lost" in message
        assert "the oldest change held is at 0/" in message


@pytest.mark.capability("SB-029", "M5-022")
async def test_rows_are_delivered_that_match_the_filter(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[{**EVERYTHING[0], "filter": "id=eq.1"}])

        source.insert((1, "a"), (2, "b"))

        assert ids_of(await client.received()) == [1]


@pytest.mark.capability("M5-012", "M5-078")
async def test_the_rows_actor_ends_with_the_last_subscription_that_wants_rows(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client, other = stage.connect(), stage.connect()
        join_ref = await client.joined(postgres_changes=EVERYTHING)
        await other.joined()
        assert stage.rows() is not None

        client.push("phx_leave", join_ref=join_ref)
        await client.received()

        assert stage.rows() is None
        assert stage.feed.router.channels() == ()
        await client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        assert ids_of(await client.received()) == [1]


async def test_deletes_and_updates_carry_their_old_record(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)

        source.commit(
            make_change(Kind.UPDATE, NOTES, new=("1", "b"), old=("1", None), lsn=200),
            make_change(Kind.DELETE, NOTES, old=("1", None), lsn=200, index=1),
        )

        update, delete = await client.received()
        assert update.payload["data"]["type"] == "UPDATE"
        assert "record" not in delete.payload["data"]
        assert delete.payload["data"]["old_record"]["id"] == 1


async def test_a_join_waits_for_a_live_stream_and_delays_nothing_else(autojump_clock):
    source = MemorySource()
    source.advice = "Start Postgres"
    async with open_stage(source=source) as stage:
        client = stage.connect()
        client.join(postgres_changes=EVERYTHING)
        await client.joined("realtime:other")
        source.advice = None
        await trio.sleep(1.9)

        reply, system = await client.received()

        assert reply.payload["status"] == "ok"
        assert notices([system]) == [("ok", "Subscribed to PostgreSQL")]


async def test_without_a_database_a_join_is_answered_at_once_with_the_reason(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        client.join(postgres_changes=EVERYTHING)

        reply, system = await client.received()

        assert reply.payload["status"] == "ok"
        assert notices([system])[0][0] == "error"
        assert "without a database" in system.payload["message"]


async def test_what_committed_before_the_join_is_not_delivered(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        early, late = stage.connect(), stage.connect()
        await early.joined(postgres_changes=EVERYTHING)
        stage.visibility.hold()
        source.insert((1, "a"))
        await late.joined(postgres_changes=EVERYTHING)
        source.insert((2, "b"))
        stage.visibility.release()

        assert ids_of(await late.received()) == [2]
        assert ids_of(await early.received()) == [1, 2]


async def test_rows_committed_while_the_stream_was_away_arrive_once_when_it_is_back(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        await client.received()
        source.break_off("Postgres went away")
        source.insert((2, "b"))
        await trio.sleep(10)
        source.advice = None
        await trio.sleep(60)
        source.insert((3, "c"))

        assert ids_of(await client.received()) == [2, 3]


async def test_who_joins_while_the_stream_is_away_gets_what_commits_after_it_is_back(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        first = stage.connect()
        await first.joined(postgres_changes=EVERYTHING)
        source.break_off("Postgres went away")
        source.insert((1, "a"))
        client = stage.connect()
        client.join(postgres_changes=EVERYTHING)
        await trio.sleep(10)
        source.insert((2, "b"))
        source.advice = None
        await trio.sleep(60)
        source.insert((3, "c"))

        assert ids_of(await client.received()) == [3]
        assert ids_of(await first.received()) == [1, 2, 3]


async def test_a_source_that_cannot_resume_has_its_gap_announced_to_everybody(autojump_clock):
    source = MemorySource(durable=False)
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        await client.received()
        source.break_off("Postgres went away")
        source.insert((2, "b"))
        await trio.sleep(10)
        source.advice = None
        await trio.sleep(60)

        told = notices(await client.received())
        assert told[0] == ("ok", "Subscribed to PostgreSQL") or "lost" in told[0][1]
        assert any("lost while the stream was away" in message for _, message in told)


async def test_another_database_system_empties_the_log_and_is_announced(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        await client.received()

        source.commit(gap=Gap("The database was replaced", starts_over=True))
        source.commit(make_change(Kind.INSERT, NOTES, new=("2", "b"), lsn=5))
        messages = await client.received()

        assert "The database was replaced" in notices(messages)[0][1]
        assert stage.feed.log.last_position.commit_lsn == 5


async def test_the_database_may_forget_what_left_the_log_and_is_told_only_then(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source, window_s=30.0) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        await client.received()
        held = stage.feed.log.oldest_lsn
        await trio.sleep(20)
        assert source.released == [held]
        await trio.sleep(20)

        assert source.released == [held, source.written]
        await trio.sleep(1000)
        assert source.released == [held, source.written]


async def test_wait_answers_the_join_only_when_rows_flow(autojump_clock):
    source = MemorySource()
    source.advice = "Start Postgres"
    async with open_stage(source=source) as stage:
        client = stage.connect()
        client.join(
            postgres_changes=EVERYTHING,
            postgres_changes_options={"wait": True, "timeout": 20_000},
        )
        await trio.sleep(5)
        assert await client.received() == []
        source.advice = None
        await trio.sleep(10)

        reply, system = await client.received()
        assert reply.payload["status"] == "ok"
        assert notices([system]) == [("ok", "Subscribed to PostgreSQL")]


async def test_wait_refuses_the_join_when_rows_do_not_flow_in_time(autojump_clock):
    source = MemorySource()
    source.advice = "Start Postgres"
    async with open_stage(source=source) as stage:
        client = stage.connect()
        client.join(
            postgres_changes=EVERYTHING,
            postgres_changes_options={"wait": True, "timeout": 3_000},
        )
        await trio.sleep(9)

        (reply,) = await client.received()
        assert reply.payload["status"] == "error"
        assert reply.response["reason"] == "UnableToSubscribeToPostgres: Start Postgres"


async def test_a_database_under_pressure_takes_no_new_followers_and_then_loses_old_changes(
    autojump_clock,
):
    source = MemorySource()
    source.retention_bytes = 1_000_000
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        stage.visibility.hold()
        source.insert((1, "a"))
        await client.received()
        source.insert((2, "b"))
        await client.received()
        source.written = Lsn(750_000)
        await trio.sleep(3)

        late = stage.connect()
        late.join(postgres_changes=EVERYTHING)
        await late.joined("realtime:other")
        await trio.sleep(6)
        assert [m.payload["status"] for m in await late.received()] == ["error"]

        source.written = Lsn(900_000)
        await trio.sleep(5)
        stage.visibility.release()
        messages = await client.received()
        assert any("lost" in message for _, message in notices(messages))
        assert source.released[-1] == 900_000
        await trio.sleep(5)
        await late.joined(postgres_changes=EVERYTHING)


@pytest.mark.parametrize("number_of_others", [0, 1])
async def test_rows_reach_who_joins_while_the_rows_actor_of_an_earlier_channel_still_asks(
    autojump_clock, number_of_others
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        earlier, client = stage.connect(), stage.connect()
        others = [stage.connect() for _ in range(number_of_others)]
        join_ref = await earlier.joined(postgres_changes=EVERYTHING)
        stage.visibility.hold()
        source.insert((1, "a"))
        await earlier.received()
        earlier.push("phx_leave", join_ref=join_ref)
        await earlier.received()
        client.join(postgres_changes=EVERYTHING)
        told = notices(await client.received())
        stage.visibility.release()
        for other in others:
            await other.joined(postgres_changes=EVERYTHING)

        source.insert((2, "b"))

        assert told == [("ok", "Subscribed to PostgreSQL")]
        assert ids_of(await client.received()) == [2]
        assert [ids_of(await other.received()) for other in others] == [[2]] * number_of_others
