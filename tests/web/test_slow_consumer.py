"""What happens to a WebSocket whose peer reads too slowly."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto import events

from actors.realtime.errors import SocketClosed
from actors.web.options import OutboxOptions
from tests.support.web import WebSocketPeers, text


def slow_peers() -> WebSocketPeers:
    """Return peers whose socket takes 200 bytes, and an outbox of 1000."""
    return WebSocketPeers(window=200, outbox=OutboxOptions(budget_bytes=1000))


async def overflow(socket) -> None:
    while socket.outbox.push(text("x" * 100)):
        pass


@pytest.mark.capability("SB-058", "SB-064", "M5-011", "M5-072")
async def test_a_slow_consumer_is_told_and_closed(autojump_clock):
    peers = slow_peers()

    async with peers.open_socket() as socket:
        await peers.receive_101()
        socket.tell_if_slow(lambda: text("system"))
        await overflow(socket)
        with pytest.raises(SocketClosed) as closed:
            await socket.receive()

        async with trio.open_nursery() as nursery:
            seen = []

            async def read():
                while not seen or isinstance(seen[-1], str):
                    seen.append(await peers.client.event())

            nursery.start_soon(read)

    assert closed.value.code == 1008
    assert seen[-2:] == ["system", 1008]
    assert set(seen[:-2]) == {"x" * 100}


async def test_a_slow_consumer_is_known_at_once_even_with_messages_waiting(autojump_clock):
    peers = slow_peers()

    async with peers.open_socket() as socket:
        for _ in range(3):
            await peers.client.send_event(events.TextMessage("hello"))
        await wait_all_tasks_blocked()
        await overflow(socket)

        with pytest.raises(SocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == 1008


async def test_a_slow_consumer_wakes_an_owner_that_waits(autojump_clock, nursery):
    peers = slow_peers()

    async with peers.open_socket() as socket:
        nursery.start_soon(overflow, socket)
        start = trio.current_time()
        with pytest.raises(SocketClosed):
            await socket.receive()
        assert trio.current_time() == start


@pytest.mark.capability("SB-059")
async def test_a_slow_consumer_is_cut_after_five_seconds_and_delays_nobody(autojump_clock):
    slow, other = slow_peers(), WebSocketPeers()

    async with other.upgrade.open_socket() as other_socket:
        await other.receive_101()
        start = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def own():
                async with slow.upgrade.open_socket() as socket:
                    await slow.receive_101()
                    await overflow(socket)

            nursery.start_soon(own)
            await wait_all_tasks_blocked()
            other_socket.outbox.push(text("on time"))
            assert await other.client.event() == "on time"
            assert trio.current_time() == start

        assert trio.current_time() - start == 5
        assert slow.transport.is_aborted
        assert slow.cap.queued_bytes == 0


async def test_a_flood_of_pings_without_reading_is_bounded(autojump_clock):
    peers = slow_peers()

    async with peers.open_socket() as socket:
        for _ in range(100):
            await peers.client.send_event(events.Ping(b"x" * 100))
        with pytest.raises(SocketClosed) as closed:
            await socket.receive()

    assert closed.value.code == 1008
