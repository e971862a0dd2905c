"""Broadcasts from the database: who hears them, in which shape, how often, and what is skipped."""

from __future__ import annotations

import json

import pytest
import trio.testing
from attrs import evolve

from actors.core.errors import Poisoned
from actors.realtime.change_ports import Gap
from actors.realtime.ports import Grants
from actors.realtime.quota import QuotaLimits
from actors.realtime.tenant import Limits
from protocol.changes.model import Kind
from protocol.phoenix import PhoenixDialect
from protocol.phoenix.binary import decode_server_frame
from tests.support.memory_tenant import open_stage
from tests.support.source import MESSAGES, MemorySource, stored_row

ROW_ID = "8f14e45f-ceea-467f-a0e6-1d6c9a4b7c11"


class Readers:
    """Policies that let everybody in who is named by role: for broadcasts, or for presence alone."""

    def __init__(self, *roles: str, presence_only: str = "") -> None:
        self.roles, self.presence_only = roles, presence_only

    async def may_read(self, question, *, presence):
        role = question.identity.role
        return Grants(broadcast=role in self.roles, presence=role == self.presence_only)

    async def may_write(self, question):
        return await self.may_read(question, presence=True)


@pytest.fixture
def source():
    return MemorySource()


@pytest.fixture
async def stage(source, autojump_clock):
    async with open_stage(source=source) as stage:
        await trio.testing.wait_all_tasks_blocked()
        yield stage


def numbers(messages):
    return [message.payload["payload"]["n"] for message in messages]


def of_number(number: int, **options):
    return {"payload": json.dumps({"n": number}), **options}


async def test_text_clients_read_the_row_id_as_meta(stage, source, autojump_clock):
    client = stage.connect("1.0.0")
    await client.joined()

    source.send({"payload": '{"a": 1}', "row_id": ROW_ID})

    (message,) = await client.received()
    assert (message.event, message.ref) == ("broadcast", None)
    assert message.payload == {
        "type": "broadcast",
        "event": "e",
        "payload": {"a": 1},
        "meta": {"id": ROW_ID},
    }


@pytest.mark.parametrize(
    ("stored", "is_binary", "payload"),
    [({"payload": '{"a": 1}'}, False, b'{"a": 1}'), ({"data": b"\x00\xff"}, True, b"\x00\xff")],
    ids=["json", "bytes"],
)
async def test_binary_clients_read_the_row_id_as_metadata(
    stage, source, autojump_clock, stored, is_binary, payload
):
    client = stage.connect("2.0.0")
    await client.joined()

    source.send({"row_id": ROW_ID, **stored})

    await trio.testing.wait_all_tasks_blocked()
    frame = decode_server_frame(client.socket.outbox.messages.pop())
    assert (frame.topic, frame.message.event) == ("realtime:room", "e")
    assert frame.message.payload == payload
    assert frame.message.is_binary is is_binary
    assert json.loads(frame.message.metadata) == {"id": ROW_ID}


async def test_bytes_do_not_go_to_text_clients(stage, source, autojump_clock):
    client = stage.connect("1.0.0")
    await client.joined()

    source.send({"data": b"\x00"}, of_number(1))

    assert numbers(await client.received()) == [1]


async def test_a_topic_that_nobody_joined_starts_nothing(stage, source, autojump_clock):
    source.send({"topic": "elsewhere"})
    await trio.testing.wait_all_tasks_blocked()

    assert stage.channel("elsewhere") is None
    assert not stage.feed.broadcasts.references


async def test_public_rows_are_not_for_private_channels_nor_the_other_way_round(
    source, autojump_clock
):
    async with open_stage(source=source, policies=Readers("anon")) as stage:
        public, private = stage.connect("1.0.0"), stage.connect("1.0.0")
        await public.joined()
        await private.joined(private=True)

        source.send(of_number(1), of_number(2, private=True))

        assert numbers(await public.received()) == [1]
        assert numbers(await private.received()) == [2]


async def test_who_is_there_for_presence_alone_hears_nothing(source, autojump_clock):
    policies = Readers("authenticated", presence_only="anon")
    async with open_stage(source=source, policies=policies) as stage:
        listener, watcher = stage.connect("1.0.0", "authenticated"), stage.connect("1.0.0")
        await listener.joined(private=True)
        await watcher.joined(private=True, presence={"enabled": True})

        source.send(of_number(1, private=True))

        assert numbers(await listener.received()) == [1]
        assert await watcher.received() == []


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ({"event": None}, "event_missing"),
        ({"payload": None}, "payload_missing"),
        ({"topic": None}, "topic_missing"),
        ({"private": None}, "private_missing"),
        ({"id": None}, "id_missing"),
        ({"inserted_at": None}, "inserted_at_missing"),
    ],
)
async def test_an_incomplete_row_is_skipped_and_its_column_named(
    stage, source, autojump_clock, capsys, column, reason
):
    client = stage.connect("1.0.0")
    await client.joined()

    names = [one.name for one in MESSAGES.relation.columns]
    row = dict(zip(names, stored_row('{"secret": 1}'), strict=True)) | column
    source.insert_raw(tuple(row.values()), table=MESSAGES)
    source.send(of_number(1))

    assert numbers(await client.received()) == [1]
    log = capsys.readouterr().out
    assert "UnableToBroadcastChanges" in log
    assert reason in log
    assert "secret" not in log


async def test_a_payload_over_the_limit_is_skipped(source, autojump_clock):
    async with open_stage(source=source, limits=Limits(payload_bytes=20)) as stage:
        client = stage.connect("1.0.0")
        await client.joined()

        source.send({"payload": json.dumps("x" * 30)}, of_number(1))

        assert numbers(await client.received()) == [1]


async def test_a_tenant_over_its_quota_gets_none_and_nobody_is_closed(source, autojump_clock):
    async with open_stage(source=source, quota=QuotaLimits(max_events_per_second=1)) as stage:
        client = stage.connect("1.0.0")
        await client.joined()
        source.send(*map(of_number, range(10)))
        await client.received()
        await trio.sleep(5.1)

        source.send(of_number(99))

        assert await client.received() == []
        assert client.socket.outbox.close_code is None
        dropped = stage.metrics.broadcasts_dropped["rate_limited"]
        assert dropped._value.get() == 1


async def test_rows_come_once_and_in_order_over_a_crash_of_the_relay(
    stage, source, autojump_clock
):
    client = stage.connect("1.0.0")
    await client.joined()
    relay = stage.feed.broadcasts.relay

    for start in range(0, 600, 100):
        stage.root.poison(relay)
        source.send(*map(of_number, range(start, start + 100)))
        await trio.sleep(60)

    assert numbers(await client.received()) == list(range(600))


class Fragile(PhoenixDialect):
    """A dialect that cannot bear the number 13; `crashes` counts."""

    crashes = 0

    def encode(self, event, topic, sender=""):
        if b'"n": 13}' in getattr(event, "payload", b""):
            Fragile.crashes += 1
            raise Poisoned("unlucky")
        return super().encode(event, topic, sender)


async def test_a_broadcast_that_crashes_the_relay_twice_is_skipped_alone(
    stage, source, autojump_clock
):
    client = stage.connect("1.0.0", dialect=Fragile("1.0.0"))
    await client.joined()
    Fragile.crashes = 0

    source.send(*map(of_number, range(30)))
    await trio.sleep(10)

    assert numbers(await client.received()) == [n for n in range(30) if n != 13]
    assert Fragile.crashes == 3


@pytest.mark.capability("M5-025")
async def test_rows_come_once_over_a_crash_of_the_listener_and_a_lost_stream(
    stage, source, autojump_clock
):
    client = stage.connect("1.0.0")
    await client.joined()

    source.send(*map(of_number, range(10)))
    stage.root.poison(stage.root.find("listener"))
    source.send(*map(of_number, range(10, 20)))
    await trio.sleep(10)
    source.end_streams("for a test")
    source.send(*map(of_number, range(20, 30)))
    await trio.sleep(10)

    assert numbers(await client.received()) == list(range(30))


async def test_what_was_stored_before_the_server_listened_is_not_live(source, autojump_clock):
    source.advice = "not there yet"
    source._is_underway = True
    async with open_stage(source=source) as stage:
        client = stage.connect("1.0.0")
        await client.joined()
        source.send(of_number(1))
        source.advice = None
        await trio.sleep(5)

        source.send(of_number(2))

        assert numbers(await client.received()) == [2]


async def test_updates_and_deletes_of_stored_broadcasts_do_nothing(
    stage, source, autojump_clock
):
    client = stage.connect("1.0.0")
    await client.joined()

    row = stored_row()
    source.write((Kind.UPDATE, row, None), (Kind.DELETE, None, row), table=MESSAGES)

    assert await client.received() == []


async def test_a_partition_is_known_by_its_name(stage, source, autojump_clock):
    client = stage.connect("1.0.0")
    await client.joined()
    relation = evolve(MESSAGES.relation, name="messages_2026_11_21", oid=17001)
    partition = evolve(MESSAGES, relation=relation)

    source.send(of_number(1), table=partition)

    assert numbers(await client.received()) == [1]


async def test_stored_broadcasts_are_no_row_changes(stage, source, autojump_clock):
    client = stage.connect("1.0.0")
    await client.joined(postgres_changes=[{"event": "*", "schema": "*", "table": "*"}])
    await client.received()

    source.send(of_number(1))

    assert [message.event for message in await client.received()] == ["broadcast"]


async def test_a_gap_is_logged_as_a_loss_of_broadcasts(stage, source, autojump_clock, capsys):
    source.commit(gap=Gap("for a test"))
    await trio.testing.wait_all_tasks_blocked()

    assert "broadcasts.lost" in capsys.readouterr().out
