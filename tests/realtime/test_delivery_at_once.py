"""Broadcasts that are delivered in the turn of their publisher, and those that are not."""

from __future__ import annotations

import pytest

from actors.core.reports import CrashReport
from actors.realtime import channel
from actors.realtime.messages import ChannelKey
from protocol.events import UserBroadcast
from protocol.phoenix.binary import encode_user_broadcast_push
from protocol.phoenix.envelope import BinaryPush
from tests.support.memory_tenant import ROOM, open_stage


def numbers(messages):
    return [m.payload["payload"] for m in messages if m.event == "broadcast"]


class Turns:
    """Counts the messages that channels take from their mailboxes."""

    def __init__(self, monkeypatch):
        self.taken = 0
        handle = channel.ChannelActor._handle

        async def count(actor, message, inbox):
            self.taken += 1
            await handle(actor, message, inbox)

        monkeypatch.setattr(channel.ChannelActor, "_handle", count)


@pytest.fixture
def turns(monkeypatch):
    return Turns(monkeypatch)


async def test_a_small_channel_takes_no_turn_for_a_broadcast(autojump_clock, turns):
    async with open_stage() as stage:
        sender, other = stage.connect(), stage.connect("1.0.0")
        await sender.joined()
        await other.joined()
        before = turns.taken

        sender.broadcast(1)

        assert numbers(await other.received()) == [1]
        assert numbers(await sender.received()) == []
        assert turns.taken == before


async def test_a_large_channel_does(autojump_clock, turns, monkeypatch):
    monkeypatch.setattr(channel, "RECEIVERS_AT_ONCE", 1)
    async with open_stage() as stage:
        sender, other = stage.connect(), stage.connect()
        await sender.joined()
        await other.joined()
        before = turns.taken

        sender.broadcast(1)

        assert numbers(await other.received()) == [1]
        assert turns.taken == before + 1


async def test_an_echo_comes_behind_the_answer(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(broadcast={"ack": True, "self": True})

        client.broadcast(1)

        assert [m.event for m in await client.received()] == ["phx_reply", "broadcast"]


async def test_what_one_client_says_in_one_go_and_later_keeps_its_order(autojump_clock):
    async with open_stage() as stage:
        sender, other = stage.connect(), stage.connect()
        await sender.joined()
        await other.joined()

        for number in range(5):
            sender.broadcast(number)
        heard = numbers(await other.received())
        sender.broadcast(5)
        heard += numbers(await other.received())

        assert heard == list(range(6))


async def test_each_hears_what_its_version_and_wishes_allow(autojump_clock):
    async with open_stage() as stage:
        sender, old, new = stage.connect(), stage.connect("1.0.0"), stage.connect("2.0.0")
        for client in (sender, old, new):
            await client.joined()

        message = UserBroadcast("e", b"\1\2\3", is_binary=True)
        sender.send_raw(
            encode_user_broadcast_push(BinaryPush(None, "9", ROOM, "broadcast", message))
        )

        assert [m.payload for m in await new.received()] == [b"\1\2\3"]
        assert await old.received() == []


async def test_a_crash_is_the_channels_and_its_publisher_is_served_on(
    autojump_clock, monkeypatch
):
    deliver = channel.deliver_at_once

    def crash_once(roster, message, limit):
        monkeypatch.setattr(channel, "deliver_at_once", deliver)
        raise ZeroDivisionError

    async with open_stage() as stage:
        sender, other = stage.connect(), stage.connect()
        await sender.joined(broadcast={"ack": True})
        await other.joined()
        monkeypatch.setattr(channel, "deliver_at_once", crash_once)

        for number in range(2):
            sender.broadcast(number)
            answers = await sender.received()
            assert [m.payload["status"] for m in answers] == ["ok"]

        assert numbers(await other.received()) == [1]
        (crash,) = [report for report in stage.reports if isinstance(report, CrashReport)]
        assert (crash.name, crash.error) == (
            ChannelKey("test", False, "room"),
            "ZeroDivisionError",
        )
        assert crash.message == "Publish"
