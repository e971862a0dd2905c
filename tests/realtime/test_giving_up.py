"""Channels and rows actors beyond their limit of crashes, in any order, and what comes after them."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

NOTES = [{"event": "*", "schema": "public", "table": "notes"}]
OTHER = [{"event": "*", "schema": "public", "table": "other"}]


async def crash_beyond_the_limit(stage, find) -> None:
    for _ in range(6):
        stage.poison(find())
        await trio.sleep(4)


async def test_a_new_channel_has_rows_while_those_of_the_one_given_up_still_wait(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        before, after = stage.connect(), stage.connect()
        await before.joined(postgres_changes=NOTES)
        stage.visibility.hold()
        source.insert((1, "a"))
        await crash_beyond_the_limit(stage, stage.channel)
        assert [m.event for m in await before.received()] == ["phx_error"]

        after.join(postgres_changes=NOTES)
        assert [m.event for m in await after.received()] == ["phx_reply", "system"]
        stage.visibility.release()
        source.insert((2, "b"))

        (change,) = await after.received()
        assert change.payload["data"]["record"]["id"] == 2
        assert await before.received() == []


async def test_the_router_forgets_a_channel_that_was_given_up(autojump_clock):
    async with open_stage(source=MemorySource()) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=NOTES)

        await crash_beyond_the_limit(stage, stage.channel)

        assert stage.feed.router.channels() == ()
        assert stage.channels_supervisor.children() == ()


@pytest.mark.capability("SB-015")
async def test_a_client_hears_once_that_its_rows_were_given_up(autojump_clock):
    async with open_stage(source=MemorySource()) as stage:
        client, other = stage.connect(), stage.connect()
        join_ref = await client.joined(postgres_changes=NOTES)
        last = stage.rows

        await crash_beyond_the_limit(stage, last)

        (error,) = await client.received()
        assert (error.event, error.ref) == ("phx_error", join_ref)
        await other.joined(postgres_changes=OTHER)
        await client.joined(postgres_changes=NOTES)
        assert stage.rows() is not None
