"""Stored broadcasts at the join: what is sent first, in which shape, and that nothing comes twice or is missing."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.realtime import replaying
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.ports import Grants
from actors.realtime.replaying import ReplayGate
from protocol.changes.stored import StoredBroadcast, stored_message
from protocol.dialect import EncodeKey
from protocol.phoenix import PhoenixDialect
from protocol.phoenix.binary import decode_server_frame
from tests.support.memory_tenant import ROOM, MemoryOutbox, open_stage
from tests.support.replays import MemoryReplays

REPLAY = {"private": True, "broadcast": {"replay": {"since": 0}}}
UNABLE = "UnableToReplayMessages: Realtime was unable to replay messages"
VERSIONS = ["1.0.0", "2.0.0"]


def open_replaying(replays, **options):
    return open_stage(source=replays.source, replays=replays, **options)


def connect(stage, version="1.0.0", role="service_role"):
    return stage.connect(version, role)


def number_of(message):
    if isinstance(message.payload, bytes):
        return json.loads(message.payload)["n"]
    return message.payload["payload"]["n"]


def numbers(messages):
    return [number_of(message) for message in messages if message.event in ("broadcast", "e")]


@pytest.mark.parametrize("version", VERSIONS)
async def test_replayed_json_is_text_right_behind_the_reply(autojump_clock, version):
    replays = MemoryReplays()
    row_id = replays.store(1)
    replays.store(2)
    async with open_replaying(replays) as stage:
        client = connect(stage, version)

        ref = client.join(**REPLAY, presence={"enabled": True})

        reply, first, second, state = await client.received()
        assert (reply.event, reply.payload["status"]) == ("phx_reply", "ok")
        assert first.payload == {
            "type": "broadcast",
            "event": "e",
            "payload": {"n": 1},
            "meta": {"replayed": True, "id": row_id},
        }
        assert (first.join_ref, first.ref) == (ref if version == "2.0.0" else None, None)
        assert numbers([first, second]) == [1, 2]
        assert state.event == "presence_state"


async def test_replayed_bytes_are_binary_for_who_reads_that_and_skipped_for_others(
    autojump_clock,
):
    replays = MemoryReplays()
    row_id = replays.store(1, data=b"\x00\xff")
    replays.store(2)
    async with open_replaying(replays) as stage:
        old, new = connect(stage, "1.0.0"), connect(stage, "2.0.0")

        old.join(**REPLAY)
        new.join(**REPLAY)

        assert numbers(await old.received()) == [2]
        _reply, data, _text = new.socket.outbox.messages
        message = decode_server_frame(data).message
        assert message.payload == b"\x00\xff"
        assert message.is_binary
        assert json.loads(message.metadata) == {"replayed": True, "id": row_id}


async def test_the_newest_since_then_are_asked_for(autojump_clock):
    replays = MemoryReplays()
    for number in range(30):
        replays.store(number, at_ms=number)
    async with open_replaying(replays) as stage:
        client = connect(stage)

        client.join(private=True, broadcast={"replay": {"since": 10, "limit": 5}})

        assert numbers(await client.received()) == [25, 26, 27, 28, 29]
        (question,) = replays.asked
        assert (question.sub_topic, question.since_ms, question.limit) == ("room", 10, 5)


class PresenceOnly:
    async def may_read(self, question, *, presence):
        return Grants(broadcast=False, presence=True)


async def test_without_the_right_to_read_broadcasts_there_is_no_replay(autojump_clock):
    replays = MemoryReplays()
    async with open_replaying(replays, policies=PresenceOnly()) as stage:
        client = connect(stage)

        client.join(**REPLAY)
        await trio.sleep(10)

        (reply,) = await client.received()
        assert reply.response["reason"] == (
            "Unauthorized: You do not have permissions to read from this Channel topic: room"
        )
        assert replays.asked == []


async def test_a_replay_that_fails_refuses_the_join_and_leaves_nothing_behind(autojump_clock):
    replays = MemoryReplays(errors=[DatabaseUnavailable("for a test")])
    async with open_replaying(replays) as stage:
        client = connect(stage)

        client.join(**REPLAY)
        await trio.sleep(10)

        (reply,) = await client.received()
        assert reply.response["reason"] == UNABLE
        assert len(stage.channels.gates) == 0


async def test_what_is_committed_while_the_database_is_asked_comes_behind_the_replay(
    autojump_clock,
):
    replays = MemoryReplays()
    async with open_replaying(replays) as stage:
        client = connect(stage)
        replays.store(1)
        replays.hold()
        client.join(**REPLAY)
        await trio.testing.wait_all_tasks_blocked()
        for number in (2, 3):
            replays.send(number)
        await trio.testing.wait_all_tasks_blocked()

        replays.release()

        messages = await client.received()
        assert numbers(messages) == [1, 2, 3]
        assert [m.payload["meta"].get("replayed") for m in messages[1:]] == [True, None, None]
        assert len(stage.channels.gates) == 0


async def test_what_was_replayed_does_not_come_again_when_it_streams_in(autojump_clock):
    replays = MemoryReplays()
    async with open_replaying(replays) as stage:
        client, other = connect(stage), connect(stage)
        await other.joined(private=True)
        replays.source.break_off("late")
        replays.send(1)
        replays.send(2)
        client.join(**REPLAY)
        assert numbers(await client.received()) == [1, 2]

        replays.source.advice = None
        await trio.sleep(10)
        replays.send(3)

        assert numbers(await client.received()) == [3]
        assert numbers(await other.received()) == [1, 2, 3]


async def test_what_streams_in_while_it_is_being_replayed_comes_once(autojump_clock):
    replays = MemoryReplays()
    async with open_replaying(replays) as stage:
        client = connect(stage)
        replays.source.break_off("late")
        replays.send(1)
        replays.hold()
        client.join(**REPLAY)
        replays.source.advice = None
        await trio.sleep(10)

        replays.release()

        assert numbers(await client.received()) == [1]


async def test_a_join_for_which_too_much_is_held_is_refused(autojump_clock, monkeypatch):
    monkeypatch.setattr(replaying, "HELD_MESSAGES", 10)
    replays = MemoryReplays()
    async with open_replaying(replays) as stage:
        client = connect(stage)
        replays.hold()
        client.join(**REPLAY)
        await trio.testing.wait_all_tasks_blocked()

        for number in range(11):
            replays.send(number)
        await trio.sleep(10)

        (reply,) = await client.received()
        assert reply.response["reason"] == UNABLE
        assert len(stage.channels.gates) == 0
        replays.release()
        client.join(**REPLAY)
        assert numbers(await client.received()) == list(range(11))


@pytest.mark.parametrize("end", ["leave", "rejoin", "socket"])
async def test_a_gate_does_not_outlive_its_join(autojump_clock, end):
    replays = MemoryReplays()
    async with open_replaying(replays) as stage:
        client = connect(stage, "2.0.0")
        replays.hold()
        ref = client.join(**REPLAY)
        await trio.testing.wait_all_tasks_blocked()
        assert len(stage.channels.gates) == 1

        match end:
            case "leave":
                client.push("phx_leave", join_ref=ref)
            case "rejoin":
                client.join(private=True)
            case "socket":
                client.leave_socket()
        await trio.testing.wait_all_tasks_blocked()

        assert len(stage.channels.gates) == 0


@pytest.mark.parametrize("how", ["relay", "channel", "listener"])
async def test_crashes_around_a_replay_lose_and_repeat_nothing(autojump_clock, how):
    replays = MemoryReplays()
    async with open_replaying(replays) as stage:
        early, client = connect(stage), connect(stage, "2.0.0")
        await early.joined(private=True)
        replays.store(1)
        replays.hold()
        client.join(**REPLAY)
        await trio.testing.wait_all_tasks_blocked()
        replays.send(2)
        if how == "channel":
            stage.poison(stage.channel(private=True))
        else:
            stage.root.poison(stage.root.find(how))
        replays.send(3)
        await trio.testing.wait_all_tasks_blocked()

        replays.release()
        await trio.sleep(10)
        replays.send(4)

        assert numbers(await client.received()) == [1, 2, 3, 4]
        assert numbers(await early.received()) == [2, 3, 4]


def stored(number: int) -> StoredBroadcast:
    row_id = f"{number}"
    message = stored_message(row_id, "e", json.dumps({"n": number}), None)
    return StoredBroadcast(row_id, "room", True, message)


@given(st.data())
@settings(deadline=None)
def test_a_gate_lets_every_broadcast_through_once_and_oldest_first(data):
    """The model: numbers are committed in order, some before the database is asked; all stream in at some time."""
    committed = data.draw(st.integers(0, 12))
    seen_by_query = data.draw(st.integers(0, committed))
    streamed_before = data.draw(st.integers(0, seen_by_query), label="before the gate")
    streamed_held = data.draw(st.integers(streamed_before, committed), label="before attaching")
    limit = data.draw(st.integers(1, 12))
    repeats = data.draw(st.lists(st.integers(0, 11), max_size=5))
    gate = ReplayGate(EncodeKey(PhoenixDialect("1.0.0"), ROOM))

    for number in range(streamed_before, streamed_held):
        gate.hold(f"{number}", gate.encode(stored(number).message))
        for again in repeats:
            if streamed_before <= again <= number:
                gate.hold(f"{again}", gate.encode(stored(again).message))
    answer = [stored(number) for number in range(seen_by_query)][-limit:]
    gate.fill(answer, None)
    outbox = MemoryOutbox()
    outbox.push(gate.open())
    for number in range(streamed_held, committed):
        gate.hold(f"{number}", b"too late to be held")
        if f"{number}" not in gate.replayed:
            outbox.push(gate.encode(stored(number).message))

    heard = [json.loads(text)["payload"]["payload"]["n"] for text in outbox.messages]
    replayed = range(max(0, seen_by_query - limit), seen_by_query)
    live = [n for n in range(streamed_before, committed) if n not in replayed]
    older = [n for n in live if n < replayed.start < streamed_held]
    assert heard == [*older, *replayed, *(n for n in live if n not in older)]
    assert gate.open() == gate.frames
