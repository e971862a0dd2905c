"""Clients of Fluxbase that mean harm, in memory: what they send changes nothing for others, and nothing breaks."""

from __future__ import annotations

import json

import pytest
import trio

from actors.realtime.messages import ChannelKey
from protocol.changes.model import Kind
from protocol.fluxbase.joined import JOINS_LIMIT
from tests.support.fluxbase import Visitor
from tests.support.goforward import Member
from tests.support.memory_tenant import fake_token, open_stage
from tests.support.source import MemorySource

ROOM = "chat"
NOTES = "table:public.notes"
HALF = "\\ud800"
DEEP = "[" * 600 + "]" * 600
DEEPER = "[" * 100_000
FRAMES = [
    "",
    "null",
    "[]",
    "1e999",
    "\ufeff{}",
    b"\x00\xff",
    b'{"type":"subscribe","channel":"chat"}',
    "{}",
    '{"type":null}',
    '{"type":"subscribe"}',
    '{"type":"subscribe","channel":7}',
    '{"type":"subscribe","channel":null,"config":null}',
    '{"type":"subscribe","channel":"table:"}',
    '{"type":"subscribe","channel":"table:.."}',
    '{"type":"subscribe","channel":"table:public.\\u0000"}',
    f'{{"type":"subscribe","channel":"{HALF}"}}',
    f'{{"type":"subscribe","channel":"table:public.{HALF}"}}',
    '{"type":"subscribe","channel":"_troupe:operating"}',
    '{"type":"subscribe","channel":"goforward:chat:1"}',
    f'{{"type":"subscribe","channel":"{"c" * 256}"}}',
    *(
        f'{{"type":"subscribe","channel":"c","config":{config}}}'
        for config in (
            "7",
            "[]",
            '"x"',
            "{}",
            '{"table":""}',
            '{"table":[]}',
            '{"table":"notes","event":"DROP"}',
            '{"table":"notes","event":7}',
            '{"table":"notes","schema":{}}',
            f'{{"table":"{"t" * 64}"}}',
            '{"table":"notes","filter":7}',
            '{"table":"notes","filter":",,"}',
            '{"table":"notes","filter":"data->=eq.1"}',
            f'{{"table":"notes","filter":"{HALF}=eq.1"}}',
            f'{{"table":"notes","filter":"{"x" * 10_001}"}}',
            f'{{"table":"notes","filter":{DEEP}}}',
        )
    ),
    '{"type":"unsubscribe","channel":"table:x"}',
    '{"type":"unsubscribe","subscription_id":"sub_1"}',
    f'{{"type":"unsubscribe","subscription_id":"{HALF}"}}',
    '{"type":"broadcast"}',
    f'{{"type":"broadcast","channel":"{NOTES}","payload":{{"type":"INSERT"}}}}',
    f'{{"type":"broadcast","channel":"evil","payload":{DEEP}}}',
    f'{{"type":"broadcast","channel":"evil","payload":{DEEPER}}}',
    f'{{"type":"broadcast","channel":"evil","event":"{HALF}","payload":1}}',
    f'{{"type":"broadcast","channel":"evil","payload":"{HALF}","messageId":"m"}}',
    '{"type":"broadcast","channel":"evil","payload":1,"payload":2,"channel":"other"}',
    '{"type":"presence","channel":"evil"}',
    '{"type":"presence","channel":"evil","payload":[]}',
    '{"type":"presence","channel":"evil","payload":{"event":"dance"}}',
    '{"type":"presence","channel":"evil","payload":{"event":"track","key":7}}',
    '{"type":"presence","channel":"evil","payload":{"event":"track","state":[]}}',
    f'{{"type":"presence","channel":"evil","payload":{{"event":"track","key":"{HALF}"}}}}',
    f'{{"type":"presence","channel":"chat","payload":{{"event":"track","key":"x","state":{{"a":{DEEP}}}}}}}',
    f'{{"type":"presence","channel":"chat","payload":{{"event":"track","key":"x","state":{{"{HALF}":1}}}}}}',
    f'{{"type":"presence","channel":"chat","payload":{{"event":"track","key":"x","state":{{"a":"{HALF}"}}}}}}',
    '{"type":"presence","channel":"chat","payload":{"event":"track","key":"x","state":{"a":1,"a":2}}}',
    '{"type":"presence","channel":"chat","payload":{"event":"track","key":"x","state":{"a":1e999}}}',
    '{"type":"presence","channel":"chat","payload":{"event":"track","key":"x","state":{"phx_ref":[]}}}',
    '{"type":"access_token"}',
    '{"type":"access_token","token":7}',
    f'{{"type":"access_token","token":"{HALF}"}}',
]


@pytest.fixture
async def source():
    return MemorySource()


@pytest.fixture
async def stage(autojump_clock, source):
    async with open_stage(source=source) as stage:
        yield stage


@pytest.fixture
async def ann(stage):
    ann = Visitor(stage, "ann")
    await ann.subscribed(ROOM)
    await ann.subscribed(NOTES)
    return ann


@pytest.mark.parametrize("message", FRAMES, ids=range(len(FRAMES)))
async def test_nothing_that_is_sent_breaks_anything_for_others(
    autojump_clock, stage, source, ann, message
):
    member = Member(stage, "bob", ROOM)
    supabase = stage.connect()
    await supabase.joined(f"realtime:{ROOM}", presence={"key": "p", "enabled": True})
    mallory = Visitor(stage, "mallory")
    mallory.send_raw(message)
    await trio.sleep(30)
    await ann.received()
    await member.received()
    await supabase.received()

    ann.send("broadcast", ROOM, event="e", payload={})
    source.write((Kind.INSERT, ("1", "a"), None))
    assert [m["type"] for m in await ann.received()] == ["broadcast", "broadcast"]
    assert [event for _, event, _ in await member.heard()] == ["e"]
    assert [m.event for m in await supabase.received()] == ["e"]
    assert stage.reports == []
    late = Visitor(stage)
    await late.subscribed(ROOM)


async def test_a_client_ends_no_subscription_but_its_own(autojump_clock, stage, source):
    ann, mallory = Visitor(stage, "ann"), Visitor(stage, "mallory")
    await ann.subscribed("mine", config={"table": "notes"})
    mallory.send("unsubscribe", subscription_id="sub_1")
    mallory.send("unsubscribe", "mine", subscription_id="sub_1")
    mallory.send("unsubscribe", "mine")
    mallory.send("unsubscribe")
    assert len(await mallory.received()) == 4
    source.write((Kind.INSERT, ("1", "a"), None))

    assert [m["type"] for m in await ann.received()] == ["postgres_changes"]


@pytest.mark.parametrize("table", ["%", "n%", "*%"])
@pytest.mark.parametrize("form", ["name", "config"])
async def test_what_stands_for_any_text_elsewhere_is_refused(
    autojump_clock, stage, source, table, form
):
    visitor = Visitor(stage)
    config = {"config": {"table": table}} if form == "config" else {}
    channel = "c" if form == "config" else f"table:public.{table}"
    visitor.send("subscribe", channel, **config)
    await trio.sleep(30)
    (answer,) = [m for m in await visitor.received() if m["type"] != "heartbeat"]
    assert answer["type"] == "error"

    source.write((Kind.INSERT, ("1", "a"), None))
    assert await visitor.received() == []


async def test_a_presence_for_which_there_is_no_place_leaves_no_room_half_joined(
    autojump_clock, stage
):
    greedy = Visitor(stage)
    for number in range(JOINS_LIMIT - 1):
        greedy.send("subscribe", f"room-{number}")
        if number % 100 == 0:
            await greedy.received()
    await greedy.received()
    payload = {"event": "track", "key": "k", "state": {}}
    greedy.send("presence", "new", payload=payload)
    assert [m["type"] for m in await greedy.received()] == ["error"]

    await greedy.subscribed("new")


async def test_a_token_that_expired_before_anything_was_subscribed_is_no_good(
    autojump_clock, stage
):
    visitor = Visitor(stage, "ann", expires_at=60.0)
    await trio.sleep(61)
    visitor.send("subscribe", ROOM)
    await trio.sleep(5)

    told = [m for m in await visitor.received() if m["type"] != "heartbeat"]
    assert [m["type"] for m in told] == ["error"]


async def test_what_is_being_joined_speaks_with_the_other_token_too(autojump_clock, stage):
    visitor = Visitor(stage, "ann")
    stage.verifier.hold()
    visitor.send("subscribe", ROOM)
    visitor.send("access_token", token=fake_token("authenticated", sub="new"))
    await trio.testing.wait_all_tasks_blocked()
    stage.verifier.release()

    told = [m["type"] for m in await visitor.received()]
    assert told.count("ack") == 2
    roster = stage.channels.roster(ChannelKey("test", is_private=False, sub_topic=ROOM))
    assert [one.identity.user_id for one in roster] == ["new"]


async def test_a_bad_token_ends_what_is_being_joined_too(autojump_clock, stage):
    visitor = Visitor(stage, "ann")
    stage.verifier.hold()
    visitor.send("subscribe", ROOM)
    visitor.send("access_token", token="nonsense")
    await trio.testing.wait_all_tasks_blocked()
    stage.verifier.release()

    assert [m["type"] for m in await visitor.received()][-1] == "error"
    assert visitor.close_code == 1008


async def test_who_says_to_be_a_row_is_none(autojump_clock, stage, ann):
    supabase = stage.connect()
    await supabase.joined(f"realtime:{NOTES}", broadcast={"self": True})
    fake = {"type": "INSERT", "schema": "public", "table": "notes", "record": {"id": 666}}
    for event in ("INSERT", "broadcast", "postgres_changes", ""):
        supabase.broadcast(fake, f"realtime:{NOTES}", event=event)
        supabase.push(
            "broadcast",
            {"type": "postgres_changes", "event": event, "payload": {"data": fake}},
            f"realtime:{NOTES}",
        )
    supabase.push("postgres_changes", {"ids": [1], "data": fake}, f"realtime:{NOTES}")
    await supabase.received()

    assert "666" not in json.dumps(await ann.received())
