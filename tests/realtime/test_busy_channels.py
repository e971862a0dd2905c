"""Channels that are full, and joins that wait: who is slowed down by them, and who is not."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from actors.core.spec import ChildSpec
from actors.realtime.channel import ChannelActor
from actors.realtime.channels import Channels
from actors.realtime.joins import UNDER_WAY
from actors.realtime.messages import Publish
from actors.realtime.roster import Roster
from actors.realtime.topic_presence import TopicPresence
from actors.realtime.tracks import Tracks
from protocol.presence.published import Published
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

#: Messages that fit into a channel of these tests while it holds one in hand.
CAPACITY = 2
#: With so many within a minute a channel is given up.
CRASHES = 6
ROWS = {"postgres_changes": [{"schema": "public", "table": "notes"}]}


class SlowChannel(ChannelActor):
    """A channel that handles nothing that is published until `gate` is set."""

    gate: trio.Event

    def _deal_at_once(self, message) -> bool:
        return False

    async def _handle(self, message, inbox) -> None:
        if isinstance(message, Publish):
            await self.gate.wait()
        await super()._handle(message, inbox)


class SlowChannels(Channels):
    def channel_spec(self, key):
        roster = Roster()
        presence = TopicPresence(key, Tracks(self._metrics), Published())
        return ChildSpec(
            name=key,
            factory=lambda: SlowChannel(roster, presence, self, self._quota, self._metrics),
            rank=2,
            capacity=CAPACITY,
            heir=roster,
        )


@asynccontextmanager
async def slow_stage(**options):
    SlowChannel.gate = trio.Event()
    async with open_stage(channels_type=SlowChannels, **options) as stage:
        yield stage


def numbers(messages):
    return [m.payload["payload"] for m in messages if m.event == "broadcast"]


def replies(messages):
    return {m.ref: m.payload for m in messages if m.event == "phx_reply"}


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_a_broadcast_that_finds_no_room_for_five_seconds_is_answered_channel_busy(
    autojump_clock, version
):
    async with slow_stage() as stage:
        client, other = stage.connect(version), stage.connect(version)
        await client.joined(broadcast={"ack": True})
        taken = [client.broadcast(n) for n in range(1 + CAPACITY)]
        refused = client.broadcast("late")
        waiting = client.push("heartbeat", topic="phoenix")

        assert list(replies(await client.received())) == taken
        other.push("heartbeat", topic="phoenix")
        assert len(await other.received()) == 1
        await trio.sleep(4.9)
        assert await client.received() == []
        await trio.sleep(0.2)

        assert replies(await client.received()) == {
            refused: {"status": "error", "response": "channel_busy"},
            waiting: {"status": "ok", "response": {}},
        }


async def test_a_broadcast_that_finds_no_room_is_dropped_without_a_word_if_nobody_asked(
    autojump_clock,
):
    async with slow_stage() as stage:
        client, listener = stage.connect(), stage.connect()
        await client.joined()
        await listener.joined()
        for n in range(1 + CAPACITY):
            client.broadcast(n)
        client.broadcast("late")
        await trio.sleep(5.1)
        SlowChannel.gate.set()

        assert await client.received() == []
        assert numbers(await listener.received()) == [0, 1, 2]


async def test_what_waited_for_a_join_and_finds_the_channel_full_parks_the_reader(
    autojump_clock,
):
    source = MemorySource()
    source.advice = "away"
    async with slow_stage(source=source) as stage:
        listener = stage.connect()
        await listener.joined()
        client = stage.connect()
        client.join(**ROWS)
        for n in range(10):
            client.broadcast(n)
        await trio.sleep(2.1)
        assert [m.event for m in await client.received()][:1] == ["phx_reply"]

        for n in range(10, 20):
            client.broadcast(n)
        heartbeat = client.push("heartbeat", topic="phoenix")
        await trio.sleep(1)
        assert replies(await client.received()) == {}
        SlowChannel.gate.set()

        assert heartbeat in replies(await client.received())
        assert numbers(await listener.received()) == list(range(20))


async def test_what_waited_for_a_join_whose_channel_crashed_meanwhile_is_answered(
    autojump_clock,
):
    source = MemorySource()
    source.advice = "away"
    async with slow_stage(source=source) as stage:
        client = stage.connect()
        client.join("realtime:full", **ROWS)
        for n in range(10):
            client.broadcast(n, "realtime:full")
        await trio.sleep(0.5)
        client.join(broadcast={"ack": True}, **ROWS)
        waited = client.broadcast("late")
        # Both are joined then, and what waited for the first keeps the second from its turn.
        await trio.sleep(2.1)
        assert len(replies(await client.received())) == 2
        for _ in range(CRASHES):
            stage.poison(stage.channel())
            await trio.sleep(1)
        assert "phx_error" in [m.event for m in await client.received()]
        SlowChannel.gate.set()

        assert replies(await client.received())[waited]["status"] == "error"


async def test_a_join_that_waits_delays_neither_heartbeats_nor_other_channels(autojump_clock):
    source = MemorySource()
    source.advice = "away"
    async with open_stage(source=source) as stage:
        client, other = stage.connect(), stage.connect()
        await other.joined("realtime:other")
        client.join(**ROWS, postgres_changes_options={"wait": True})
        client.join("realtime:refused", token="nonsense")
        start = trio.current_time()

        await client.joined("realtime:other")
        heartbeat = client.push("heartbeat", topic="phoenix")
        assert list(replies(await client.received())) == [heartbeat]
        other.broadcast(1, "realtime:other")
        assert numbers(await client.received()) == [1]
        assert trio.current_time() == start


async def test_a_client_cannot_have_more_joins_under_way_than_there_are_places(autojump_clock):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        for number in range(UNDER_WAY):
            client.join(f"realtime:{number}", token="nonsense")
        assert await client.received() == []
        client.join("realtime:more", token="nonsense")
        heartbeat = client.push("heartbeat", topic="phoenix")
        assert await client.received() == []
        await other.joined()
        await trio.sleep(5.1)

        told = replies(await client.received())
        assert len(told) == UNDER_WAY + 1
        assert told[heartbeat]["status"] == "ok"
        await trio.sleep(5.1)
        assert len(await client.received()) == 1
