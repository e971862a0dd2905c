"""Rows for Fluxbase's clients, in memory: both shapes, filters, verdicts, and what is not for them."""

from __future__ import annotations

import pytest

from protocol.changes.model import Kind
from tests.support.fluxbase import Visitor
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

NOTES = "table:public.notes"


@pytest.fixture
async def source():
    return MemorySource()


@pytest.fixture
async def stage(autojump_clock, source):
    async with open_stage(source=source) as stage:
        yield stage


@pytest.fixture
async def ann(stage):
    return Visitor(stage, "ann")


def write_all(source):
    source.write(
        (Kind.INSERT, ("1", "a"), None),
        (Kind.UPDATE, ("1", "b"), ("1", "a")),
        (Kind.DELETE, None, ("1", "b")),
    )


@pytest.mark.capability("FB-003", "FB-005", "FB-006", "FB-007", "FB-011", "FB-015", "FB-057")
async def test_rows_of_a_table_come_as_broadcasts(autojump_clock, source, ann):
    ann.send("subscribe", NOTES)
    assert await ann.received() == [{"type": "ack", "channel": NOTES}]
    write_all(source)

    table = {"table": "notes", "schema": "public"}
    inserted, updated, deleted = await ann.received()
    assert inserted == {
        "type": "broadcast",
        "channel": NOTES,
        "payload": {"type": "INSERT", **table, "record": {"id": 1, "body": "a"}},
    }
    assert updated["payload"]["type"] == "UPDATE"
    assert updated["payload"].keys() == {"type", "table", "schema", "record", "old_record"}
    assert deleted["payload"].keys() == {"type", "table", "schema", "old_record"}
    assert deleted["payload"]["old_record"]["id"] == 1


@pytest.mark.capability("FB-063", "FB-067")
async def test_a_subscription_with_a_config_is_like_supabases(autojump_clock, source, ann):
    config = {"event": "INSERT", "schema": "public", "table": "notes", "filter": "id=gt.1"}
    ann.send("subscribe", "anything", config=config)
    assert await ann.received() == [
        {
            "type": "ack",
            "channel": "anything",
            "payload": {"subscribed": True, "subscription_id": "sub_1", **config},
        }
    ]
    write_all(source)
    source.insert((2, "b"))

    (change,) = await ann.received()
    timestamp = change["payload"].pop("commit_timestamp")
    assert timestamp.endswith("Z")
    assert change == {
        "type": "postgres_changes",
        "channel": "anything",
        "payload": {
            "subscription_id": "sub_1",
            "eventType": "INSERT",
            "schema": "public",
            "table": "notes",
            "new": {"id": 2, "body": "b"},
            "old": {},
            "errors": None,
        },
    }


async def test_who_was_told_so_gets_every_row_from_then_on(autojump_clock, stage, source, ann):
    ann.send("subscribe", NOTES)
    await stage.database.hold_after(1)
    # The database has said yes once, for the answer; where changes go is asked for again.
    assert await ann.received() == []

    source.insert((1, "too early for it"))
    await ann.received()
    stage.database.release()
    assert [message["type"] for message in await ann.received()] == ["ack"]
    source.insert((2, "b"))
    assert [one["record"]["id"] for one in await ann.heard("broadcast")] == [2]


async def test_subscriptions_of_one_channel_are_ended_one_by_one(autojump_clock, source, ann):
    for kind in ("INSERT", "DELETE"):
        await ann.subscribed("c", config={"event": kind, "table": "notes"})
    ann.send("unsubscribe", "c", subscription_id="sub_1")
    assert await ann.received() == [
        {
            "type": "ack",
            "channel": "c",
            "payload": {"unsubscribed": True, "subscription_id": "sub_1"},
        }
    ]
    write_all(source)

    assert [m["payload"]["eventType"] for m in await ann.received()] == ["DELETE"]


async def test_members_beside_the_type_are_a_config_too(autojump_clock, source, ann):
    ann.send("subscribe", event="DELETE", table="notes")
    (ack,) = await ann.received()
    assert ack["channel"] == NOTES
    write_all(source)

    assert [m["type"] for m in await ann.received()] == ["postgres_changes"]


async def test_both_shapes_can_be_had_at_once(autojump_clock, source, ann):
    await ann.subscribed(NOTES)
    await ann.subscribed(NOTES, config={"table": "notes"})
    source.insert((1, "a"))

    assert {m["type"] for m in await ann.received()} == {"broadcast", "postgres_changes"}


@pytest.mark.capability("FB-056", "FB-059")
async def test_who_unsubscribed_gets_no_rows(autojump_clock, source, ann):
    await ann.subscribed(NOTES)
    ann.send("unsubscribe", NOTES)
    await ann.received()
    source.insert((1, "a"))

    assert await ann.received() == []


async def test_what_others_say_in_the_room_of_a_table_is_no_row(
    autojump_clock, stage, source, ann
):
    await ann.subscribed(NOTES)
    forger = stage.connect()
    await forger.joined("realtime:table:public.notes")
    forger.broadcast({"type": "INSERT", "record": {"id": 7}}, f"realtime:{NOTES}")
    forger.track({"a": 1}, f"realtime:{NOTES}")

    assert await ann.received() == []


@pytest.mark.capability("FB-012")
async def test_a_table_of_a_like_name_is_another_table(autojump_clock, source, ann):
    # For Postgres an underscore in a pattern is any character.
    await ann.subscribed("table:public.note_")
    source.insert((1, "a"))

    assert await ann.received() == []
