"""The counters behind the quotas: what is counted, when a rate trips, and who is a user."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.realtime.quota import (
    SUPABASE,
    ConnectedUsers,
    Quota,
    QuotaLimits,
    RateQuota,
)
from protocol.limits import FixedWindow
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

#: Counts, and never trips.
COUNTING = QuotaLimits(
    max_joins_per_second=10**6,
    max_events_per_second=10**6,
    max_presence_events_per_second=10**6,
)
NOTES = {"event": "*", "schema": "public", "table": "notes"}


async def counted(rate) -> int:
    """Return what a rate has counted since its start, within its first five seconds."""
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(5)
    return round(rate.average * 5)


class TestRates:
    async def test_a_rate_trips_at_its_limit_and_recovers_below_it(self, autojump_clock):
        rate = RateQuota(2)
        rate.count(10)
        assert not rate.is_tripped

        await trio.sleep(5)
        assert (rate.average, rate.is_tripped, rate.is_exceeded) == (2, True, False)
        rate.count(9)
        await trio.sleep(5)

        assert (rate.average, rate.is_tripped) == (1.9, False)

    async def test_a_rate_is_exceeded_only_above_its_limit(self, autojump_clock):
        rate = RateQuota(2)
        rate.count(11)
        await trio.sleep(5)

        assert rate.is_exceeded

    async def test_a_rate_without_a_limit_counts_nothing_and_never_trips(self, autojump_clock):
        rate = RateQuota(0)
        rate.count(10**9)
        await trio.sleep(5)

        assert (rate.average, rate.is_tripped, rate.is_exceeded) == (0, False, False)

    async def test_another_limit_lets_a_rate_begin_anew(self, autojump_clock):
        quota = Quota(QuotaLimits(max_events_per_second=1))
        quota.events.count(100)
        await trio.sleep(5)
        assert quota.events.is_tripped

        quota.change(QuotaLimits(max_events_per_second=2))

        assert (quota.events.is_tripped, quota.events.average) == (False, 0)


class TestUsers:
    def test_a_connection_is_one_user_however_often_it_joins(self):
        users = ConnectedUsers()
        for _ in range(3):
            assert users.begin_join("a", 1)
            users.end_join("a", joined=True)

        assert len(users) == 1
        assert not users.begin_join("b", 1)

    def test_a_connection_whose_joins_all_fail_is_none(self):
        users = ConnectedUsers()
        assert users.begin_join("a", 1)
        users.end_join("a", joined=False)

        assert len(users) == 0
        assert users.begin_join("b", 1)

    def test_joins_under_way_cannot_pass_the_limit_together(self):
        users = ConnectedUsers()

        assert [users.begin_join(name, 2) for name in "aabc"] == [True, True, True, False]

    def test_whoever_is_gone_makes_room(self):
        users = ConnectedUsers()
        users.begin_join("a", 1)
        users.end_join("a", joined=True)
        users.forget("a")

        assert users.begin_join("b", 1)


class TestPresence:
    async def test_a_client_is_held_to_its_window(self, autojump_clock):
        quota, window = Quota(SUPABASE), FixedWindow()
        found = [quota.count_presence_push(window) for _ in range(6)]
        assert found == [None] * 5 + ["Client presence rate limit exceeded"]

        await trio.sleep(30)

        assert quota.count_presence_push(window) is None

    async def test_a_tenant_is_held_to_its_rate(self, autojump_clock):
        quota = Quota(QuotaLimits(max_presence_events_per_second=1))
        quota.presence.count(6)
        await trio.sleep(5)

        end = quota.count_presence_push(FixedWindow())
        assert end == "Too many presence messages per second"

    async def test_without_quotas_nobody_is_held(self, autojump_clock):
        quota, window = Quota(), FixedWindow()
        quota.presence.count(10**9)
        await trio.sleep(5)

        assert {quota.count_presence_push(window) for _ in range(100)} == {None}


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
class TestWhatCounts:
    """**Source**: upstream's tests of billable events (spec 8 and appendix A)."""

    async def test_a_broadcast_counts_once_and_once_per_receiver(self, autojump_clock, version):
        async with open_stage(quota=COUNTING) as stage:
            clients = [stage.connect(version), stage.connect(version)]
            for client in clients:
                await client.joined(broadcast={"self": True})

            for number in range(5):
                clients[0].broadcast(number)

            assert await counted(stage.tenant.quota.events) == 15

    async def test_a_sender_that_does_not_hear_itself_is_no_receiver(
        self, autojump_clock, version
    ):
        async with open_stage(quota=COUNTING) as stage:
            clients = [stage.connect(version) for _ in range(3)]
            for client in clients:
                await client.joined()

            for client in clients:
                client.broadcast({})

            assert await counted(stage.tenant.quota.events) == 3 + 3 * 2

    async def test_what_reaches_nobody_counts_as_nothing(self, autojump_clock, version):
        async with open_stage(quota=COUNTING) as stage:
            client = stage.connect(version)
            await client.joined(broadcast={"ack": True})
            client.push("broadcast", [1])

            assert await counted(stage.tenant.quota.events) == 0

    async def test_an_unknown_event_counts_as_one(self, autojump_clock, version):
        async with open_stage(quota=COUNTING) as stage:
            client = stage.connect(version)
            await client.joined()
            client.push("anything")

            assert await counted(stage.tenant.quota.events) == 1
            assert await client.received() == []

    async def test_every_attempt_to_join_counts(self, autojump_clock, version):
        async with open_stage(quota=COUNTING) as stage:
            client = stage.connect(version)
            client.join()
            client.join("realtime:other")
            client.join("realtime:other")
            client.join("realtime:third", token="nonsense")

            assert await counted(stage.tenant.quota.joins) == 4

    async def test_presence_counts_tracks_states_and_diffs(self, autojump_clock, version):
        async with open_stage(quota=COUNTING) as stage:
            clients = [stage.connect(version), stage.connect(version)]
            for client in clients:
                await client.joined(presence={"enabled": True})
            clients[0].push("presence", {"event": "track", "payload": {"a": 1}})

            # Two states, one track, and the diff to each of the two.
            assert await counted(stage.tenant.quota.presence) == 5
            assert stage.tenant.quota.events.average == 0

    async def test_a_change_counts_once_per_subscription_it_matches(
        self, autojump_clock, version
    ):
        source = MemorySource()
        async with open_stage(quota=COUNTING, source=source) as stage:
            one, two = stage.connect(version), stage.connect(version)
            await one.joined(postgres_changes=[NOTES])
            await two.joined(postgres_changes=[{**NOTES, "event": "INSERT"}, NOTES])
            for number in range(5):
                source.insert((number, "a"))

            assert await counted(stage.tenant.quota.changes) == 15

    async def test_a_change_that_matches_nothing_counts_as_nothing(
        self, autojump_clock, version
    ):
        source = MemorySource()
        async with open_stage(quota=COUNTING, source=source) as stage:
            client = stage.connect(version)
            await client.joined(postgres_changes=[{**NOTES, "table": "absent"}])
            source.insert((1, "a"))

            assert await counted(stage.tenant.quota.changes) == 0


async def test_a_broadcast_of_bytes_is_received_by_those_who_can_read_it(autojump_clock):
    push = bytes.fromhex("03 00 00 0d 01 00 00") + b"realtime:room" + b"e" + b"\xff"
    async with open_stage(quota=COUNTING) as stage:
        modern, old, sender = stage.connect(), stage.connect("1.0.0"), stage.connect()
        for client in (modern, old, sender):
            await client.joined()
        sender.send_raw(push)

        assert await counted(stage.tenant.quota.events) == 2
