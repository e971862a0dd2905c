"""A node that stops sends its clients home one after the other."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.memory_tenant import open_stage

#: What connections of a stage have to stop.
GRACE_S = 5.0


def note_goodbyes(clients) -> list[float]:
    """Return a list to which the time is added whenever one of the clients is sent home."""
    times: list[float] = []

    def watch(socket):
        close = socket.close

        async def close_and_note(code, reason=""):
            assert code == 1012
            times.append(trio.current_time())
            await close(code, reason)

        socket.close = close_and_note

    for client in clients:
        watch(client.socket)
    return times


@pytest.mark.parametrize(
    ("count", "within_s"), [(1, 0.01), (10, 0.1), (500, GRACE_S / 2), (1000, GRACE_S / 2)]
)
async def test_they_leave_evenly_and_few_of_them_soon(autojump_clock, count, within_s):
    async with open_stage() as stage:
        clients = [stage.connect() for _ in range(count)]
        times = note_goodbyes(clients)
        await wait_all_tasks_blocked()
        start = trio.current_time()

    after = [time - start for time in times]
    assert len(after) == count
    assert after[-1] <= within_s
    for tenth in range(10):
        begin, end = within_s * tenth / 10, within_s * (tenth + 1) / 10
        assert sum(begin <= at < end for at in after) <= count / 10 + 1


async def test_who_waits_for_its_turn_is_served_and_one_that_stops_alone_does_not_wait(
    autojump_clock,
):
    async with open_stage() as stage:
        supervisor = stage.connections_supervisor

        def stop(children):
            for child in children:
                nursery.start_soon(supervisor.stop_child, supervisor.find(child.name))

        async with trio.open_nursery() as nursery:
            alone = stage.connect()
            await alone.joined()
            stop(supervisor.children())
            await wait_all_tasks_blocked()
            assert alone.socket.outbox.close_code == 1012

            others = [stage.connect() for _ in range(100)]
            await wait_all_tasks_blocked()
            before = supervisor.children()
            last = stage.connect()
            await last.joined(broadcast={"self": True})
            stop(before)
            await wait_all_tasks_blocked()
            stop(child for child in supervisor.children() if child not in before)
            last.broadcast({"still": "here"})
            (heard,) = await last.received()

            assert heard.payload["payload"] == {"still": "here"}
            assert last.socket.outbox.close_code is None
        assert {client.socket.outbox.close_code for client in (*others, last)} == {1012}


async def test_a_crash_while_saying_goodbye_keeps_nobody_else(autojump_clock):
    async with open_stage() as stage:
        clients = [stage.connect() for _ in range(3)]
        await wait_all_tasks_blocked()

        async def crash(code, reason=""):
            raise ZeroDivisionError

        clients[1].socket.close = crash
        start = trio.current_time()

    codes = [client.socket.outbox.close_code for client in clients]
    assert codes == [1012, 1011, 1012]
    assert [report.error for report in stage.reports] == ["ZeroDivisionError"]
    assert trio.current_time() - start < 1
