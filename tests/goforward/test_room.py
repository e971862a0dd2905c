"""GoForward's channels in memory: who hears what, from whom, and as long as it may; by a virtual clock."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.realtime.errors import Refused
from actors.realtime.managed_channels import ManagedChannel
from actors.realtime.messages import ChannelKey
from actors.realtime.tenant import Limits
from protocol.managed import ChannelConfig
from tests.support.goforward import Member, dialect
from tests.support.memory_tenant import open_stage

CONNECTED = ("system", "connected", {"channel": "room"})


def joined(user, state=None):
    return ("presence", "join", {"user_id": user, "state": state or {}})


def left(user, state=None):
    return ("presence", "leave", {"user_id": user, "state": state or {}})


@pytest.fixture
async def stage(autojump_clock):
    async with open_stage(limits=Limits(join_error_delay_s=1.0)) as stage:
        yield stage


@pytest.fixture
async def alice(stage):
    """A member, who has heard that it is there."""
    member = Member(stage, "alice")
    assert await member.heard() == [CONNECTED, joined("alice")]
    return member


@pytest.fixture
async def bob(stage, alice):
    """A second one, whom the first has heard of."""
    member = Member(stage, "bob")
    assert await member.heard() == [CONNECTED, joined("alice"), joined("bob")]
    assert await alice.heard() == [joined("bob")]
    return member


@pytest.mark.capability("GF-001", "GF-004", "GF-028", "GF-029")
async def test_a_broadcast_is_a_message_for_everybody_and_its_sender(
    autojump_clock, stage, alice, bob
):
    bob.send("broadcast", "chat_message", message="Hello")

    for member in (alice, bob):
        (message,) = await member.received()
        assert (message["type"], message["event"]) == ("message", "chat_message")
        assert message["payload"] == {"message": "Hello"}
        assert message["user_id"] == "bob"


@pytest.mark.capability("GF-025")
async def test_what_a_client_says_of_itself_is_not_believed(autojump_clock, stage, alice):
    alice.send_raw(
        json.dumps(
            {
                "id": "msg_1",
                "type": "broadcast",
                "event": "e",
                "payload": {},
                "user_id": "the queen",
                "timestamp": "yesterday",
            }
        )
    )

    (message,) = await alice.received()
    assert message["user_id"] == "alice"
    assert message["id"].startswith("msg_16")
    assert message["timestamp"].startswith("2022-01-15T")


@pytest.mark.capability("GF-002", "GF-030", "GF-037", "GF-040", "GF-050")
async def test_a_state_is_told_to_everybody_with_the_time_it_was_set(
    autojump_clock, stage, alice, bob
):
    bob.send("presence", "update", state={"status": "away", "last_seen": "long ago"})

    for member in (alice, bob):
        (message,) = await member.received()
        assert (message["type"], message["event"]) == ("presence", "update")
        assert message["user_id"] == message["payload"]["user_id"] == "bob"
        state = message["payload"]["state"]
        assert state["status"] == "away"
        assert state["last_seen"].startswith("2022-01-15T")


@pytest.mark.capability("GF-038", "GF-039")
async def test_who_comes_and_goes_is_told_and_a_newcomer_hears_who_is_there(
    autojump_clock, stage, alice, bob
):
    bob.send("presence", "update", state={"status": "online"})
    await alice.received()

    carol = Member(stage, "carol")
    _, *there = await carol.received()
    assert [(m["event"], m["payload"]["user_id"]) for m in there] == [
        ("join", "alice"),
        ("join", "bob"),
        ("join", "carol"),
    ]
    assert there[1]["payload"]["state"]["status"] == "online"
    assert await alice.heard() == [joined("carol")]

    carol.go()
    assert await alice.heard() == [left("carol")]


async def test_a_user_with_two_sockets_joins_once_and_leaves_with_the_last(
    autojump_clock, stage, alice, bob
):
    second = Member(stage, "bob")
    assert await second.heard() == [CONNECTED, joined("alice"), joined("bob")]
    assert await alice.heard() == []

    second.send("presence", "update", state={"status": "here"})
    ((_, event, payload),) = await alice.heard()
    assert (event, payload["state"]["status"]) == ("update", "here")

    second.go()
    assert await alice.heard() == []
    bob.go()
    assert await alice.heard() == [left("bob")]


@pytest.mark.capability("GF-033")
async def test_a_ping_is_answered_to_who_sent_it(autojump_clock, stage, alice, bob):
    alice.send("ping", "ping")

    assert await alice.heard() == [("pong", "pong", {})]
    assert await bob.heard() == []


async def test_what_is_sent_before_the_channel_let_the_client_in_is_not_lost(
    autojump_clock, stage
):
    member = Member(stage, "early")
    member.send("presence", "update", state={"status": "online"})
    member.send("broadcast", "e", n=1)

    heard = await member.heard()
    assert heard[0] == CONNECTED
    assert ("message", "e", {"n": 1}) in heard
    (state,) = [payload["state"] for kind, _, payload in heard if kind == "presence"]
    assert state["status"] == "online"


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        b"\x00\x01",
        '{"type":"nonsense"}',
        '{"type":5}',
        '{"type":"broadcast","event":"e","payload":5}',
        '{"type":"broadcast","payload":{}}',
        '{"type":"presence","event":"update","payload":{}}',
        '{"type":"presence","event":"update","payload":{"state":[]}}',
        '{"type":"presence","event":"join","payload":{}}',
        '{"type":"system","event":"channel_closed","payload":{}}',
    ],
)
@pytest.mark.capability("GF-036", "GF-154")
async def test_a_frame_that_makes_no_sense_is_answered_and_ends_nothing(
    autojump_clock, stage, alice, frame
):
    alice.send_raw(frame)

    ((kind, event, payload),) = await alice.heard()
    assert (kind, event) == ("system", "error")
    assert payload["code"] == "INVALID_REQUEST"
    alice.send("ping")
    assert await alice.heard() == [("pong", "pong", {})]


async def test_of_many_senseless_frames_only_the_first_are_answered(
    autojump_clock, stage, alice
):
    for _ in range(100):
        alice.send_raw("no JSON")
    assert len(await alice.heard()) == 10

    alice.send("ping")
    alice.send_raw("no JSON")
    assert [event for _, event, _ in await alice.heard()] == ["pong", "error"]


async def test_a_client_that_floods_its_channel_before_it_is_in_is_closed(
    autojump_clock, stage
):
    stage.verifier.hold()
    member = Member(stage, "flood")
    for _ in range(65):
        member.send("ping")
    await wait_all_tasks_blocked()

    assert member.close_code == 1008
    stage.verifier.release()


@pytest.mark.capability("GF-113", "GF-134", "GF-157")
async def test_an_expired_token_is_told_and_ends_the_connection(stage, autojump_clock, alice):
    guest = Member(stage, "guest", expires_at=60.0)
    await guest.received()
    autojump_clock.jump(61)

    assert await guest.heard() == [
        (
            "system",
            "error",
            {
                "error": "authentication failed",
                "code": "AUTH_FAILED",
                "details": "Invalid or expired token",
            },
        )
    ]
    assert guest.close_code == 1008
    assert await alice.heard() == [joined("guest"), left("guest")]


async def test_a_join_that_is_refused_is_told_and_ends_the_connection(stage, autojump_clock):
    stage.tenant.status.is_private_only = True
    member = Member(stage, "alice")
    assert await member.heard() == []
    autojump_clock.jump(1.1)

    ((_, event, payload),) = await member.heard()
    assert (event, payload["code"]) == ("error", "PERMISSION_DENIED")
    assert member.close_code == 1008


async def test_who_is_in_a_channel_and_does_not_know_it_yet_takes_one_place(
    autojump_clock, stage
):
    members = [Member(stage, f"u{number}") for number in range(99)]
    await members[-1].received()
    channel = stage.tenant.managed.get("room")
    (*_, last) = stage.channels.roster(ChannelKey("test", False, "room"))
    channel.entering.add(last.key)

    assert (await Member(stage, "u100").heard())[0] == CONNECTED
    one_more = Member(stage, "u101")
    await trio.sleep(1.1)
    assert (await one_more.heard())[0][2]["code"] == "CHANNEL_FULL"


@pytest.mark.capability("GF-035")
async def test_a_channel_that_fails_is_told_and_ends_the_connection(
    stage, autojump_clock, alice
):
    for _ in range(6):
        stage.poison(stage.channel())
        await trio.sleep(4)

    heard = await alice.heard()
    assert heard[-1] == (
        "system",
        "channel_closed",
        {"reason": "the channel failed, connect again"},
    )
    assert alice.close_code == 1012


async def test_a_server_that_stops_says_so(autojump_clock, stage, alice):
    supervisor = stage.connections_supervisor
    (child,) = supervisor.children()
    await supervisor.stop_child(supervisor.find(child.name))

    assert ("system", "channel_closed", {"reason": "Server requested disconnect"}) in (
        await alice.heard()
    )
    assert alice.close_code == 1012


async def test_clients_of_both_dialects_share_a_room(autojump_clock, stage, alice):
    phoenix = stage.connect("1.0.0", role="authenticated", sub="phil")
    await phoenix.joined(broadcast={"self": False}, presence={"key": "phil", "enabled": True})

    alice.send("broadcast", "chat", text="hello phoenix")
    (message,) = await phoenix.received()
    assert (message.payload["event"], message.payload["payload"]) == (
        "chat",
        {"text": "hello phoenix"},
    )
    assert await alice.heard() == [("message", "chat", {"text": "hello phoenix"})]

    phoenix.broadcast({"text": "hello goforward"}, event="chat")
    (heard,) = await alice.received()
    assert (heard["type"], heard["event"], heard["payload"], heard["user_id"]) == (
        "message",
        "chat",
        {"text": "hello goforward"},
        "phil",
    )

    phoenix.track({"mood": "good"})
    assert await alice.heard() == [joined("phil", {"mood": "good"})]
    alice.send("presence", "update", state={"status": "busy"})
    diff = (await phoenix.received())[-1]
    assert diff.event == "presence_diff"
    (meta,) = diff.payload["joins"]["alice"]["metas"]
    assert meta["status"] == "busy"
    await alice.received()
    phoenix.untrack()
    assert await alice.heard() == [left("phil", {"mood": "good"})]


async def test_bytes_of_a_supabase_client_are_not_told_here(autojump_clock, stage, alice):
    phoenix = stage.connect(role="authenticated")
    await phoenix.joined()
    phoenix.send_raw(b"\x03\x01\x01\x0d\x01\x00\x00" + b"11realtime:roome" + b"\xff")

    assert await alice.heard() == []


async def test_what_is_private_is_another_room(autojump_clock, stage, alice):
    phoenix = stage.connect(role="service_role")
    await phoenix.joined(private=True)
    phoenix.broadcast({"secret": 1})

    assert await alice.heard() == []


async def test_the_server_pings_when_it_is_time(stage, autojump_clock):
    pings = []
    member = Member(stage, "alice", dialect=dialect(ping_interval_s=30.0))
    outbox = member.outbox
    push = outbox.push
    outbox.push = lambda data: pings.append(data) if data == b"\x89\x00" else push(data)
    await member.received()
    await trio.sleep(95)

    assert len(pings) == 3


async def test_a_token_whose_key_is_gone_ends_the_connection(stage, autojump_clock, alice):
    token = stage.verifier.verified[-1]
    stage.verifier.refused[token] = Refused("", "Unknown Error on Channel")
    autojump_clock.jump(301)

    ((_, event, payload),) = await alice.heard()
    assert (event, payload["code"]) == ("error", "AUTH_FAILED")


async def test_who_may_only_read_comes_in_without_an_error_and_is_told_once_what_it_may_not(
    autojump_clock,
    stage,
):
    config = ChannelConfig(write=frozenset({"admin"}))
    stage.tenant.managed.add(ManagedChannel("room", config=config, is_created=True))

    reader = Member(stage, "reader")
    assert await reader.heard() == [CONNECTED]

    reader.send("presence", "update", state={"status": "here"})
    reader.send("broadcast", "e", n=1)
    denied = {
        "error": "insufficient permissions",
        "code": "PERMISSION_DENIED",
        "required_permission": "write",
    }
    assert await reader.heard() == [("system", "error", denied)] * 2
