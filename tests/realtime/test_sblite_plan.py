"""The unit tests that the sblite plan names for its hub, channel and connection, as this server has these parts.

Its other named tests are marked with their ids where the subject is tested: envelope and join in `protocol/`.
"""

from __future__ import annotations

import pytest
import trio

from actors.realtime.messages import JoinKey
from actors.realtime.roster import Roster, Subscription
from protocol.dialect import EncodeKey
from protocol.phoenix import PhoenixDialect
from tests.support.memory_tenant import MemoryOutbox, open_stage


def subscription(connection="conn_1", number=1) -> Subscription:
    """Return a subscription as a join makes it; the connection stands for its ref."""
    key = EncodeKey(PhoenixDialect("1.0.0"), "realtime:test")
    return Subscription(JoinKey(connection, number), connection, MemoryOutbox(), key, "1", None)


def names(supervisor) -> list[str]:
    return [str(child.name) for child in supervisor.children()]


@pytest.mark.capability("SB-132", "SB-133")
async def test_new_hub_is_empty(autojump_clock):
    async with open_stage() as stage:
        assert names(stage.channels_supervisor) == []
        assert names(stage.connections_supervisor) == []


@pytest.mark.capability("SB-047", "SB-050", "SB-134")
async def test_hub_get_or_create_channel_returns_the_same_one(autojump_clock):
    async with open_stage() as stage:
        first, second = stage.connect(), stage.connect()
        await first.joined("realtime:test")
        channel = stage.channel("test")
        await second.joined("realtime:test")

        assert stage.channel("test") is channel
        assert len(names(stage.channels_supervisor)) == 1


@pytest.mark.capability("SB-052")
async def test_a_channel_that_is_not_there_is_not_found(autojump_clock):
    async with open_stage() as stage:
        assert stage.channel("nowhere") is None


@pytest.mark.capability("SB-049", "SB-051")
async def test_a_connection_that_goes_is_taken_off_every_channel(autojump_clock):
    async with open_stage() as stage:
        leaver, stays = stage.connect(), stage.connect()
        for topic in ("realtime:a", "realtime:b"):
            await leaver.joined(topic)
        await stays.joined("realtime:b")

        leaver.leave_socket()
        await trio.testing.wait_all_tasks_blocked()

        assert stage.channel("a") is None
        assert stage.channel("b") is not None


@pytest.mark.capability("SB-056", "SB-135")
def test_channel_add_subscriber():
    roster, added = Roster(), subscription()

    roster.add(added)

    assert len(roster) == 1
    assert roster.get(added.key) is added


@pytest.mark.capability("SB-136")
def test_channel_remove_subscriber():
    roster, added = Roster(), subscription()
    roster.add(added)

    assert roster.remove(added.key) is added
    assert roster.remove(added.key) is None
    assert not roster


@pytest.mark.capability("SB-054", "SB-055", "SB-137")
def test_channel_get_subscribers():
    roster = Roster()
    added = {subscription("conn_1"), subscription("conn_2")}
    for one in added:
        roster.add(one)

    assert set(roster) == added
    assert {one.join_ref for one in roster} == {"1"}


@pytest.mark.capability("SB-063", "SB-138")
async def test_new_connection_ids_are_never_used_twice(autojump_clock):
    # The plan has UUIDs; an id here is for logs and never leaves the node, so that it counts up is enough.
    async with open_stage() as stage:
        seen = set()
        for _ in range(3):
            client = stage.connect()
            await client.joined()
            (name,) = names(stage.connections_supervisor)
            seen.add(name)
            client.leave_socket()
            await trio.testing.wait_all_tasks_blocked()

        assert len(seen) == 3


@pytest.mark.capability("SB-065")
def test_sending_to_a_closed_connection_does_nothing():
    outbox = MemoryOutbox()
    outbox.is_dead = True

    assert outbox.push(b"anything") is False
