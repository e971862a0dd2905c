"""Tokens while they are used: exchanged by the client, verified again, and what becomes of bad ones."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.credentials import AT_A_TIME
from actors.realtime.errors import Refused, Unauthorized
from actors.realtime.tenant import Limits
from tests.support.memory_tenant import ROOM, fake_token, open_stage

VERSIONS = ["1.0.0", "2.0.0"]
NO_DELAY = Limits(join_error_delay_s=0.0)
OTHER = "realtime:other"
MALFORMED = "The token provided is not a valid JWT"
MISSING = "Fields `role` and `exp` are required in JWT"

pytestmark = pytest.mark.parametrize("version", VERSIONS)


def exchange(client, token, topic=ROOM, **refs):
    """Push an access token and return the push's ref."""
    return client.push("access_token", {"access_token": token}, topic, **refs)


def in_seconds(seconds, role="anon", sub=""):
    """Return a token that expires so many seconds from now."""
    return fake_token(role, expires_at=trio.current_time() + seconds, sub=sub)


def assert_expelled(messages, join_ref, reason, topic=ROOM):
    """Check that these messages are the end of a subscription for that reason, and nothing else."""
    notice, close = messages
    assert (notice.event, notice.topic, notice.ref) == ("system", topic, None)
    assert notice.payload == {
        "extension": "system",
        "status": "error",
        "message": reason,
        "channel": topic.removeprefix("realtime:"),
    }
    assert (close.event, close.topic, close.payload) == ("phx_close", topic, {})
    assert close.ref == join_ref


async def is_member(client, stage, topic=ROOM) -> bool:
    """Whether a client hears what is said on a topic."""
    publisher = stage.connect()
    await publisher.joined(topic)
    publisher.broadcast("anybody there?", topic)
    heard = [message.event for message in await client.received()]
    publisher.leave_socket()
    assert heard in ([], ["broadcast"])
    return bool(heard)


async def test_a_good_token_is_taken_without_a_word(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined()
        exchange(client, in_seconds(3600, "authenticated"))

        assert await client.received() == []
        assert await is_member(client, stage)


async def test_a_new_token_counts_from_then_on_and_the_old_one_no_more(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 60)
        join_ref = await client.joined()
        exchange(client, in_seconds(600))
        await trio.sleep(599)
        assert await is_member(client, stage)
        await trio.sleep(1)

        assert_expelled(await client.received(), join_ref, "Token has expired 0 seconds ago")


@pytest.mark.parametrize("token", [None, 7, ["anon"], "sb_publishable_1", "sb_secret_1"])
async def test_what_is_no_token_is_ignored_and_the_old_one_still_expires(
    autojump_clock, version, token
):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 60)
        join_ref = await client.joined()
        exchange(client, token)
        assert await client.received() == []
        await trio.sleep(60)

        assert_expelled(await client.received(), join_ref, "Token has expired 0 seconds ago")


async def test_a_push_without_a_token_is_ignored(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined()
        for payload in ({}, {"token": "x"}, [], None):
            client.push("access_token", payload)

        assert await client.received() == []
        assert await is_member(client, stage)


async def test_the_token_that_holds_already_is_not_looked_at(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        token = in_seconds(3600)
        client.join(token=token)
        await client.received()
        verified = len(stage.verifier.verified)
        exchange(client, token)

        assert await client.received() == []
        assert len(stage.verifier.verified) == verified


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", MALFORMED),
        ("nonsense", MALFORMED),
        ("anon  -30", "Token has expired"),
        ("no role", MISSING),
        ("forged", ":signature_error"),
        ("unknown key", 'Failed to generate JWT signer for key ID (kid) "k"'),
        ("for others", "Unknown Error on Channel"),
    ],
)
async def test_a_bad_token_ends_its_subscription_and_no_other(
    autojump_clock, version, token, reason
):
    async with open_stage() as stage:
        stage.verifier.refused = {
            "no role": Unauthorized("InvalidJWTToken", MISSING),
            "forged": Unauthorized("JwtSignatureError", "Failed", ":signature_error"),
            "unknown key": Unauthorized("JwtSignerError", reason),
            "for others": Refused("", reason),
        }
        client = stage.connect(version)
        join_ref = await client.joined()
        await client.joined(OTHER)
        pushes = client.socket.outbox.pushes
        exchange(client, token)

        notice, close = await client.received()
        assert notice.payload["message"].startswith(reason)
        assert_expelled([notice, close], join_ref, notice.payload["message"])
        assert client.socket.outbox.pushes == pushes + 1
        assert not await is_member(client, stage)
        assert await is_member(client, stage, OTHER)


async def test_an_expelled_client_is_unknown_on_the_topic_and_may_join_again(
    autojump_clock, version
):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined()
        exchange(client, "nonsense")
        await client.received()
        ref = client.broadcast("still here")

        (reply,) = await client.received()
        assert (reply.ref, reply.response) == (ref, {"reason": "unmatched topic"})
        await client.joined()
        assert await is_member(client, stage)


async def test_a_token_for_a_topic_that_is_not_joined_is_unmatched(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        ref = exchange(client, "anon")

        (reply,) = await client.received()
        assert (reply.ref, reply.response) == (ref, {"reason": "unmatched topic"})


@pytest.mark.parametrize("join_ref", [None, "stale"])
async def test_a_stale_or_missing_join_ref_does_not_matter(autojump_clock, version, join_ref):
    async with open_stage() as stage:
        client = stage.connect(version)
        joined_as = await client.joined()
        exchange(client, "nonsense", join_ref=join_ref)

        assert_expelled(await client.received(), joined_as, MALFORMED)


async def test_a_token_that_may_not_read_a_private_topic_ends_it(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version, role="service_role")
        join_ref = await client.joined(private=True)
        await client.joined(OTHER)
        exchange(client, "anon")
        exchange(client, "anon", OTHER)

        assert_expelled(
            await client.received(),
            join_ref,
            "You do not have permissions to read from this Channel topic: room",
        )
        assert await is_member(client, stage, OTHER)


async def test_a_token_that_comes_while_its_join_waits_counts_after_the_answer(
    autojump_clock, version
):
    async with open_stage() as stage:
        client = stage.connect(version)
        stage.verifier.hold()
        join_ref = client.join()
        exchange(client, in_seconds(60, sub="first"))
        exchange(client, "nonsense")
        assert await client.received() == []
        stage.verifier.release()

        reply, *end = await client.received()
        assert (reply.ref, reply.payload["status"]) == (join_ref, "ok")
        assert_expelled(end, join_ref, MALFORMED)


async def test_a_token_whose_key_is_waited_for_delays_the_end_of_no_other(
    autojump_clock, version
):
    async with open_stage() as stage:
        client = stage.connect(version)
        slow, brief = (in_seconds(3600, sub="slow"), in_seconds(300, sub="brief"))
        client.join(token=slow)
        join_ref = client.join(OTHER, token=brief)
        assert len(await client.received()) == 2
        stage.verifier.slow_s[slow] = 1000.0
        await trio.sleep(300)

        expired = "Token has expired 0 seconds ago"
        assert_expelled(await client.received(), join_ref, expired, OTHER)


async def test_no_more_than_a_few_tokens_are_verified_again_at_a_time(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        tokens = [in_seconds(60, sub=str(number)) for number in range(3 * AT_A_TIME)]
        for number, token in enumerate(tokens):
            client.join(f"{ROOM}-{number}", token=token)
        assert len(await client.received()) == len(tokens)
        stage.verifier.verified.clear()
        stage.verifier.hold()
        await trio.sleep(61)
        assert len(set(stage.verifier.verified)) == AT_A_TIME
        stage.verifier.release()

        assert len(await client.received()) == 2 * len(tokens)


async def test_what_is_sent_behind_a_token_is_judged_by_it(autojump_clock, version):
    async with open_stage() as stage:
        client, other = stage.connect(version), stage.connect()
        join_ref = await client.joined()
        await other.joined()
        stage.verifier.hold()
        exchange(client, "nonsense")
        client.broadcast("too late")
        await client.received()
        stage.verifier.release()

        messages = await client.received()
        (reply,) = [message for message in messages if message.event == "phx_reply"]
        assert reply.response == {"reason": "unmatched topic"}
        assert_expelled([m for m in messages if m is not reply], join_ref, MALFORMED)
        assert await other.received() == []


async def test_a_subscription_ends_in_the_second_in_which_its_token_expires(
    autojump_clock, version
):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 1000)
        client.join(token=in_seconds(100))
        join_ref, *_ = [message.ref for message in await client.received()]
        await client.joined(OTHER)
        await trio.sleep(99.5)
        assert await client.received() == []
        await trio.sleep(0.5)

        assert_expelled(await client.received(), join_ref, "Token has expired 0 seconds ago")
        await trio.sleep(800)
        assert await is_member(client, stage, OTHER)


async def test_the_socket_outlives_every_token(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 10)
        await client.joined()
        await trio.sleep(1000)
        await client.received()
        assert client.socket.outbox.close_code is None

        client.join(token=in_seconds(10))
        assert [m.payload["status"] for m in await client.received()] == ["ok"]


async def test_a_token_whose_key_is_gone_is_found_within_five_minutes(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        token = in_seconds(86_400)
        client.join(token=token)
        join_ref = (await client.received())[0].ref
        await client.joined(OTHER)
        await trio.sleep(10_000)
        stage.verifier.refused[token] = Unauthorized("JwtSignerError", "The key is gone")
        await trio.sleep(300)

        assert_expelled(await client.received(), join_ref, "The key is gone")
        assert await is_member(client, stage, OTHER)


async def test_a_token_of_many_topics_is_verified_once_for_all(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        for number in range(50):
            await client.joined(f"{ROOM}-{number}")
        stage.verifier.verified.clear()
        await trio.sleep(3000)

        assert len(stage.verifier.verified) <= 10


async def test_all_topics_of_an_expired_token_end_together(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 60)
        for number in range(20):
            await client.joined(f"{ROOM}-{number}")
        await trio.sleep(60)

        events = [message.event for message in await client.received()]
        assert events == ["system", "phx_close"] * 20
        assert stage.channels_supervisor.children() == ()


async def test_who_left_hears_nothing_of_the_expiry(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 60)
        client.push("phx_leave", join_ref=await client.joined())
        await client.received()
        await trio.sleep(600)

        assert await client.received() == []


async def test_a_token_that_expires_while_a_rejoin_waits_ends_the_old_join_alone(
    autojump_clock, version
):
    async with open_stage(limits=NO_DELAY) as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 60)
        first = await client.joined()
        await trio.sleep(59)
        good = in_seconds(3600, sub="slow")
        stage.verifier.slow_s[good] = 5
        second = client.join(token=good)
        await trio.sleep(1)

        # A 1.0.0 client cannot tell which join a phx_close is for, and would take it for its new one.
        told = [(m.event, m.ref) for m in await client.received()]
        assert told == [("system", None), ("phx_close", first)][: 1 + (version == "2.0.0")]
        await trio.sleep(5)
        (reply,) = await client.received()
        assert (reply.ref, reply.payload["status"]) == (second, "ok")
        assert await is_member(client, stage)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("nonsense", f"MalformedJWT: {MALFORMED}"),
        ("no role", f"InvalidJWTToken: {MISSING}"),
        ("anon  -1e9", "InvalidJWTToken: Token has expired"),
    ],
)
async def test_a_rejoin_with_a_bad_token_is_refused_and_ends_the_old_join(
    autojump_clock, version, token, reason
):
    async with open_stage(limits=NO_DELAY) as stage:
        stage.verifier.refused["no role"] = Unauthorized("InvalidJWTToken", MISSING)
        client = stage.connect(version)
        first = await client.joined()
        second = client.join(token=token)

        refusal, *close = await client.received()
        assert (refusal.ref, refusal.payload["status"]) == (second, "error")
        assert refusal.response["reason"].startswith(reason)
        assert [(m.event, m.ref) for m in close] == [("phx_close", first)][: version == "2.0.0"]
        assert not await is_member(client, stage)


@pytest.mark.parametrize(
    ("tokens", "is_good"),
    [
        ({"user_token": "anon", "access_token": "nonsense"}, True),
        ({"user_token": "nonsense", "access_token": "anon"}, False),
        ({"user_token": 7, "access_token": "anon"}, True),
        ({"user_token": "anon"}, True),
        ({"user_token": "nonsense"}, False),
        ({"access_token": "nonsense"}, False),
        ({"user_token": "nonsense", "access_token": "sb_secret_1"}, True),
        ({"user_token": "sb_secret_1", "access_token": "anon"}, False),
        ({"user_token": "sb_secret_1"}, True),
        ({"access_token": "sb_secret_1"}, True),
        ({"access_token": None, "user_token": None}, True),
        ({"access_token": 7}, True),
        ({"access_token": ""}, False),
        ({}, True),
    ],
    ids=str,
)
@pytest.mark.capability("SB-070")
async def test_which_token_of_a_join_counts(autojump_clock, version, tokens, is_good):
    async with open_stage(limits=NO_DELAY) as stage:
        client = stage.connect(version)
        client.push("phx_join", {"config": {}} | tokens)

        (reply,) = await client.received()
        assert reply.payload["status"] == ("ok" if is_good else "error")


async def test_a_token_that_came_in_time_saves_the_subscription_while_it_is_verified(
    autojump_clock, version
):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 10)
        await client.joined()
        await trio.sleep(8)
        token = fake_token("authenticated")
        stage.verifier.slow_s[token] = 5.0
        client.push("access_token", {"access_token": token})
        await trio.sleep(10)

        assert await client.received() == []


async def test_a_token_that_came_in_time_and_is_no_good_ends_it_all_the_same(
    autojump_clock, version
):
    async with open_stage() as stage:
        client = stage.connect(version, expires_at=trio.current_time() + 10)
        await client.joined()
        await trio.sleep(8)
        stage.verifier.slow_s["nonsense"] = 5.0
        client.push("access_token", {"access_token": "nonsense"})
        await trio.sleep(10)

        assert [message.event for message in await client.received()] == ["system", "phx_close"]
