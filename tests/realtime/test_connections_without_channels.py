"""How long a connection may go on without having joined anything."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.tenant import Limits
from protocol import frames
from tests.support.memory_tenant import MemorySocket, open_stage

#: Clients that are alive send a heartbeat now and then.
HEARTBEAT_S = 25


class SilentSocket(MemorySocket):
    """The server's end of a client that does not answer CLOSE."""

    def __init__(self) -> None:
        super().__init__()
        self.closed_at: list[float] = []

    async def close(self, code, reason="") -> None:
        # A bug in here ends the connection, and with it what would else go on without a pause.
        assert not self.closed_at
        self.closed_at.append(trio.current_time())
        self.outbox.push(frames.close(code, reason))
        await trio.sleep_forever()


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


async def test_a_client_that_does_not_answer_its_end_is_told_of_it_once(autojump_clock):
    async with open_stage(limits=Limits(no_channel_timeout_s=3.0)) as stage:
        client = stage.connect()
        client.socket = SilentSocket()
        await trio.sleep(60)

        assert client.socket.closed_at == [pytest.approx(3.0)]
        assert stage.reports == []
        assert stage.connections_supervisor.children() == ()
