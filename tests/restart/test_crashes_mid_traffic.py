"""Channel and rows actors crash in the middle of traffic, and clients notice nothing but the poison.

On the virtual clock, so that every waiting point can be hit on purpose.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.core.errors import Poisoned
from actors.realtime.fanout import SENDS_PER_CHECKPOINT
from tests.support.memory_tenant import Heirless, open_stage
from tests.support.source import MemorySource
from tests.support.tripwire import lay_tripwire

EVERYTHING = [{"event": "*", "schema": "public", "table": "notes"}]


def numbers(messages):
    return [m.payload["payload"]["n"] for m in messages if m.event == "broadcast"]


def row_ids(messages):
    return [
        m.payload["data"]["record"]["id"] for m in messages if m.event == "postgres_changes"
    ]


async def play_between_numbers(stage, clients, *, count=60):
    """Publish 0..count-1 with poison between some of them, and return what each client heard."""
    sender = stage.connect()
    await sender.joined()
    for number in range(count):
        sender.broadcast({"n": number})
        if number in (10, 20, 35):
            # Queue the poison between two numbers, before the channel has taken either.
            await trio.testing.wait_all_tasks_blocked(0)
            if stage.channel() is not None:
                stage.poison(stage.channel())
        if number % 7 == 0:
            await trio.sleep(1)
    await trio.sleep(10)
    return [numbers(await client.received()) for client in clients]


async def test_poison_between_numbered_broadcasts_loses_nothing_but_itself(autojump_clock):
    async with open_stage() as stage:
        clients = [stage.connect(v) for v in ("1.0.0", "2.0.0") for _ in range(10)]
        for client in clients:
            await client.joined()

        heard = await play_between_numbers(stage, clients)

        assert heard == [list(range(60))] * 20
        assert sum(type(report).__name__ == "CrashReport" for report in stage.reports) == 3


async def test_without_the_heir_the_same_poison_loses_broadcasts(autojump_clock):
    async with open_stage(channels_type=Heirless) as stage:
        clients = [stage.connect() for _ in range(3)]
        for client in clients:
            await client.joined()

        heard = await play_between_numbers(stage, clients)

        assert heard != [list(range(60))] * 3


async def test_poison_queued_among_messages_of_one_batch_loses_only_itself(autojump_clock):
    async with open_stage() as stage:
        sender, other = stage.connect(), stage.connect()
        await sender.joined()
        await other.joined()
        channel = stage.channel()
        # The connection's reader and the channel both get their turn only when this test waits.
        for number in range(30):
            sender.broadcast({"n": number})
            if number == 15:
                await trio.lowlevel.checkpoint()
                stage.channels_supervisor.poison(channel)

        assert numbers(await other.received()) == list(range(30))
        assert stage.channel() is channel


@pytest.mark.parametrize("nth", [1, SENDS_PER_CHECKPOINT, SENDS_PER_CHECKPOINT + 1])
async def test_a_crash_in_the_middle_of_a_fan_out_loses_and_repeats_nothing(
    autojump_clock, nth
):
    async with open_stage() as stage:
        clients = [stage.connect() for _ in range(3 * SENDS_PER_CHECKPOINT)]
        for client in clients:
            client.join()
        await clients[-1].received()
        roster = next(info for info in stage.channels_supervisor.children())
        assert roster.heir_size == len(clients)
        sender = stage.connect()
        await sender.joined()
        set_tripwire(stage, clients[nth - 1], stage.channel())

        for number in range(5):
            sender.broadcast({"n": number})
        await trio.sleep(5)

        assert any(type(report).__name__ == "CrashReport" for report in stage.reports)
        for client in clients:
            assert numbers(await client.received()) == list(range(5))


def set_tripwire(stage, client, ref) -> None:
    """Crash an actor when its fan-out comes by the client."""
    lay_tripwire(
        stage.channels_supervisor,
        stage.channel().name,
        ref,
        at=lambda subscription: subscription.outbox is client.socket.outbox,
    )


async def test_a_rows_actor_that_crashes_while_it_asks_loses_and_repeats_nothing(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        stage.visibility.hold()
        source.insert(*((number, "x") for number in range(10)))
        await client.received()
        stage.channels_supervisor.fail(stage.rows(), Poisoned("while asking"))
        source.insert(*((number, "x") for number in range(10, 20)))
        await client.received()
        stage.visibility.release()
        await trio.sleep(5)

        assert row_ids(await client.received()) == list(range(20))


async def test_a_rows_actor_that_crashes_mid_fan_out_loses_and_repeats_nothing(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        clients = [stage.connect() for _ in range(2 * SENDS_PER_CHECKPOINT)]
        for client in clients:
            client.join(postgres_changes=EVERYTHING)
        await clients[-1].received()
        set_tripwire(stage, clients[3], stage.rows())

        source.insert((1, "a"), (2, "b"))
        await trio.sleep(5)
        source.insert((3, "c"))
        await trio.sleep(5)

        assert any(type(report).__name__ == "CrashReport" for report in stage.reports)
        for client in clients:
            assert row_ids(await client.received()) == [1, 2, 3]


async def test_poison_between_wake_ups_of_a_rows_actor_loses_no_row(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        for number in range(20):
            source.insert((number, "x"))
            if number in (3, 9, 15):
                stage.poison(stage.rows())
                await trio.sleep(1)
        await trio.sleep(5)

        assert row_ids(await client.received()) == list(range(20))


async def test_a_change_that_crashes_its_handler_twice_is_skipped_aloud(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        stage.visibility.hold()
        for number in range(10):
            source.insert((number, "x"))
        source.insert_raw(("10",))  # a row with too few values is a bug, not bad input
        source.insert((11, "x"))
        await client.received()
        stage.visibility.release()
        await trio.sleep(30)

        messages = await client.received()
        assert row_ids(messages) == [*range(10), 11]
        assert [m.payload["message"] for m in messages if m.event == "system"] == [
            "A change could not be processed and was skipped"
        ]


async def test_a_listener_that_crashes_between_changes_files_each_once(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        await client.received()
        again = [stage.feed.log.get(0).change]

        source.commit(*again)
        source.insert((2, "b"))

        assert row_ids(await client.received()) == [2]


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_beyond_the_limit_clients_see_phx_error_and_may_join_again(
    autojump_clock, version
):
    async with open_stage() as stage:
        client, other = stage.connect(version), stage.connect(version)
        join_ref = await client.joined()
        await other.joined()
        for _ in range(6):
            stage.poison(stage.channel())
            await trio.sleep(3)

        (failed,) = await client.received()
        assert (failed.event, failed.ref, failed.payload) == ("phx_error", join_ref, {})
        assert client.socket.outbox.close_code is None
        await client.joined()
        await other.received()
        await other.joined()
        other.broadcast({"n": 1})
        assert numbers(await client.received()) == [1]


async def test_a_rows_actor_beyond_its_limit_fails_only_those_who_want_rows(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        rows_client, plain = stage.connect(), stage.connect()
        await rows_client.joined(postgres_changes=EVERYTHING)
        await plain.joined()
        for _ in range(6):
            stage.poison(stage.rows())
            await trio.sleep(3)

        assert [m.event for m in await rows_client.received()] == ["phx_error"]
        assert await plain.received() == []
        await rows_client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        assert row_ids(await rows_client.received()) == [1]


async def test_a_crash_of_a_connection_closes_its_socket_alone(autojump_clock):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        await client.joined()
        await other.joined()
        (doomed, *_rest) = stage.connections_supervisor.children()

        stage.connections_supervisor.poison(stage.connections_supervisor.find(doomed.name))
        await other.received()
        await trio.sleep(1)

        assert client.socket.outbox.close_code == 1011
        assert other.socket.outbox.close_code is None
        other.broadcast({"n": 1})
        assert stage.channel() is not None
