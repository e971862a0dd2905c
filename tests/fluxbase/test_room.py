"""Fluxbase's channels without tables, in memory: who hears what, and how a connection ends; by a virtual clock."""

from __future__ import annotations

import json

import pytest
import trio

from actors.realtime.errors import Unauthorized
from actors.realtime.messages import ChannelKey
from actors.realtime.tenant import Limits
from protocol.fluxbase import FluxbaseDialect
from protocol.fluxbase.joined import JOINS_LIMIT
from protocol.fluxbase.session import FAULTS_ANSWERED
from tests.support.fluxbase import Visitor
from tests.support.goforward import Member
from tests.support.memory_tenant import fake_token, open_stage

ROOM = "chat"


def broadcast(event, payload):
    return {
        "type": "broadcast",
        "channel": ROOM,
        "payload": {"broadcast": {"event": event, "payload": payload}},
    }


def presence(event, **members):
    return {
        "type": "presence",
        "channel": ROOM,
        "payload": {"presence": {"event": event, **members}},
    }


@pytest.fixture
async def stage(autojump_clock):
    async with open_stage(limits=Limits(join_error_delay_s=1.0)) as stage:
        yield stage


@pytest.fixture
async def ann(stage):
    ann = Visitor(stage, "ann")
    await ann.subscribed(ROOM)
    return ann


@pytest.fixture
async def bob(stage):
    bob = Visitor(stage, "bob")
    await bob.subscribed(ROOM)
    return bob


@pytest.mark.capability("FB-044", "FB-065")
async def test_everybody_in_a_channel_hears_a_broadcast(autojump_clock, ann, bob):
    bob.send("broadcast", ROOM, event="cursor", payload={"x": 1})

    assert await ann.received() == await bob.received() == [broadcast("cursor", {"x": 1})]


@pytest.mark.capability("FB-009", "FB-048", "FB-073")
async def test_the_server_has_a_heartbeat(stage, ann, autojump_clock):
    await trio.sleep(30.5)

    assert await ann.received() == [{"type": "heartbeat"}]


async def test_without_heartbeats_there_is_none(stage, autojump_clock):
    silent = Visitor(stage, dialect=FluxbaseDialect(heartbeat_s=0))
    await trio.sleep(100)

    assert await silent.received() == []


@pytest.mark.capability("FB-042", "FB-066")
async def test_presence_is_joined_changed_and_left(autojump_clock, ann, bob):
    ann.send("presence", ROOM, payload={"event": "track", "key": "a", "state": {"n": 1}})
    joined = presence(
        "join", key="a", newPresences=[{"n": 1}], currentPresences={"a": [{"n": 1}]}
    )
    assert await ann.received() == await bob.received() == [joined]

    bob.send("presence", ROOM, payload={"event": "track", "state": {}})
    everybody = {"a": [{"n": 1}], "bob": [{}]}
    assert await ann.received() == [
        presence("join", key="bob", newPresences=[{}], currentPresences=everybody)
    ]

    ann.send("presence", ROOM, payload={"event": "track", "key": "a", "state": {"n": 2}})
    await bob.received()
    ann.send("presence", ROOM, payload={"event": "untrack", "key": "a"})
    assert await bob.received() == [
        presence("leave", key="a", leftPresences=[{"n": 2}], currentPresences={"bob": [{}]})
    ]


@pytest.mark.capability("FB-049")
async def test_who_goes_without_a_word_is_seen_to_leave(autojump_clock, ann, bob):
    ann.send("presence", ROOM, payload={"event": "track", "key": "a", "state": {}})
    await bob.received()
    ann.go()

    assert await bob.received() == [
        presence("leave", key="a", leftPresences=[{}], currentPresences={})
    ]


async def test_who_unsubscribes_hears_no_more_and_is_absent(autojump_clock, ann, bob):
    ann.send("presence", ROOM, payload={"event": "track", "key": "a", "state": {}})
    await ann.received()
    await bob.received()
    ann.send("unsubscribe", ROOM)
    assert await ann.received() == [{"type": "ack", "channel": ROOM}]
    assert [m["payload"]["presence"]["event"] for m in await bob.received()] == ["leave"]

    bob.send("broadcast", ROOM, event="e", payload={})
    assert await ann.received() == []


async def test_a_newcomer_is_told_who_is_there(autojump_clock, stage, ann):
    ann.send("presence", ROOM, payload={"event": "track", "key": "a", "state": {"n": 1}})
    await ann.received()
    late = Visitor(stage)
    late.send("subscribe", ROOM)

    assert (await late.received())[1] == presence("sync", currentPresences={"a": [{"n": 1}]})


@pytest.mark.capability("FB-064")
async def test_another_token_is_taken_for_all_channels(autojump_clock, stage, ann):
    ann.send("access_token", token=fake_token("authenticated", sub="new"))

    assert await ann.received() == [
        {"type": "ack", "payload": {"type": "access_token", "updated": True}}
    ]
    (subscription,) = stage.channels.roster(
        ChannelKey("test", is_private=False, sub_topic=ROOM)
    )
    assert subscription.identity.user_id == "new"


async def test_who_joins_after_that_speaks_with_the_other_token(autojump_clock, stage):
    visitor = Visitor(stage, role="anon")
    visitor.send("access_token", token=fake_token("authenticated", sub="new"))
    await visitor.subscribed(ROOM)

    (subscription,) = stage.channels.roster(
        ChannelKey("test", is_private=False, sub_topic=ROOM)
    )
    assert subscription.identity.user_id == "new"


@pytest.mark.capability("FB-060")
async def test_a_bad_token_is_told_and_ends_the_connection(autojump_clock, ann):
    ann.send("access_token", token="nonsense")

    (error,) = await ann.received()
    assert (error["type"], error["channel"]) == ("error", ROOM)
    assert ann.close_code == 1008


async def test_a_token_that_is_taken_back_ends_the_connection(stage, autojump_clock):
    token = fake_token("authenticated", sub="x")
    visitor = Visitor(stage, role="anon")
    visitor.send("access_token", token=token)
    await visitor.subscribed(ROOM)
    stage.verifier.refused[token] = Unauthorized("JWTRevoked", "gone")
    await trio.sleep(3600)

    assert (await visitor.received())[-1]["type"] == "error"
    assert visitor.close_code == 1008


async def test_a_channel_that_fails_is_told_and_ends_the_connection(stage, ann, autojump_clock):
    for _ in range(20):
        channel = stage.channel(ROOM)
        if channel is None:
            break
        stage.poison(channel)
        await trio.sleep(0.5)

    error, *_ = [m for m in await ann.received() if m["type"] == "error"]
    assert error["error"] == "the channel failed, connect again"
    assert ann.close_code == 1012


@pytest.mark.capability("FB-074")
async def test_a_slow_reader_is_told_before_it_is_cut(autojump_clock, ann):
    farewell = ann.farewell()

    text = "This client reads too slowly and is disconnected"
    assert farewell == [{"type": "error", "channel": ROOM, "error": text}]


async def test_nonsense_is_answered_a_few_times_only(autojump_clock, ann):
    for _ in range(FAULTS_ANSWERED + 5):
        ann.send_raw("nonsense")
    assert len(await ann.received()) == FAULTS_ANSWERED

    ann.send("broadcast", ROOM, event="e", payload={})
    ann.send_raw("nonsense")
    assert sorted([m["type"] for m in await ann.received()]) == ["broadcast", "error"]


async def test_a_connection_has_a_most_of_subscriptions(autojump_clock, stage):
    greedy = Visitor(stage)
    for number in range(JOINS_LIMIT):
        greedy.send("subscribe", f"room-{number}")
        if number % 100 == 0:
            await greedy.received()
    await greedy.received()
    greedy.send("subscribe", "one-more")

    assert [m["error"] for m in await greedy.received()] == [
        f"a connection has at most {JOINS_LIMIT} subscriptions"
    ]


async def test_one_channel_of_three_dialects_is_one_room(autojump_clock, stage, ann):
    supabase = stage.connect()
    await supabase.joined("realtime:chat", broadcast={"self": True})
    member = Member(stage, "carl", ROOM)
    await member.received()
    await ann.received()
    await supabase.received()

    supabase.broadcast({"from": "supabase"}, "realtime:chat", event="hello")
    assert await ann.received() == [broadcast("hello", {"from": "supabase"})]
    assert await member.heard() == [("message", "hello", {"from": "supabase"})]
    await supabase.received()

    ann.send("broadcast", ROOM, event="hello", payload={"from": "fluxbase"})
    (heard,) = await supabase.received()
    assert (heard.event, json.loads(heard.payload)) == ("hello", {"from": "fluxbase"})
    assert await member.heard() == [("message", "hello", {"from": "fluxbase"})]
    await ann.received()

    member.send("broadcast", "hello", source="goforward")
    assert await ann.received() == [broadcast("hello", {"source": "goforward"})]
