"""Clients that want to know when the database's changes stream in."""

from __future__ import annotations

import pytest
import trio

from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

READY = {"broadcast": {"replication_ready": True}}


def away() -> MemorySource:
    source = MemorySource()
    source.advice = "away"
    return source


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_it_is_told_once_when_the_stream_comes(autojump_clock, version):
    source = away()
    async with open_stage(source=source) as stage:
        client = stage.connect(version)
        await client.joined(**READY)
        await trio.sleep(20)
        assert await client.received() == []
        source.advice = None
        await trio.sleep(30)

        (system,) = await client.received()
        assert system.payload == {
            "extension": "system",
            "status": "ok",
            "message": "Replication connection established",
            "channel": "room",
        }
        source.break_off("away again")
        await client.received()
        source.advice = None
        await trio.sleep(100)
        assert await client.received() == []


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_after_a_minute_in_vain_the_subscription_ends(autojump_clock, version):
    async with open_stage(source=away()) as stage:
        client = stage.connect(version)
        join_ref = await client.joined(**READY)
        await trio.sleep(59.9)
        assert await client.received() == []
        await trio.sleep(0.2)

        system, close = await client.received()
        assert system.payload == {
            "extension": "system",
            "status": "error",
            "message": "Replication connection was not established in time",
            "channel": "room",
        }
        assert (close.event, close.ref) == ("phx_close", join_ref)
        assert stage.channel() is None
        client.push("heartbeat", topic="phoenix")
        assert len(await client.received()) == 1


@pytest.mark.parametrize("leaves", ["leave", "rejoin", "crash"])
async def test_whoever_is_gone_by_then_is_not_told(autojump_clock, leaves):
    async with open_stage(source=away()) as stage:
        client = stage.connect()
        join_ref = await client.joined(**READY)
        if leaves == "leave":
            client.push("phx_leave", join_ref=join_ref)
        elif leaves == "rejoin":
            client.join()
        else:
            await stage.channels_supervisor.stop_child(stage.channel())
        assert await client.received() != []
        await trio.sleep(120)

        assert await client.received() == []


async def test_a_client_that_does_not_ask_is_not_told(autojump_clock):
    async with open_stage(source=MemorySource()) as stage:
        client = stage.connect()
        await client.joined(broadcast={"replication_ready": "false"})
        await trio.sleep(120)

        assert await client.received() == []
