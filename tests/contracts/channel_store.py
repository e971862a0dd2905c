"""What every place must do that keeps channels; each function is called with a store and with how to open it again."""

from __future__ import annotations

from attrs import evolve

from actors.realtime.channel_store import StoredChannel, StoredSubscription
from protocol.managed import ChangeFilter
from protocol.managed_json import read_config

CONFIG = read_config(
    b'{"max_subscribers": 5, "require_auth": false, "permissions": {"read": ["user"], "rate_limit": 3},'
    b' "metadata": {"n": 1.50, "nul": "\\u0000", "quote": "it\'s"}}'
)
ROOM = StoredChannel("room", CONFIG, True, "ann", 1_700_000_000.25)
WANTED = ChangeFilter(
    "messages", "public", ("INSERT", "DELETE"), ("id",), "a = 'x'", ("a=eq.x", "b=eq.y")
)
SUBSCRIPTION = StoredSubscription("sub_1", WANTED, "ann", 1_700_000_001.5)


async def what_is_kept_is_found_again(store, reopen):
    assert await store.add(ROOM)
    await store.subscribe(ROOM, SUBSCRIPTION)

    assert list(await reopen().load()) == [evolve(ROOM, subscriptions=(SUBSCRIPTION,))]


async def a_name_is_taken_once(store, reopen):
    await store.add(ROOM)

    assert not await store.add(evolve(ROOM, created_by="bob"))
    assert [channel.created_by for channel in await reopen().load()] == ["ann"]


async def what_came_into_being_by_itself_can_be_decided_about(store, reopen):
    await store.subscribe(evolve(ROOM, is_created=False, created_by=""), SUBSCRIPTION)

    assert await store.add(ROOM)
    assert list(await reopen().load()) == [evolve(ROOM, subscriptions=(SUBSCRIPTION,))]


async def what_is_removed_is_gone_with_its_subscriptions(store, reopen):
    await store.add(ROOM)
    await store.subscribe(ROOM, SUBSCRIPTION)

    await store.remove("room")
    await store.remove("room")

    assert list(await reopen().load()) == []
    await store.add(ROOM)
    assert list(await reopen().load()) == [ROOM]


async def a_subscription_ends_alone(store, reopen):
    await store.add(ROOM)
    await store.subscribe(ROOM, SUBSCRIPTION)

    await store.unsubscribe("sub_1")
    await store.unsubscribe("sub_1")

    assert list(await reopen().load()) == [ROOM]


CONTRACT = (
    what_is_kept_is_found_again,
    a_name_is_taken_once,
    what_came_into_being_by_itself_can_be_decided_about,
    what_is_removed_is_gone_with_its_subscriptions,
    a_subscription_ends_alone,
)
