"""Row changes in GoForward's channels: a subscription belongs to the channel, and each socket sees what it may."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.managed_channels import ManagedChannel
from actors.realtime.quota import QuotaLimits
from protocol.changes.model import Kind
from protocol.commands import ChangeBinding, SharedChanges
from tests.support.goforward import Member
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource


def subscription(id_: str, *conditions: str | None, kind: str = "*", select=None):
    """Return a subscription to public.notes; several conditions are alternatives."""
    return SharedChanges(
        id_,
        tuple(
            ChangeBinding(number, b"{}", kind, "public", "notes", condition, select)
            for number, condition in enumerate(conditions or (None,), start=1)
        ),
    )


class Room:
    """The channel `room` of a stage with its subscriptions."""

    def __init__(self, stage) -> None:
        self._stage = stage
        self._channel = ManagedChannel("room")
        stage.tenant.managed.add(self._channel)

    async def subscribe(self, *subscriptions: SharedChanges) -> None:
        """Let the channel have these subscriptions and no others."""
        self._channel.changes.clear()
        self._channel.changes.update({shared.id: shared for shared in subscriptions})
        managed = self._stage.tenant.managed
        managed.tell_members(self._stage.tenant.name, "room", self._stage.channels)
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def source():
    return MemorySource()


@pytest.fixture
async def stage(autojump_clock, source):
    async with open_stage(source=source) as stage:
        yield stage


@pytest.fixture
async def room(stage):
    return Room(stage)


async def member(stage, user: str, **opening) -> Member:
    """Return a member that has heard of everybody."""
    found = Member(stage, user, **opening)
    await found.received()
    return found


def changes(messages):
    """Return what the database said; what else was said is presence."""
    assert {m["type"] for m in messages} <= {"database_change", "presence"}
    return [m for m in messages if m["type"] == "database_change"]


@pytest.mark.capability("GF-003", "GF-032", "GF-041", "GF-042", "GF-043", "GF-056")
async def test_everybody_in_the_channel_gets_the_changes_it_is_subscribed_to(
    autojump_clock, stage, source, room
):
    alice, bob = await member(stage, "alice"), await member(stage, "bob")
    await room.subscribe(subscription("sub_1"))
    source.write(
        (Kind.INSERT, ("1", "a"), None),
        (Kind.UPDATE, ("1", "b"), ("1", "a")),
        (Kind.DELETE, None, ("1", "b")),
    )

    for client in (alice, bob):
        inserted, updated, deleted = changes(await client.received())
        assert [m["event"] for m in (inserted, updated, deleted)] == [
            "INSERT.notes",
            "UPDATE.notes",
            "DELETE.notes",
        ]
        change = inserted["payload"]["change"]
        assert inserted["payload"].keys() == {"change"}
        assert inserted["user_id"] == "system"
        assert change == {
            "id": change["id"],
            "table": "notes",
            "schema": "public",
            "event": "INSERT",
            "old_record": None,
            "new_record": {"id": 1, "body": "a"},
            "timestamp": change["timestamp"],
        }
        assert change["id"].startswith("change_16")
        assert change["timestamp"].endswith("Z")
        assert updated["payload"]["change"]["new_record"] == {"id": 1, "body": "b"}
        assert updated["payload"]["change"]["old_record"]["id"] == 1
        assert deleted["payload"]["change"]["new_record"] is None
        assert deleted["payload"]["change"]["old_record"]["id"] == 1


async def test_who_joins_later_gets_them_too_and_nobody_after_the_subscription_ended(
    autojump_clock, stage, source, room
):
    await room.subscribe(subscription("sub_1"))
    late = await member(stage, "late")
    source.insert((1, "a"))
    assert len(changes(await late.received())) == 1

    await room.subscribe()
    source.insert((2, "b"))
    assert await late.received() == []


@pytest.mark.capability("GF-054")
async def test_only_the_columns_that_were_asked_for_are_delivered(
    autojump_clock, stage, source, room
):
    alice = await member(stage, "alice")
    await room.subscribe(subscription("sub_1", select=("id",)))
    source.insert((1, "a"))

    (message,) = changes(await alice.received())
    assert message["payload"]["change"]["new_record"] == {"id": 1}


@pytest.mark.capability("GF-055")
async def test_a_row_that_matches_several_alternatives_is_delivered_once(
    autojump_clock, stage, source, room
):
    alice = await member(stage, "alice")
    await room.subscribe(subscription("sub_1", "id=gt.1", "body=eq.b"))
    source.insert((1, "a"), (2, "b"), (1, "b"))

    rows = [m["payload"]["change"]["new_record"]["id"] for m in changes(await alice.received())]
    assert rows == [2, 1]


@pytest.mark.capability("GF-114")
async def test_who_may_not_see_a_row_gets_none(autojump_clock, stage, source, room):
    alice = await member(stage, "alice")
    guest = await member(stage, "guest", role="anon")
    stage.visibility.hidden_from.add("anon")
    await room.subscribe(subscription("sub_1"))
    source.insert((1, "a"))

    assert len(changes(await alice.received())) == 1
    assert changes(await guest.received()) == []


async def test_two_subscriptions_of_a_channel_are_two_messages(
    autojump_clock, stage, source, room
):
    alice = await member(stage, "alice")
    await room.subscribe(subscription("sub_1"), subscription("sub_2", kind="INSERT"))
    source.insert((1, "a"))

    assert len(changes(await alice.received())) == 2


async def test_a_subscription_that_postgres_refuses_is_told_as_an_error(
    autojump_clock, stage, source, room
):
    alice = await member(stage, "alice")
    await room.subscribe(subscription("sub_1", "nonsense=eq.1"))

    (message,) = await alice.received()
    assert (message["type"], message["event"]) == ("system", "error")
    assert message["payload"]["code"] == "DB_SUBSCRIPTION_FAILED"
    alice.send("ping")
    assert (await alice.received())[0]["type"] == "pong"


async def test_the_room_of_a_subscription_tells_nothing_but_changes(
    autojump_clock, stage, source, room
):
    alice = await member(stage, "alice")
    await room.subscribe(subscription("sub_1"))
    stranger = stage.connect(role="anon")
    await stranger.joined("realtime:goforward:room:sub_1", presence={"enabled": True})
    stranger.broadcast({"fake": 1}, "realtime:goforward:room:sub_1")
    stranger.track({"fake": 1}, "realtime:goforward:room:sub_1")

    assert await alice.received() == []
    source.insert((1, "a"))
    assert len(changes(await alice.received())) == 1
    assert "postgres_changes" not in [m.event for m in await stranger.received()]


async def test_a_subscription_of_a_large_channel_uses_up_nobodys_joins(autojump_clock, source):
    quota = QuotaLimits(max_joins_per_second=4, max_channels_per_client=1)
    async with open_stage(source=source, quota=quota) as stage:
        room = Room(stage)
        members = [await member(stage, f"u{number}") for number in range(10)]
        await trio.sleep(10)

        await room.subscribe(*(subscription(f"sub_{number}") for number in range(5)))
        await trio.sleep(6)

        assert [one.close_code for one in members] == [None] * 10
        assert [changes(await one.received()) for one in members] == [[]] * 10
        assert not stage.tenant.quota.joins.is_tripped
