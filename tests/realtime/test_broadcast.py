"""Broadcasts through a channel, as its subscribers hear them."""

from __future__ import annotations

import json

import pytest

from actors.realtime.tenant import Limits
from tests.support.memory_tenant import open_stage

VERSIONS = ["1.0.0", "2.0.0"]


def payloads(messages):
    return [m.payload["payload"] for m in messages if m.event == "broadcast"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_broadcast_reaches_the_others_and_not_its_sender(autojump_clock, version):
    async with open_stage() as stage:
        sender, other = stage.connect(version), stage.connect(version)
        await sender.joined()
        await other.joined()

        sender.broadcast({"x": 1})

        assert payloads(await other.received()) == [{"x": 1}]
        assert await sender.received() == []


async def test_self_lets_the_sender_hear_its_own(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(broadcast={"self": True})

        client.broadcast({"x": 1})

        assert payloads(await client.received()) == [{"x": 1}]


async def test_ack_answers_each_broadcast_and_none_is_answered_without(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(broadcast={"ack": True})
        ref = client.broadcast({})

        (reply,) = await client.received()

        assert (reply.event, reply.ref, reply.payload["status"]) == ("phx_reply", ref, "ok")


@pytest.mark.capability("SB-030", "SB-053")
async def test_other_topics_and_private_channels_of_the_same_name_hear_nothing(autojump_clock):
    async with open_stage() as stage:
        sender, elsewhere = stage.connect(), stage.connect()
        private = stage.connect(role="service_role")
        await sender.joined()
        await elsewhere.joined("realtime:room2")
        await private.joined(private=True)

        sender.broadcast({})

        assert await elsewhere.received() == []
        assert await private.received() == []


async def test_broadcasts_of_one_turn_arrive_in_order_and_in_one_push(autojump_clock):
    async with open_stage() as stage:
        sender, other = stage.connect(), stage.connect("1.0.0")
        await sender.joined()
        await other.joined()
        pushes = other.socket.outbox.pushes

        for number in range(20):
            sender.broadcast(number)

        assert payloads(await other.received()) == list(range(20))
        assert other.socket.outbox.pushes < pushes + 20


async def test_a_payload_over_the_limit_is_refused_with_ack_and_dropped_without(autojump_clock):
    async with open_stage(limits=Limits(payload_bytes=100)) as stage:
        acked, silent, other = stage.connect(), stage.connect(), stage.connect()
        await acked.joined(broadcast={"ack": True})
        await silent.joined()
        await other.joined()

        acked.broadcast("x" * 200)
        silent.broadcast("x" * 200)

        (reply,) = await acked.received()
        assert reply.payload == {"status": "error", "response": "payload_size_exceeded"}
        assert await silent.received() == []
        assert await other.received() == []


async def test_a_dead_subscriber_does_not_disturb_the_others(autojump_clock):
    async with open_stage() as stage:
        sender, dead, other = stage.connect(), stage.connect(), stage.connect()
        for client in (sender, dead, other):
            await client.joined()
        dead.socket.outbox.is_dead = True

        sender.broadcast(1)

        assert payloads(await other.received()) == [1]


async def test_a_channel_ends_when_its_last_subscriber_is_gone(autojump_clock):
    async with open_stage() as stage:
        leaver, dropped = stage.connect(), stage.connect()
        join_ref = await leaver.joined()
        await dropped.joined()

        leaver.push("phx_leave", join_ref=join_ref)
        await leaver.received()
        assert stage.channel() is not None
        dropped.leave_socket()
        await leaver.received()

        assert stage.channel() is None


async def test_a_payload_that_is_no_object_reaches_nobody_and_is_refused_with_ack(
    autojump_clock,
):
    async with open_stage() as stage:
        sender, other = stage.connect(), stage.connect()
        await sender.joined(broadcast={"ack": True})
        await other.joined()

        for payload in (None, 7, "text", [1]):
            sender.send_raw(f'[null,"9","realtime:room","broadcast",{json.dumps(payload)}]')

        replies = await sender.received()
        assert {m.payload["response"] for m in replies if m.ref == "9"} == {
            "payload_not_an_object"
        }
        assert await other.received() == []
