"""Statistics in the shapes of the dialects, made of one snapshot."""

from __future__ import annotations

import trio
import trio.testing

from actors.realtime.snapshot import (
    ChannelSnapshot,
    ConnectionSnapshot,
    PresenceSnapshot,
    Snapshot,
    Totals,
)
from actors.web.statistics import (
    FRESH_S,
    LastCount,
    fluxbase,
    goforward_channel,
    sblite,
)
from tests.support.memory_tenant import open_stage

ROOM = ChannelSnapshot(
    "chat-room-1", False, 25, 20, ("user123", "user456"), (PresenceSnapshot("user123", b"{}"),)
)
NEWS = ChannelSnapshot("notifications", False, 1, 0, ("user123",), ())
CONNECTIONS = tuple(
    ConnectionSnapshot(f"conn_{number}", user, "authenticated", "192.0.2.1", 1.0, ())
    for number, user in enumerate(["user123", "user123", "user456"])
)
SNAPSHOT = Snapshot(2.0, Totals(3, 2, 26, 20, 4), (ROOM, NEWS), CONNECTIONS, ())


def test_the_shape_of_sblite():
    assert sblite(SNAPSHOT) == {
        "connections": 3,
        "channels": 2,
        "channel_details": [
            {"topic": "realtime:chat-room-1", "subscribers": 25, "has_presence": True},
            {"topic": "realtime:notifications", "subscribers": 1, "has_presence": False},
        ],
    }


def test_the_shape_of_fluxbase():
    assert fluxbase(SNAPSHOT.totals) == {"connections": 3, "channels": 2}


def test_the_shape_of_one_channel_of_goforward():
    assert goforward_channel("chat-room-1", ROOM) == {
        "channel": "chat-room-1",
        "subscriber_count": 25,
        "presence_count": 20,
        "connected_users": 2,
        "users": ["user123", "user456"],
    }


def test_a_channel_without_subscribers_has_figures_of_zero():
    assert goforward_channel("empty", None) == {
        "channel": "empty",
        "subscriber_count": 0,
        "presence_count": 0,
        "connected_users": 0,
        "users": [],
    }


async def test_what_strangers_may_ask_is_counted_once_a_second(autojump_clock):
    async with open_stage() as stage:
        last = LastCount()
        before = last.totals(stage.tenant)
        stage.connect()
        await trio.testing.wait_all_tasks_blocked()
        meanwhile = last.totals(stage.tenant)
        await trio.sleep(FRESH_S)

        assert meanwhile is before
        assert last.totals(stage.tenant).connections == 1
