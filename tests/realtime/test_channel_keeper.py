"""Channels outlive a server that keeps them, and go when nobody has used them for long enough."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.realtime.managed_channels import ChannelRules, ManagedChannel
from protocol.managed import ChannelConfig
from protocol.managed_json import read_config
from tests.contracts.channel_store import ROOM, SUBSCRIPTION
from tests.support.channels import MemoryChannelStore
from tests.support.goforward_api import open_goforward

RULES = ChannelRules(ttl_s=1000, cleanup_every_s=100)


@pytest.mark.capability("GF-056")
async def test_channels_and_their_subscriptions_survive_a_restart(autojump_clock):
    store = MemoryChannelStore()
    async with open_goforward(store=store, keeps=True) as api:
        await api.create(max_subscribers=5, metadata={"n": 1})
        await api.admin.subscribe(
            api.managed.get("room"), SUBSCRIPTION.wanted, (await identity(api))
        )

    async with open_goforward(store=store, keeps=True) as api:
        channel = api.managed.get("room")

        assert channel.is_created
        assert channel.config.max_subscribers == 5
        assert [one.wanted for one in channel.subscriptions.values()] == [SUBSCRIPTION.wanted]
        assert len(api.managed.shared_changes("room")[0].changes) == 4
        assert (await api.post("", {"name": "room"})).status == 409


async def identity(api):
    return await api.stage.tenant.verifier.verify("user ann 1e12")


async def test_a_deleted_channel_does_not_come_back(autojump_clock):
    store = MemoryChannelStore()
    async with open_goforward(store=store, keeps=True) as api:
        await api.create()
        await api.delete("/room")

    async with open_goforward(store=store, keeps=True) as api:
        assert len(api.managed) == 0


async def test_what_cannot_be_kept_is_not_done(autojump_clock):
    store = MemoryChannelStore()
    async with open_goforward(store=store, keeps=True) as api:
        await api.create()
        store.advice = "The database is away."

        created = await api.post("", {"name": "other"})
        deleted = await api.delete("/room")

        assert (created.status, created.code) == (503, "UNAVAILABLE")
        assert created.value["details"] == "The database is away."
        assert deleted.status == 503
        assert [channel.name for channel in api.managed] == ["room"]


async def test_nothing_is_created_before_it_is_known_what_there_is(autojump_clock):
    store = MemoryChannelStore({"room": ROOM}, advice="The database is away.")
    async with open_goforward(store=store, keeps=True) as api:
        early = await api.post("", {"name": "room"})
        store.advice = None
        await trio.sleep(60)
        late = await api.post("", {"name": "room"})

        assert (early.status, late.status) == (503, 409)


@pytest.mark.capability("GF-112")
async def test_who_came_before_a_channel_was_known_is_held_to_it(autojump_clock):
    closed = ROOM.__class__(
        "room", read_config(b'{"permissions":{"read":["admin"]}}'), True, "", 0
    )
    store = MemoryChannelStore({"room": closed}, advice="The database is away.")
    async with open_goforward(store=store, keeps=True) as api:
        client = await api.member("user")
        store.advice = None
        await trio.sleep(60)

        assert [m.event for m in await client.received()] == ["system", "phx_close"]


@pytest.mark.capability("GF-084", "GF-085", "GF-109", "GF-005", "GF-150")
async def test_a_channel_that_nobody_is_in_expires_and_one_with_members_does_not(
    autojump_clock,
):
    async with open_goforward(rules=RULES, keeps=True) as api:
        await api.create("used")
        await api.create("unused")
        await api.member("user", topic="realtime:used")

        await trio.sleep(900)
        before = [channel.name for channel in api.managed]
        await trio.sleep(300)
        after = [channel.name for channel in api.managed]

        assert (before, after) == (["used", "unused"], ["used"])


async def test_a_channel_expires_so_long_after_the_last_member_went(autojump_clock):
    async with open_goforward(rules=RULES, keeps=True) as api:
        await api.create()
        client = await api.member("user")
        await trio.sleep(5000)
        client.leave_socket()

        await trio.sleep(850)
        before = len(api.managed)
        await trio.sleep(300)

        assert (before, len(api.managed)) == (1, 0)


async def test_what_nobody_created_goes_at_the_next_clean_up(autojump_clock):
    async with open_goforward(rules=RULES, keeps=True) as api:
        api.managed.add(ManagedChannel("passing"))

        await trio.sleep(150)

        assert len(api.managed) == 0


async def test_an_expired_channel_that_cannot_be_deleted_is_tried_again(autojump_clock):
    store = MemoryChannelStore()
    async with open_goforward(rules=RULES, store=store, keeps=True) as api:
        await api.create()
        store.advice = "away"
        await trio.sleep(1200)
        kept = len(api.managed)
        store.advice = None
        await trio.sleep(200)

        assert (kept, len(api.managed), store.channels) == (1, 0, {})


@asynccontextmanager
async def slow(store):
    """Have a store that answers at the end of the block, and a nursery for those who wait for it."""
    async with trio.open_nursery() as nursery:
        store.gate = trio.Event()
        yield nursery
        await wait_all_tasks_blocked()
        store.gate.set()


async def test_a_change_to_a_channel_does_not_hit_the_one_that_took_its_name(autojump_clock):
    store = MemoryChannelStore()
    async with open_goforward(store=store) as api:
        await api.create()
        first, ann = api.managed.get("room"), await identity(api)
        found = []

        async def change(action, *arguments):
            found.append(await action(*arguments))

        async with slow(store) as waiting:
            for action, *arguments in (
                (api.admin.delete, first),
                (api.admin.create, "room", ChannelConfig(read=frozenset()), ann),
                (api.admin.delete, first),
                (api.admin.subscribe, first, SUBSCRIPTION.wanted, ann),
            ):
                waiting.start_soon(change, action, *arguments)
                await wait_all_tasks_blocked()

        second = api.managed.get("room")
        assert found == [True, second, False, None]
        assert second.config.read == frozenset()
        assert store.channels["room"].subscriptions == ()


async def test_what_was_allowed_with_a_channel_that_nobody_created_ends_when_somebody_does(
    autojump_clock,
):
    async with open_goforward() as api:
        earlier = api.managed.come_into_being("room")
        await api.create(permissions={"admin": ["admin"]})

        assert not await api.admin.delete(earlier)
        assert api.managed.get("room").is_created


async def test_a_channel_that_somebody_joins_while_others_expire_stays(autojump_clock):
    store = MemoryChannelStore()
    async with open_goforward(rules=RULES, store=store, keeps=True) as api:
        await api.create("a")
        await api.create("b")
        await trio.sleep(990)

        async with slow(store):
            await trio.sleep(120)
            await api.member("user", topic="realtime:b")

        await wait_all_tasks_blocked()
        assert [channel.name for channel in api.managed] == ["b"]


async def test_a_channel_that_was_stored_without_a_word_is_known_when_it_is_asked_for(
    autojump_clock,
):
    store = MemoryChannelStore()
    async with open_goforward(store=store, keeps=True) as api:
        await store.add(ROOM)

        again = await api.post("", {"name": "room"})
        deleted = await api.delete("/room", token="service_role")

        assert (again.status, deleted.status, store.channels) == (409, 200, {})
