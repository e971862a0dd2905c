"""What is read of a tenant at one moment: complete totals, bounded lists, members of every kind."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.messages import ChannelKey
from actors.realtime.snapshot import Bounds, Totals, channel_snapshot, count, take_snapshot
from protocol.goforward.dialect import GoForwardDialect
from protocol.goforward.envelope import Stamp
from tests.support.memory_tenant import ROOM, open_stage

NOW = 1_000_000.0
ROWS = [{"event": "INSERT", "schema": "public", "table": "todos", "filter": "id=eq.1"}]


def key(name="room", *, private=False):
    return ChannelKey("test", private, name)


async def test_a_tenant_without_clients_has_nothing(autojump_clock):
    async with open_stage() as stage:
        found = take_snapshot(stage.tenant, NOW)

        assert found.totals == count(stage.tenant) == Totals(0, 0, 0, 0, 0)
        assert (found.channels, found.connections, found.changes) == ((), (), ())
        assert channel_snapshot(stage.channels, key()) is None


@pytest.mark.capability("SB-128")
async def test_connections_are_listed_with_who_they_are_and_what_they_joined(autojump_clock):
    async with open_stage() as stage:
        await trio.sleep(50)
        await stage.connect(role="authenticated", sub="user123").joined()
        await trio.sleep(10)
        stage.connect()
        await trio.testing.wait_all_tasks_blocked()

        first, second = take_snapshot(stage.tenant, NOW).connections

        assert (first.user, first.role, first.peer) == ("user123", "authenticated", "192.0.2.1")
        assert (first.topics, first.opened_at) == ((ROOM,), NOW - 10)
        assert (second.user, second.topics, second.opened_at) == ("anon", (), NOW)


async def test_a_connection_that_ends_is_listed_no_more(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined()
        client.leave_socket()
        await trio.testing.wait_all_tasks_blocked()

        assert take_snapshot(stage.tenant, NOW).totals == Totals(0, 0, 0, 0, 0)


@pytest.mark.capability("SB-097")
async def test_a_channel_has_its_subscribers_users_and_presences(autojump_clock):
    async with open_stage() as stage:
        for sub in ("a", "b", "b"):
            client = stage.connect(role="authenticated", sub=sub)
            await client.joined(presence={"key": f"key-{sub}"})
            client.track({"is": sub})
        await stage.connect(role="service_role").joined(private=True)
        await trio.testing.wait_all_tasks_blocked()

        public = channel_snapshot(stage.channels, key())
        private = channel_snapshot(stage.channels, key(private=True))

        assert public is not None
        assert private is not None
        assert (public.subscriber_count, public.presence_count) == (3, 3)
        assert public.users == ("a", "b")
        assert [(one.key, one.payload) for one in public.presences] == [
            ("key-a", b'{"is": "a"}'),
            ("key-b", b'{"is": "b"}'),
            ("key-b", b'{"is": "b"}'),
        ]
        assert (private.is_private, private.subscriber_count) == (True, 1)


async def test_what_is_asked_of_the_database_is_listed_entry_by_entry(autojump_clock):
    async with open_stage() as stage:
        await stage.connect(role="authenticated", sub="a").joined(postgres_changes=ROWS)

        found = take_snapshot(stage.tenant, NOW)

        (entry,) = found.changes
        assert found.totals.change_subscriptions == 1
        assert (entry.channel, entry.user, entry.kind) == ("room", "a", "INSERT")
        assert (entry.schema, entry.table, entry.filter) == ("public", "todos", "id=eq.1")


async def test_lists_are_bounded_and_begin_with_the_largest_channel_while_totals_are_complete(
    autojump_clock,
):
    async with open_stage() as stage:
        for number in range(4):
            client = stage.connect(role="authenticated", sub=f"u{number}")
            for topic in ("one", "two", "three")[: number + 1]:
                await client.joined(f"realtime:{topic}", postgres_changes=ROWS)

        found = take_snapshot(
            stage.tenant, NOW, Bounds(channels=2, connections=3, changes=5, members=1)
        )

        assert found.totals == Totals(4, 3, 9, 0, 9)
        assert [(one.name, one.subscriber_count) for one in found.channels] == [
            ("one", 4),
            ("two", 3),
        ]
        assert [one.users for one in found.channels] == [("u0",), ("u1",)]
        assert [len(one.topics) for one in found.connections] == [1, 1, 1]
        assert len(found.changes) == 5


@pytest.mark.capability("SB-127")
async def test_members_of_every_dialect_count(autojump_clock):
    async with open_stage() as stage:
        await stage.connect(role="authenticated", sub="a").joined()
        goforward = GoForwardDialect("room", lambda: Stamp(1_000_000_000, b"012345"))
        stage.connect(role="authenticated", sub="b", dialect=goforward)
        await trio.testing.wait_all_tasks_blocked()

        found = channel_snapshot(stage.channels, key())

        assert found is not None
        assert (found.subscriber_count, found.users) == (2, ("a", "b"))
        assert take_snapshot(stage.tenant, NOW).totals == Totals(2, 1, 2, 1, 0)
