"""What a private channel lets a client do is what policies grant, from one token to the next."""

from __future__ import annotations

import json

import pytest
import trio

from actors.realtime.errors import PolicyUndecided
from actors.realtime.permissions import EVERYTHING
from tests.support.memory_tenant import ROOM, fake_token, open_stage
from tests.support.policies import BROADCAST, NOTHING, PRESENCE, FakePolicies

DENIED = "You do not have permissions to read from this Channel topic: room"
LOST = "You no longer have permission to read from this Channel topic: room"
MESSAGE = {"type": "broadcast", "event": "e", "payload": {"n": 1}}

pytestmark = pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])


async def member(stage, version, *, presence=False, **config):
    client = stage.connect(version)
    await client.joined(private=True, presence={"enabled": presence, "key": "me"}, **config)
    return client


async def refusal(stage, version):
    client = stage.connect(version)
    client.join(private=True)
    await trio.sleep(5)
    (reply,) = await client.received()
    return reply.payload["status"], reply.response


async def test_who_may_read_nothing_is_refused(autojump_clock, version):
    async with open_stage(policies=FakePolicies(read={None: NOTHING})) as stage:
        assert await refusal(stage, version) == ("error", {"reason": f"Unauthorized: {DENIED}"})


@pytest.mark.parametrize(
    "code", ["QueryCanceled", "MissingPartition", "IncreaseConnectionPool"]
)
async def test_a_policy_that_cannot_be_asked_refuses_in_its_own_words(
    autojump_clock, version, code
):
    policies = FakePolicies(read_fault=PolicyUndecided(code, "why"))
    async with open_stage(policies=policies) as stage:
        assert await refusal(stage, version) == ("error", {"reason": f"{code}: why"})


async def test_public_channels_ask_no_policy(autojump_clock, version):
    policies = FakePolicies(read={None: NOTHING}, write={None: NOTHING})
    async with open_stage(policies=policies) as stage:
        one, other = stage.connect(version), stage.connect(version)
        await one.joined()
        await other.joined()
        one.broadcast(MESSAGE)

        assert [message.event for message in await other.received()] == ["broadcast"]
        assert (policies.asked_to_read, policies.asked_to_write) == ([], [])


async def test_who_may_only_read_is_not_heard_and_not_answered(autojump_clock, version):
    policies = FakePolicies(write={None: NOTHING})
    async with open_stage(policies=policies) as stage:
        one = await member(stage, version, broadcast={"ack": True})
        other = await member(stage, version)
        one.broadcast(MESSAGE)

        assert await other.received() == []
        assert await one.received() == []


async def test_writing_is_asked_about_once_for_each_token(autojump_clock, version):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        one = await member(stage, version)
        assert policies.asked_to_write == []
        for _ in range(3):
            one.broadcast(MESSAGE)
        await one.received()
        one.push("access_token", {"access_token": fake_token("authenticated")})
        one.broadcast(MESSAGE)
        await one.received()

        assert policies.asked_to_write == [("anon", "room"), ("authenticated", "room")]


async def test_a_policy_that_could_not_be_asked_is_asked_again(autojump_clock, version):
    policies = FakePolicies(write_fault=PolicyUndecided("QueryCanceled", "why"))
    async with open_stage(policies=policies) as stage:
        one, other = await member(stage, version), await member(stage, version)
        one.broadcast(MESSAGE)
        assert await other.received() == []
        policies.write_fault = None
        one.broadcast(MESSAGE)

        assert [message.event for message in await other.received()] == ["broadcast"]


async def test_policies_see_the_headers_of_the_socket(autojump_clock, version):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        client = stage.connect(version, headers=b'{"x-room":"blue"}')
        await client.joined(private=True)
        client.broadcast(MESSAGE)
        await client.received()

        assert [json.loads(seen) for seen in policies.headers] == [{"x-room": "blue"}] * 2


@pytest.mark.parametrize("presence", [True, False])
async def test_presence_is_asked_about_only_if_it_is_wanted(autojump_clock, version, presence):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        await member(stage, version, presence=presence)

        assert policies.asked_to_read == [("anon", "room", presence)]


async def test_who_may_read_presence_alone_hears_no_broadcasts(autojump_clock, version):
    async with open_stage(policies=FakePolicies(read={None: PRESENCE})) as stage:
        one = await member(stage, version, presence=True)
        other = await member(stage, version, presence=True)
        await other.received()
        one.broadcast(MESSAGE)
        one.track({"n": 1})

        assert [message.event for message in await other.received()] == ["presence_diff"]


async def test_who_may_not_read_presence_is_told_nothing_of_it(autojump_clock, version):
    async with open_stage(policies=FakePolicies(read={None: BROADCAST})) as stage:
        one = await member(stage, version, presence=True)
        other = await member(stage, version, presence=True)
        one.track({"n": 1})
        one.broadcast(MESSAGE)

        assert [message.event for message in await other.received()] == ["broadcast"]


async def test_who_may_not_be_present_is_answered_so(autojump_clock, version):
    async with open_stage(policies=FakePolicies(write={None: BROADCAST})) as stage:
        one = await member(stage, version, presence=True)
        await one.received()
        one.track({"n": 1})

        (reply,) = await one.received()
        assert (reply.payload["status"], reply.response) == ("error", {})


async def test_who_tracks_without_having_asked_for_presence_hears_of_it_if_it_may(
    autojump_clock, version
):
    async with open_stage(policies=FakePolicies()) as stage:
        one, other = await member(stage, version), await member(stage, version)
        other.track({"n": 1})
        assert {message.event for message in await other.received()} == {
            "phx_reply",
            "presence_diff",
        }
        assert await one.received() == []


async def test_what_is_granted_by_a_new_token_begins(autojump_clock, version):
    policies = FakePolicies(read={None: PRESENCE})
    async with open_stage(policies=policies) as stage:
        one = await member(stage, version, presence=True)
        other = await member(stage, version, presence=True)
        policies.read = {None: EVERYTHING}
        one.push("access_token", {"access_token": fake_token("authenticated")})
        await one.received()
        other.broadcast(MESSAGE)

        assert [message.event for message in await one.received()] == ["broadcast"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (EVERYTHING, NOTHING, DENIED),
        (EVERYTHING, BROADCAST, LOST),
        (EVERYTHING, PRESENCE, LOST),
        (PRESENCE, BROADCAST, LOST),
    ],
)
async def test_what_a_new_token_takes_away_ends_the_subscription(
    autojump_clock, version, before, after, words
):
    policies = FakePolicies(read={None: before})
    async with open_stage(policies=policies) as stage:
        one = await member(stage, version, presence=True)
        await one.received()
        policies.read = {None: after}
        one.push("access_token", {"access_token": fake_token("authenticated")})

        system, close = await one.received()
        assert (system.payload["message"], close.event) == (words, "phx_close")


async def test_a_policy_that_cannot_be_asked_about_a_new_token_ends_the_subscription(
    autojump_clock, version
):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        one = await member(stage, version)
        policies.read_fault = PolicyUndecided("QueryCanceled", "x", "Query was cancelled")
        one.push("access_token", {"access_token": fake_token("authenticated")})

        system, close = await one.received()
        assert (system.payload["message"], close.event) == ("Query was cancelled", "phx_close")


async def test_a_topic_is_a_name_and_never_a_prefix(autojump_clock, version):
    policies = FakePolicies(read={"room": EVERYTHING, None: NOTHING})
    async with open_stage(policies=policies) as stage:
        await member(stage, version)
        client = stage.connect(version)
        client.join(f"{ROOM}2", private=True)
        await trio.sleep(5)

        (reply,) = await client.received()
        assert reply.payload["status"] == "error"


async def test_who_is_expelled_while_a_policy_is_asked_is_not_heard_any_more(
    autojump_clock, version
):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        one = stage.connect(version, expires_at=trio.current_time() + 60)
        await one.joined(private=True)
        other = await member(stage, version)
        await trio.sleep(55)
        policies.write_s = 10.0
        one.broadcast(MESSAGE)
        await trio.sleep(20)

        assert [message.event for message in await one.received()] == ["system", "phx_close"]
        assert await other.received() == []


async def test_who_is_expelled_while_a_policy_is_asked_is_not_present(autojump_clock, version):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        one = stage.connect(version, expires_at=trio.current_time() + 60)
        await one.joined(private=True)
        other = await member(stage, version, presence=True)
        await other.received()
        await trio.sleep(55)
        policies.write_s = 10.0
        one.track({"n": 1})
        await trio.sleep(20)

        assert [message.event for message in await one.received()] == ["system", "phx_close"]
        assert await other.received() == []


async def test_what_could_not_be_asked_at_the_first_track_is_asked_at_the_next(
    autojump_clock, version
):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        one = await member(stage, version)
        policies.read_fault = PolicyUndecided("QueryCanceled", "why")
        one.track({"n": 1})
        assert [message.event for message in await one.received()] == ["phx_reply"]
        policies.read_fault = None
        one.track({"n": 2})

        events = {message.event for message in await one.received()}
        assert events == {"phx_reply", "presence_diff"}


async def test_to_track_does_not_take_away_what_was_granted_to_the_token(
    autojump_clock, version
):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        one = await member(stage, version)
        policies.read = {None: PRESENCE}
        one.track({"n": 1})
        await one.received()
        # The policy was changed, which counts from the next token on.
        one.push("access_token", {"access_token": fake_token("authenticated")})
        await trio.sleep(1)

        system, close = await one.received()
        assert (system.payload["message"], close.event) == (LOST, "phx_close")


async def test_the_same_track_again_hears_of_presence_when_the_policy_answers(
    autojump_clock, version
):
    policies = FakePolicies()
    async with open_stage(policies=policies) as stage:
        one, other = await member(stage, version), await member(stage, version)
        policies.read_fault = PolicyUndecided("QueryCanceled", "why")
        one.track({"n": 1})
        await one.received()
        policies.read_fault = None
        one.track({"n": 1})
        await one.received()
        other.track({"n": 2})
        await other.received()

        assert [message.event for message in one.received_nowait()] == ["presence_diff"]
