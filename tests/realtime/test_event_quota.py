"""What happens on a tenant that has sent and received more events than its quota allows."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.messages import Publish
from actors.realtime.quota import TOO_MANY_MESSAGES, QuotaLimits
from protocol.events import TextBroadcast, UserBroadcast
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

ONE_PER_SECOND = QuotaLimits(max_events_per_second=1)
NOTICE = {"extension": "system", "status": "error", "message": TOO_MANY_MESSAGES}
FROM_ELSEWHERE = Publish(TextBroadcast(b'{"event":"e","payload":{}}'))


async def trip(stage) -> None:
    """Let the tenant be over its quota until the next tick."""
    stage.tenant.quota.events.count(1000)
    stage.tenant.quota.changes.count(1000)
    await trio.sleep(5)


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_who_would_receive_is_told_and_closed_instead(autojump_clock, version):
    async with open_stage(quota=ONE_PER_SECOND) as stage:
        client = stage.connect(version)
        join_ref = await client.joined()
        await client.joined("realtime:quiet")
        await trip(stage)

        stage.channel().tell(FROM_ELSEWHERE)

        notice, close = await client.received()
        assert (notice.event, notice.payload) == ("system", {**NOTICE, "channel": "room"})
        assert (close.event, close.ref, close.payload) == ("phx_close", join_ref, {})
        assert stage.channel() is None
        assert stage.channel("quiet") is not None
        await trio.sleep(60)
        await client.joined()


async def test_who_would_receive_nothing_stays(autojump_clock):
    async with open_stage(quota=ONE_PER_SECOND) as stage:
        old, modern = stage.connect("1.0.0"), stage.connect()
        await old.joined()
        await modern.joined()
        await trip(stage)

        stage.channel().tell(Publish(UserBroadcast("e", b"\xff", is_binary=True)))

        assert await old.received() == []
        assert [m.event for m in await modern.received()] == ["system", "phx_close"]


@pytest.mark.parametrize("echo", [True, False])
async def test_who_speaks_is_closed_once(autojump_clock, echo):
    async with open_stage(quota=ONE_PER_SECOND) as stage:
        client = stage.connect()
        await client.joined(broadcast={"self": echo, "ack": True})
        await trip(stage)

        client.broadcast(1)
        unmatched = client.broadcast(2)

        # The channel closes; what comes behind may be answered sooner.
        told = await client.received()
        (reply,) = (m for m in told if m.event == "phx_reply")
        assert [m.event for m in told if m is not reply] == ["system", "phx_close"]
        assert (reply.ref, reply.response) == (unmatched, {"reason": "unmatched topic"})


@pytest.mark.parametrize("ticks", range(12))
async def test_who_is_closed_while_joining_learns_of_it(autojump_clock, ticks):
    async with open_stage(quota=ONE_PER_SECOND) as stage:
        resident, newcomer = stage.connect(), stage.connect()
        await trip(stage)
        await resident.joined()
        channel = stage.channel()
        newcomer.join()
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        channel.tell(FROM_ELSEWHERE)
        told = await newcomer.received()
        stage.tenant.quota.change(QuotaLimits())
        if "phx_close" in [m.event for m in told]:
            newcomer.broadcast({}, event="unmatched")
            assert len(await newcomer.received()) == 1
        else:
            stage.channel().tell(FROM_ELSEWHERE)
            assert [m.event for m in await newcomer.received()] == ["broadcast"]


async def test_without_a_quota_nobody_is_closed(autojump_clock):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        await client.joined()
        await other.joined()
        for number in range(900):
            client.broadcast(number)
        assert len(await other.received()) == 900
        await trio.sleep(5)

        client.broadcast("still there")

        assert len(await other.received()) == 1


async def test_row_changes_over_the_quota_are_discarded_without_a_word(autojump_clock):
    source = MemorySource()
    async with open_stage(quota=ONE_PER_SECOND, source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=[{"schema": "public", "table": "notes"}])
        await trip(stage)
        for number in range(300):
            source.insert((number, "discarded"))
        assert await client.received() == []
        assert stage.metrics.changes_skipped["rate_limited"]._value.get() == 300
        await trio.sleep(60)

        source.insert((1, "delivered"))

        (change,) = await client.received()
        assert change.payload["data"]["record"] == {"id": 1, "body": "delivered"}
