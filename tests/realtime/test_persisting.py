"""Broadcasts that their senders want stored: who hears them, how often, and what the sender is told."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from actors.realtime.errors import Forbidden, PolicyUndecided
from actors.realtime.messages import JoinKey
from actors.realtime.persisting import OWN, OwnBroadcasts
from protocol.events import UserBroadcast
from protocol.phoenix.binary import decode_server_frame
from protocol.phoenix.persist import BAD_PERSIST, BAD_TTL, TTL_LIMIT_S
from tests.support.memory_tenant import ROOM, open_stage
from tests.support.replays import MemoryReplays, MemoryStorage


def open_storing(replays, **options):
    return open_stage(source=replays.source, storage=MemoryStorage(replays), **options)


def kind3(ref: str, payload: bytes, persist, *, encoding=1) -> bytes:
    metadata = json.dumps({"persist": persist}).encode()
    strings = (b"1", ref.encode(), ROOM.encode(), b"e", metadata)
    return bytes((3, *map(len, strings), encoding)) + b"".join(strings) + payload


async def member(stage, **broadcast):
    client = stage.connect("2.0.0", "service_role")
    await client.joined(private=True, broadcast=broadcast)
    return client


async def replies(client):
    return [(m.ref, m.payload) for m in await client.received() if m.event == "phx_reply"]


async def heard(client):
    await trio.testing.wait_all_tasks_blocked()
    messages = client.socket.outbox.messages
    found = [decode_server_frame(data).message for data in messages if isinstance(data, bytes)]
    messages.clear()
    return found


@pytest.mark.parametrize("persist", [True, {"ttl": 60}, {}])
async def test_a_stored_broadcast_is_delivered_once_with_its_row_id(autojump_clock, persist):
    replays = MemoryReplays()
    async with open_storing(replays) as stage:
        sender, other = await member(stage, ack=True), await member(stage)

        sender.send_raw(kind3("9", b'{"a": 1}', persist))

        (message,) = await heard(other)
        assert isinstance(message, UserBroadcast)
        assert message.payload == b'{"a": 1}'
        assert set(json.loads(message.metadata)) == {"id"}
        assert await replies(sender) == [("9", {"status": "ok", "response": {}})]
        assert replays.ttls == [60 if persist == {"ttl": 60} else None]


@pytest.mark.parametrize("echo", [True, False])
async def test_the_sender_hears_its_own_only_if_it_wants_to(autojump_clock, echo):
    replays = MemoryReplays()
    async with open_storing(replays) as stage:
        sender = await member(stage, self=echo)

        sender.send_raw(kind3("9", b"\x00", True, encoding=0))

        assert [m.payload for m in await heard(sender)] == ([b"\x00"] if echo else [])
        assert len(stage.channels.own) == 0


@pytest.mark.parametrize(
    ("persist", "fault"),
    [
        ("yes", BAD_PERSIST),
        (1, BAD_PERSIST),
        ({"ttl": 0}, BAD_TTL),
        ({"ttl": -1}, BAD_TTL),
        ({"ttl": 1.5}, BAD_TTL),
        ({"ttl": "60"}, BAD_TTL),
        ({"ttl": TTL_LIMIT_S + 1}, BAD_TTL),
    ],
)
async def test_a_wish_that_cannot_be_granted_is_answered_and_not_delivered(
    autojump_clock, persist, fault
):
    replays = MemoryReplays()
    async with open_storing(replays) as stage:
        sender, other = await member(stage, ack=True), await member(stage)

        sender.send_raw(kind3("9", b"{}", persist))

        assert await replies(sender) == [
            ("9", {"status": "error", "response": {"error": fault}})
        ]
        assert await heard(other) == []


@pytest.mark.parametrize("persist", [False, None])
async def test_what_is_not_to_be_stored_is_broadcast_as_ever(autojump_clock, persist):
    replays = MemoryReplays()
    async with open_storing(replays) as stage:
        sender, other = await member(stage), await member(stage)

        sender.send_raw(kind3("9", b"{}", persist))

        assert [m.metadata for m in await heard(other)] == [b""]
        assert replays.ttls == []


async def test_a_public_channel_stores_nothing(autojump_clock):
    replays = MemoryReplays()
    async with open_storing(replays) as stage:
        sender = stage.connect("2.0.0")
        await sender.joined(broadcast={"ack": True})

        sender.send_raw(kind3("9", b"{}", True))

        ((_ref, payload),) = await replies(sender)
        assert payload["response"] == {
            "error": "Only a broadcast of a private channel can be stored"
        }


async def test_what_policies_deny_vanishes(autojump_clock):
    replays = MemoryReplays(errors=[Forbidden("Unauthorized", "Unauthorized")])
    async with open_storing(replays) as stage:
        sender, other = await member(stage, ack=True), await member(stage)

        sender.send_raw(kind3("9", b"{}", True))

        assert await replies(sender) == []
        assert await heard(other) == []
        assert len(stage.channels.own) == 0


async def test_a_database_that_is_away_is_told(autojump_clock):
    away = PolicyUndecided("UnableToConnectToProject", "it is away")
    replays = MemoryReplays(errors=[away])
    async with open_storing(replays) as stage:
        sender = await member(stage, ack=True)

        sender.send_raw(kind3("9", b"{}", True))

        ((_ref, payload),) = await replies(sender)
        assert payload == {"status": "error", "response": {"error": "it is away"}}


def test_only_so_many_senders_are_remembered():
    own = OwnBroadcasts()
    for number in range(OWN + 1):
        own.note(f"{number}", JoinKey("conn_1", number))

    assert len(own) == OWN
    assert own.sender("0") == ()
    assert own.sender(f"{OWN}") == (JoinKey("conn_1", OWN),)
