"""Topics of this server's own: operators listen, nobody speaks, whatever policies grant."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.errors import Forbidden
from actors.realtime.messages import ChannelKey, Publish
from actors.realtime.permissions import EVERYTHING
from actors.realtime.persisting import persist
from actors.realtime.ports import Identity, PolicyQuestion
from actors.realtime.posting import Poster
from actors.realtime.reserved import is_reserved
from protocol.commands import Persist, PostedBroadcast
from protocol.events import TextBroadcast, UserBroadcast
from tests.support.memory_tenant import fake_token, open_stage
from tests.support.policies import FakePolicies
from tests.support.source import MemorySource

SUB_TOPIC = "_troupe:stats"
TOPIC = f"realtime:{SUB_TOPIC}"
KEY = ChannelKey("test", True, SUB_TOPIC)
GENEROUS = {None: EVERYTHING}


def generous() -> FakePolicies:
    return FakePolicies(GENEROUS, GENEROUS)


async def answer(stage, role, *, private) -> str:
    client = stage.connect(role=role)
    client.join(TOPIC, private=private)
    # A refusal is held back for a while.
    await trio.sleep(stage.tenant.limits.join_error_delay_s)
    (reply,) = await client.received()
    return reply.response.get("reason", "ok")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_who_is_no_operator_may_not_join_although_policies_grant_everything(
    autojump_clock, role
):
    policies = generous()
    async with open_stage(policies=policies) as stage:
        reason = await answer(stage, role, private=True)

        assert reason.startswith("Unauthorized: You do not have permissions to read")
        assert policies.asked_to_read == []
        assert stage.channel(SUB_TOPIC, private=True) is None


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_nobody_joins_the_public_channel_of_the_name(autojump_clock, role):
    async with open_stage() as stage:
        assert (
            await answer(stage, role, private=False)
            == f"Unauthorized: This topic is reserved: {SUB_TOPIC}"
        )


async def test_an_operator_hears_what_the_server_says_although_policies_grant_nothing(
    autojump_clock,
):
    async with open_stage(policies=FakePolicies({}, {}, read_fault=RuntimeError())) as stage:
        client = stage.connect(role="service_role")
        await client.joined(TOPIC, private=True)
        stage.channels.get(KEY).tell(Publish(TextBroadcast(b'{"event":"report"}')))

        (message,) = await client.received()

        assert (message.event, message.payload) == ("broadcast", {"event": "report"})


async def test_not_even_an_operator_sends_or_is_present_there(autojump_clock):
    policies = generous()
    async with open_stage(policies=policies) as stage:
        speaker, listener = (
            stage.connect(role="service_role"),
            stage.connect(role="service_role"),
        )
        await speaker.joined(TOPIC, private=True)
        await listener.joined(TOPIC, private=True)
        speaker.broadcast({"x": 1}, TOPIC)
        ref = speaker.track({"x": 1}, TOPIC)

        (refusal,) = await speaker.received()

        assert (refusal.ref, refusal.payload["status"]) == (ref, "error")
        assert await listener.received() == []
        assert policies.asked_to_write == []


@pytest.mark.parametrize("private", [True, False])
async def test_what_is_posted_there_reaches_nobody(autojump_clock, private):
    async with open_stage(policies=generous()) as stage:
        listener = stage.connect(role="service_role")
        await listener.joined(TOPIC, private=True)
        poster = Poster(stage.tenant, stage.metrics)
        posted = PostedBroadcast(SUB_TOPIC, private, TextBroadcast(b"{}"))
        await poster.publish(Identity("service_role", b"{}", 1e12), b"{}", [posted])

        assert await listener.received() == []


async def test_who_exchanges_an_operators_token_for_another_is_put_out(autojump_clock):
    async with open_stage(policies=generous()) as stage:
        client = stage.connect(role="service_role")
        await client.joined(TOPIC, private=True)
        client.push("access_token", {"access_token": fake_token("authenticated")}, TOPIC)

        assert "phx_close" in [message.event for message in await client.received()]
        assert stage.channel(SUB_TOPIC, private=True) is None


async def test_policies_are_asked_about_all_other_topics(autojump_clock):
    policies = generous()
    async with open_stage(policies=policies) as stage:
        question = PolicyQuestion("troupe:stats", Identity("anon", b"{}", 1e12))

        assert not is_reserved(question.sub_topic)
        assert await stage.tenant.policies.may_read(question, presence=True) == EVERYTHING
        assert await stage.tenant.policies.may_write(question) == EVERYTHING


async def test_what_somebody_writes_into_the_table_for_it_is_not_delivered(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        listener = stage.connect(role="service_role")
        await listener.joined(TOPIC, private=True)
        source.send({"topic": SUB_TOPIC, "private": True})

        assert await listener.received() == []
        assert not stage.feed.broadcasts.references


async def test_nothing_is_stored_for_it(autojump_clock):
    async with open_stage() as stage:
        question = PolicyQuestion(SUB_TOPIC, Identity("service_role", b"{}", 1e12))
        message = UserBroadcast("report", b"{}", is_binary=False)

        with pytest.raises(Forbidden):
            await persist(message, Persist(), question, stage.tenant, is_private=True)
