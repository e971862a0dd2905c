"""The unit tests that the sblite plan names for presence, as clients of this server see it.

C04: a key has Phoenix's `metas` where the plan has a list.
"""

from __future__ import annotations

import pytest

from tests.support.memory_tenant import ROOM, open_stage

ANN = {"name": "Ann", "phx_ref": "her own"}


def track(client, payload, topic=ROOM) -> str:
    return client.push(
        "presence", {"type": "presence", "event": "track", "payload": payload}, topic
    )


def untrack(client) -> str:
    return client.push("presence", {"type": "presence", "event": "untrack"})


def diffs(messages):
    return [m.payload for m in messages if m.event == "presence_diff"]


async def state_now(stage) -> dict:
    """Return what a newcomer is told."""
    newcomer = stage.connect()
    newcomer.join(presence={"enabled": True})
    (state,) = [m.payload for m in await newcomer.received() if m.event == "presence_state"]
    newcomer.leave_socket()
    return state


async def present(stage, key="user-1", payload=ANN):
    client = stage.connect()
    await client.joined(presence={"key": key})
    track(client, payload)
    await client.received()
    return client


@pytest.mark.capability("SB-083", "SB-091", "SB-095", "SB-141")
async def test_presence_track(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(presence={"key": "user-1"})

        ref = track(client, ANN)

        reply, diff = await client.received()
        assert (reply.ref, reply.payload) == (ref, {"status": "ok", "response": {}})
        (meta,) = diff.payload["joins"]["user-1"]["metas"]
        # A reference of the client's own is overwritten. The plan's has 8 characters; nobody counts them.
        assert meta["name"] == "Ann"
        assert len(meta["phx_ref"]) >= 8
        assert meta["phx_ref"] != "her own"
        assert await state_now(stage) == diff.payload["joins"]


@pytest.mark.capability("SB-057", "SB-142")
async def test_presence_multiple_connections(autojump_clock):
    async with open_stage() as stage:
        assert await state_now(stage) == {}

        for device in ("phone", "desk"):
            await present(stage, payload={"on": device})

        (metas,) = (await state_now(stage)).values()
        assert sorted(meta["on"] for meta in metas["metas"]) == ["desk", "phone"]
        assert len({meta["phx_ref"] for meta in metas["metas"]}) == 2


@pytest.mark.capability("SB-092", "SB-143")
async def test_presence_untrack(autojump_clock):
    async with open_stage() as stage:
        client = await present(stage)

        untrack(client)

        (diff,) = diffs(await client.received())
        assert diff["joins"] == {}
        assert len(diff["leaves"]["user-1"]["metas"]) == 1
        assert await state_now(stage) == {}


@pytest.mark.capability("SB-144")
async def test_presence_untrack_nonexistent(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(presence={"key": "user-1"})

        untrack(client)

        (reply,) = await client.received()
        assert reply.payload["status"] == "ok"


@pytest.mark.capability("SB-093")
async def test_a_connection_is_untracked_in_all_its_channels(autojump_clock):
    async with open_stage() as stage:
        client, observer = stage.connect(), stage.connect()
        topics = ("realtime:a", "realtime:b")
        for topic in topics:
            await client.joined(topic, presence={"key": "user-1"})
            await observer.joined(topic)
            track(client, ANN, topic)
        await observer.received()

        client.leave_socket()

        assert [list(diff["leaves"]) for diff in diffs(await observer.received())] == [
            ["user-1"]
        ] * 2


@pytest.mark.capability("SB-094")
async def test_a_state_that_was_told_does_not_change_afterwards(autojump_clock):
    async with open_stage() as stage:
        client = await present(stage)
        before = await state_now(stage)

        untrack(client)
        await client.received()

        assert list(before) == ["user-1"]
        assert await state_now(stage) == {}


@pytest.mark.capability("SB-084")
async def test_presence_without_a_key_gets_one_that_is_made_up(autojump_clock):
    # C11: the plan ignores it.
    async with open_stage() as stage:
        await present(stage, key="")

        (key,) = await state_now(stage)
        assert len(key) == 36
