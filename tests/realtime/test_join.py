"""Joining, leaving and joining again, as one client sees it."""

from __future__ import annotations

import pytest
import trio

from actors.realtime.channel import ChannelActor
from actors.realtime.messages import Attach
from actors.realtime.tenant import Limits
from protocol import frames
from tests.support.memory_tenant import open_stage

VERSIONS = ["1.0.0", "2.0.0"]
NO_DELAY = Limits(join_error_delay_s=0.0)


@pytest.mark.parametrize("version", VERSIONS)
async def test_leaving_is_answered_and_closed_in_one_push(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        join_ref = await client.joined()
        pushes = client.socket.outbox.pushes

        ref = client.push("phx_leave", join_ref=join_ref)

        reply, close = await client.received()
        assert (reply.event, reply.ref, reply.payload["status"]) == ("phx_reply", ref, "ok")
        assert (close.event, close.ref, close.payload) == ("phx_close", join_ref, {})
        assert client.socket.outbox.pushes == pushes + 1


@pytest.mark.capability("AG-021")
async def test_a_second_join_of_a_topic_is_answered_before_the_first_is_closed(autojump_clock):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        first = await client.joined()
        await other.joined()
        second = client.join()

        reply, close = await client.received()

        assert (reply.event, reply.ref) == ("phx_reply", second)
        assert (close.event, close.ref) == ("phx_close", first)
        other.broadcast(1)
        assert len(await client.received()) == 1


async def test_a_second_join_on_a_v1_socket_closes_nothing(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect("1.0.0")
        await client.joined()
        client.join()

        assert [m.event for m in await client.received()] == ["phx_reply"]


async def test_a_refused_rejoin_ends_the_earlier_join_too(autojump_clock):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        first = await client.joined()
        await other.joined()
        client.join(token="nonsense")
        await trio.sleep(6)

        refusal, close = await client.received()
        assert (close.event, close.ref) == ("phx_close", first)
        assert refusal.payload["response"] == {
            "reason": "MalformedJWT: The token provided is not a valid JWT"
        }
        other.broadcast(1)
        assert await client.received() == []


async def test_a_refusal_comes_late_and_delays_nothing_else(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        start = trio.current_time()
        refused = client.join(token="nonsense")
        await client.joined("realtime:other")
        assert trio.current_time() == start

        await trio.sleep(5.01)

        (reply,) = await client.received()
        assert (reply.ref, reply.payload["status"]) == (refused, "error")


async def test_what_was_sent_to_a_topic_whose_join_is_refused_is_unmatched(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        client.join(token="nonsense")
        ref = client.broadcast(1)
        await trio.sleep(6)

        refusal, unmatched = await client.received()

        assert refusal.payload["status"] == "error"
        assert (unmatched.ref, unmatched.response) == (ref, {"reason": "unmatched topic"})


async def test_a_client_that_floods_a_pending_join_is_gone_even_if_it_never_says_goodbye(
    autojump_clock, monkeypatch
):
    async def close(code, reason=""):
        client.socket.outbox.push(frames.close(code, reason))
        await trio.sleep_forever()

    async with open_stage() as stage:
        client = stage.connect()
        monkeypatch.setattr(client.socket, "close", close)
        client.join(token="nonsense")
        for number in range(100):
            client.broadcast(number)
        await trio.sleep(6)

        assert client.socket.outbox.close_code == 1008
        assert stage.connections_supervisor.children() == ()


async def test_leaving_while_the_join_waits_ends_it_for_good(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        join_ref = client.join(token="nonsense")
        await client.received()
        client.push("phx_leave", join_ref=join_ref)
        events = [m.event for m in await client.received()]
        await trio.sleep(10)

        assert events == ["phx_reply", "phx_close"]
        assert await client.received() == []


async def test_an_opaque_key_in_a_join_leaves_the_sockets_identity(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect(role="service_role")

        await client.joined(token="sb_publishable_123", private=True)


async def test_a_join_without_a_token_is_refused_once_the_sockets_has_expired(autojump_clock):
    async with open_stage(limits=NO_DELAY) as stage:
        client = stage.connect(expires_at=trio.current_time() + 60)
        await client.joined("realtime:before")
        await trio.sleep(90)
        assert {m.topic for m in await client.received()} == {"realtime:before"}
        for token in (None, "sb_publishable_123"):
            client.join(token=token)

            (reply,) = await client.received()

            assert reply.response == {
                "reason": "InvalidJWTToken: Token has expired 30 seconds ago"
            }
        client.join(token="anon")
        assert [m.payload["status"] for m in await client.received()] == ["ok"]


@pytest.mark.parametrize(("role", "status"), [("anon", "error"), ("service_role", "ok")])
@pytest.mark.capability("SB-073")
async def test_private_channels_are_for_the_service_role_until_there_are_policies(
    autojump_clock, role, status
):
    async with open_stage(limits=NO_DELAY) as stage:
        client = stage.connect(role=role)
        client.join(private=True)

        (reply,) = await client.received()

        assert reply.payload["status"] == status
        if status == "error":
            assert reply.response == {
                "reason": "Unauthorized: You do not have permissions "
                "to read from this Channel topic: room"
            }


async def test_a_stopping_node_tells_each_topic_and_sends_the_client_home(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined("realtime:a")
        await client.joined("realtime:b")
        await client.received()
    told = await client.received()

    assert {m.topic for m in told} == {"realtime:a", "realtime:b"}
    assert [m.payload for m in told] == [
        {"extension": "system", "status": "ok", "message": "Server requested disconnect"}
    ] * 2
    assert client.socket.outbox.close_code == 1012


async def test_five_thousand_sockets_leaving_at_once_leave_nobody_behind(autojump_clock):
    async with open_stage() as stage:
        clients = [stage.connect() for _ in range(5000)]
        for client in clients:
            client.join()
        await clients[-1].received()
        assert len(stage.channels_supervisor.children()[0].name) == 3

        for client in clients:
            client.leave_socket()
        await trio.testing.wait_all_tasks_blocked()

        assert stage.channel() is None


@pytest.mark.parametrize("digits", [300, 400, 5000])
async def test_a_timeout_that_is_longer_than_any_number_ends_no_connection(
    autojump_clock, digits
):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined()
        options = f'{{"wait":true,"timeout":{"1" * digits}}}'
        config = f'{{"config":{{"postgres_changes_options":{options}}}}}'
        client.send_raw(f'["9","9","realtime:other","phx_join",{config}]')
        await client.received()

        assert client.socket.outbox.close_code is None
        client.broadcast({"type": "broadcast", "event": "e", "payload": {}})
        assert await client.received() == []


@pytest.mark.parametrize("seed", range(8))
async def test_who_is_entered_in_the_moment_the_time_is_up_is_there_once(
    autojump_clock, monkeypatch, seed
):
    """Which of the two comes first is the scheduler's choice."""
    within_s = Limits().attach_within_s
    async with open_stage() as stage:
        other = stage.connect()
        await other.joined()
        stall, handle = trio.current_time() + within_s, ChannelActor._handle

        async def dawdle(self, message, inbox):
            if isinstance(message, Attach) and trio.current_time() < stall:
                await trio.sleep_until(stall)
            await handle(self, message, inbox)

        monkeypatch.setattr(ChannelActor, "_handle", dawdle)
        client = stage.connect()
        client.join()
        await trio.sleep(within_s + 20)
        statuses = [m.payload.get("status") for m in await client.received()]
        if "error" in statuses:
            await client.joined()
        other.broadcast({"type": "broadcast", "event": "e", "payload": {}})

        assert len(await client.received()) == 1
