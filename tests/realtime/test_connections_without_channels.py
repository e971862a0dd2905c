"""How long a connection may go on without having joined anything."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.tenant import Limits
from tests.support.memory_tenant import open_stage

#: Clients that are alive send a heartbeat now and then.
HEARTBEAT_S = 25


async def live(client, seconds: float) -> None:
    """Send heartbeats for so long, and nothing else."""
    for _ in range(int(seconds // HEARTBEAT_S)):
        client.push("heartbeat", topic="phoenix")
        await trio.sleep(HEARTBEAT_S)
    await client.received()


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_a_connection_that_joins_nothing_is_closed_normally(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        await live(client, 599)
        assert client.socket.outbox.close_code is None
        await trio.sleep(30)

        assert client.socket.outbox.close_code == 1000
        await client.received()
        assert stage.connections_supervisor.children() == ()


async def test_a_channel_keeps_it_open_and_its_end_starts_the_time(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await live(client, 500)
        join_ref = await client.joined()
        await live(client, 5000)
        client.push("phx_leave", join_ref=join_ref)
        await live(client, 575)
        assert client.socket.outbox.close_code is None
        await live(client, 50)

        assert client.socket.outbox.close_code == 1000


async def test_refused_joins_do_not_keep_it_open_for_ever(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        for _ in range(50):
            client.join(token="nonsense")
            await live(client, 50)

        assert client.socket.outbox.close_code == 1000


async def test_the_time_is_a_setting(autojump_clock):
    async with open_stage(limits=Limits(no_channel_timeout_s=3.0)) as stage:
        client = stage.connect()
        await trio.sleep(3.1)

        assert client.socket.outbox.close_code == 1000
