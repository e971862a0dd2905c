"""Joins, leaves and joins again that overtake each other, in every order in which trio may run their tasks."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.realtime.messages import ChannelKey
from actors.realtime.ports import Identity
from protocol.managed import ChannelConfig
from tests.support.goforward import Member
from tests.support.goforward_api import open_goforward
from tests.support.memory_tenant import ROOM, open_stage

#: The order in which trio runs tasks that are ready together is random: each round is another draw.
ROUNDS = 60


@pytest.mark.parametrize("ticks", range(6))
async def test_joining_and_leaving_in_one_breath_leaves_no_channel_behind(
    autojump_clock, ticks
):
    async with open_stage() as stage:
        client = stage.connect()
        for number in range(ROUNDS):
            topic = f"{ROOM}-{number}"
            join_ref = client.join(topic)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            client.push("phx_leave", topic=topic, join_ref=join_ref)
        await trio.testing.wait_all_tasks_blocked()

        assert stage.channels_supervisor.children() == ()


@pytest.mark.parametrize("ticks", range(6))
async def test_who_joined_again_and_left_in_one_breath_hears_nothing_more(
    autojump_clock, ticks
):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        await other.joined()
        for _ in range(ROUNDS):
            await client.joined()
            join_ref = client.join()
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            client.push("phx_leave", join_ref=join_ref)
            last = (await client.received())[-1]
            assert (last.event, last.ref) == ("phx_close", join_ref)

            other.broadcast(1)
            assert await client.received() == []


@pytest.mark.parametrize("ticks", range(6))
async def test_who_joined_thrice_in_one_breath_hears_everything_once(autojump_clock, ticks):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        await other.joined()
        for _ in range(ROUNDS):
            for _ in range(3):
                client.join()
                for _ in range(ticks):
                    await trio.lowlevel.checkpoint()
            await client.received()

            other.broadcast(1)
            assert len(await client.received()) == 1


@pytest.mark.parametrize("ticks", range(10))
async def test_who_joins_while_a_channel_is_closed_to_it_does_not_stay(autojump_clock, ticks):
    nobody = ChannelConfig(read=frozenset())
    async with open_goforward() as api:
        for number in range(ROUNDS):
            name = f"room-{number}"
            client = api.stage.connect(role="user")
            if number % 2:
                await client.joined(f"realtime:{name}")
            client.join(f"realtime:{name}")
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()

            await api.admin.create(name, nobody, Identity("user", b"{}", 1e12))
            await trio.sleep(10)

            assert not roster(api, name)


@pytest.mark.parametrize("ticks", range(10))
async def test_who_connects_while_a_channel_is_deleted_is_sent_away_or_creates_it(
    autojump_clock, ticks
):
    async with open_goforward() as api:
        for number in range(ROUNDS):
            name = f"room-{number}"
            await api.create(name)
            Member(api.stage, "ann", name)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()

            await api.admin.delete(api.managed.get(name))
            await trio.sleep(10)

            assert bool(roster(api, name)) == (api.managed.get(name) is not None)


def roster(api, name):
    tenant = api.stage.tenant
    return tenant.channels.roster(ChannelKey(tenant.name, is_private=False, sub_topic=name))
