"""What was decided about a channel binds whoever reaches its topic, in any dialect."""

from __future__ import annotations

import json

import pytest
import trio
from attrs import evolve

from actors.realtime.errors import Refused
from actors.realtime.managed_channels import ChannelRules, ManagedChannel
from actors.realtime.managed_joins import ManagedGate
from actors.realtime.messages import EndSubscriptions
from actors.realtime.ports import Identity
from actors.realtime.tenant import Limits
from protocol.commands import Join
from protocol.managed import ChannelConfig
from protocol.managed_json import read_config
from protocol.phoenix import PhoenixDialect
from tests.support.memory_tenant import ROOM, fake_token, open_stage


def config(**permissions) -> ChannelConfig:
    return read_config(json.dumps({"permissions": permissions}).encode())


def manage(stage, config=None, name="room", **fields) -> ManagedChannel:
    """Have a channel as if somebody had created it."""
    channel = ManagedChannel(name, config=config or ChannelConfig(), is_created=True, **fields)
    stage.tenant.managed.add(channel)
    return channel


async def join(client, **config):
    """Join and return the answer's status and reason."""
    ref = client.join(**config)
    await trio.sleep(6)
    (answer,) = [m for m in await client.received() if m.ref == ref]
    return answer.payload["status"], answer.response.get("reason")


@pytest.mark.capability("GF-008", "GF-014", "GF-111", "GF-160")
async def test_a_role_without_permission_to_read_is_not_let_in(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(read=["service_role"]))

        status, reason = await join(stage.connect(role="authenticated"))

        assert status == "error"
        assert reason.startswith("ChannelPermissionDenied: ")


async def test_a_role_with_permission_to_read_is_let_in(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(read=["authenticated"]))

        assert await join(stage.connect(role="authenticated")) == ("ok", None)


@pytest.mark.capability("GF-013")
@pytest.mark.parametrize(("require_auth", "status"), [(True, "error"), (False, "ok")])
async def test_anonymous_clients_are_let_in_if_no_authentication_is_required(
    require_auth, status, autojump_clock
):
    async with open_stage() as stage:
        manage(stage, ChannelConfig(require_auth=require_auth))

        found, _ = await join(stage.connect(role="anon"))

        assert found == status


async def test_a_private_topic_of_the_name_is_another_channel(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(read=[]))
        client = stage.connect(role="service_role")

        await client.joined(private=True)


async def test_a_channel_that_nobody_created_binds_nobody_but_managed_joins(autojump_clock):
    async with open_stage() as stage:
        stage.tenant.managed.add(ManagedChannel("room", config=config(read=[])))

        assert await join(stage.connect(role="anon")) == ("ok", None)


@pytest.mark.capability("GF-012", "GF-120")
async def test_a_full_channel_takes_nobody_until_somebody_goes(autojump_clock):
    async with open_stage() as stage:
        manage(stage, ChannelConfig(max_subscribers=1, require_auth=False))
        first = stage.connect()
        await first.joined()

        refused = await join(stage.connect())
        first.leave_socket()
        await trio.testing.wait_all_tasks_blocked()

        assert refused[1].startswith("ChannelFull: ")
        assert await join(stage.connect()) == ("ok", None)


async def test_joins_that_come_together_do_not_share_the_last_place(autojump_clock):
    async with open_stage() as stage:
        manage(stage, ChannelConfig(max_subscribers=3, require_auth=False))
        clients = [stage.connect() for _ in range(10)]
        for client in clients:
            client.join()
        await trio.sleep(6)

        answers = [(await client.received())[0].payload["status"] for client in clients]

        assert answers.count("ok") == 3


async def test_a_member_who_joins_again_keeps_the_place(autojump_clock):
    async with open_stage() as stage:
        manage(stage, ChannelConfig(max_subscribers=2, require_auth=False))
        client = stage.connect()
        await client.joined()

        assert await join(client) == ("ok", None)


async def two_members(stage, **config):
    speaker, hearer = stage.connect(role="authenticated"), stage.connect(role="authenticated")
    await speaker.joined(**config)
    await hearer.joined()
    await speaker.received()
    return speaker, hearer


async def test_a_role_without_permission_to_write_is_not_heard(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(write=["admin"]))
        speaker, hearer = await two_members(stage, broadcast={"ack": True})

        speaker.broadcast({"n": 1})

        (answer,) = await speaker.received()
        assert answer.payload == {"status": "error", "response": "permission_denied"}
        assert await hearer.received() == []


async def test_a_role_without_permission_to_write_is_not_present(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(write=["admin"]))
        speaker, hearer = await two_members(stage)

        speaker.track({"n": 1})

        (answer,) = await speaker.received()
        assert answer.payload["status"] == "error"
        assert await hearer.received() == []


@pytest.mark.capability("GF-108")
async def test_a_message_is_no_larger_than_the_channel_allows(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(max_message_size=20))
        speaker, hearer = await two_members(stage, broadcast={"ack": True})

        speaker.broadcast({"n": "12345678"})
        speaker.broadcast({"n": "1234567890123456789"})

        answers = [m.payload for m in await speaker.received()]
        assert answers == [
            {"status": "ok", "response": {}},
            {"status": "error", "response": "payload_size_exceeded"},
        ]
        assert len(await hearer.received()) == 1


@pytest.mark.capability("GF-118")
async def test_one_user_says_no_more_per_second_than_the_channel_allows(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(rate_limit=2))
        speaker, hearer = await two_members(stage, broadcast={"ack": True})

        for n in range(3):
            speaker.broadcast({"n": n})
        answers = [m.payload["response"] for m in await speaker.received()]
        hearer.broadcast({"n": 3})
        await trio.sleep(1.5)
        speaker.broadcast({"n": 4})
        await trio.testing.wait_all_tasks_blocked()

        assert answers == [{}, {}, "rate_limit_exceeded"]
        assert [m.payload["payload"]["n"] for m in await hearer.received()] == [0, 1, 4]


async def test_who_is_silent_is_not_counted_for_ever(autojump_clock):
    async with open_stage() as stage:
        channel = manage(stage, config(rate_limit=2))
        for n in range(50):
            channel.count(str(n))
        await trio.sleep(2)

        channel.forget_silent()

        assert not channel._counted
        assert not channel._counted_at


async def test_subscriptions_that_are_ended_read_why_and_the_others_go_on(autojump_clock):
    async with open_stage() as stage:
        staying, leaving = stage.connect(role="anon"), stage.connect(role="authenticated")
        await staying.joined()
        await leaving.joined()
        await staying.received()

        stage.channel().tell(
            EndSubscriptions(lambda s: s.identity.role == "anon", "It is over", "Why")
        )

        system, close = await leaving.received()
        assert (system.event, system.payload["message"]) == ("system", "It is over")
        assert close.event == "phx_close"
        assert await staying.received() == []


async def test_another_token_of_a_member_needs_the_permission_to_read(autojump_clock):
    async with open_stage() as stage:
        manage(stage, config(read=["authenticated"]))
        client = stage.connect(role="authenticated")
        join_ref = await client.joined()

        token = fake_token("anon")
        client.push("access_token", {"access_token": token}, ROOM, join_ref=join_ref)

        assert [m.event for m in await client.received()] == ["system", "phx_close"]


class ManagedSession:
    """A session whose joins are managed ones."""

    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def receive(self, data):
        return [as_managed(command) for command in self._session.receive(data)]


def as_managed(command):
    if not isinstance(command, Join):
        return command
    return evolve(command, options=evolve(command.options, managed=True))


class Managed(PhoenixDialect):
    """A dialect whose joins are managed ones."""

    def session(self, user_id=""):
        return ManagedSession(super().session(user_id))


@pytest.mark.capability("GF-163")
async def test_a_managed_join_creates_the_channel_unless_that_is_off(autojump_clock):
    for auto_create, expected in ((True, "ok"), (False, "error")):
        async with open_stage() as stage:
            stage.tenant.managed.rules = ChannelRules(auto_create=auto_create)
            client = stage.connect(role="authenticated", dialect=Managed("2.0.0"))

            status, reason = await join(client)

            assert status == expected
            assert (stage.tenant.managed.get("room") is not None) is auto_create
            assert auto_create or reason.startswith("ChannelNotFound: ")


async def test_a_managed_join_is_refused_while_nobody_knows_which_channels_there_are(
    autojump_clock,
):
    async with open_stage() as stage:
        stage.tenant.managed.is_loaded = False
        client = stage.connect(role="authenticated", dialect=Managed("2.0.0"))

        _, reason = await join(client)

        assert reason.startswith("ChannelsUnknown: ")


@pytest.mark.capability("GF-082")
async def test_no_more_channels_come_into_being_than_there_may_be(autojump_clock):
    async with open_stage() as stage:
        stage.tenant.managed.rules = ChannelRules(max_channels=1)
        manage(stage, name="other")
        client = stage.connect(role="authenticated", dialect=Managed("2.0.0"))

        _, reason = await join(client)

        assert reason.startswith("ChannelLimitReached: ")


async def test_channels_that_nobody_is_in_make_room_for_others(autojump_clock):
    async with open_stage() as stage:
        stage.tenant.managed.rules = ChannelRules(max_channels=1)
        stage.tenant.managed.add(ManagedChannel("other"))
        client = stage.connect(role="authenticated", dialect=Managed("2.0.0"))

        assert await join(client) == ("ok", None)


@pytest.mark.capability("GF-088", "GF-087")
async def test_what_the_operator_switched_off_is_off_for_everybody(autojump_clock):
    async with open_stage() as stage:
        stage.tenant.status.takes_broadcasts = stage.tenant.status.takes_presence = False
        speaker, hearer = await two_members(stage, broadcast={"ack": True})

        speaker.broadcast({"n": 1})
        speaker.track({"n": 1})

        answers = [m.payload for m in await speaker.received()]
        assert answers == [
            {"status": "error", "response": "feature_disabled"},
            {"status": "error", "response": {"reason": "presence", "code": "feature_disabled"}},
        ]
        assert await hearer.received() == []


async def test_one_user_has_no_more_connections_than_allowed_and_the_older_ones_go_on(
    autojump_clock,
):
    async with open_stage(limits=Limits(connections_per_user=2)) as stage:
        clients = []
        for _ in range(3):
            clients.append(stage.connect(sub="ann"))
            await trio.testing.wait_all_tasks_blocked()
        other = stage.connect(sub="bob")

        answers = [(await join(client))[0] for client in (*clients, other)]
        clients[0].leave_socket()
        await trio.testing.wait_all_tasks_blocked()

        assert answers == ["ok", "ok", "error", "ok"]
        assert (await join(clients[2]))[0] == "ok"


@pytest.mark.parametrize(
    ("config", "role", "code"),
    [
        (ChannelConfig(max_subscribers=1), "authenticated", "ChannelFull"),
        (ChannelConfig(), "anon", "ChannelPermissionDenied"),
    ],
)
async def test_the_gate_says_what_a_join_would_be_told(config, role, code, autojump_clock):
    async with open_stage() as stage:
        manage(stage, config)
        await stage.connect(role="service_role").joined()
        gate = ManagedGate(stage.tenant)

        with pytest.raises(Refused) as refused:
            gate.refuse("room", Identity(role, b"{}", 1e12))

        assert refused.value.code == code


async def test_the_gate_lets_in_who_may_join(autojump_clock):
    async with open_stage() as stage:
        manage(stage, ChannelConfig(require_auth=False))
        gate = ManagedGate(stage.tenant)

        gate.refuse("room", Identity("anon", b"{}", 1e12))
        gate.refuse("other", Identity("authenticated", b"{}", 1e12))

        assert gate.admits_anonymous("room")
        assert not gate.admits_anonymous("other")


async def test_a_message_counts_once_however_it_ends(autojump_clock):
    async with open_stage(limits=Limits(payload_bytes=100)) as stage:
        manage(stage, config(rate_limit=2))
        client = stage.connect(role="authenticated", sub="u1")
        await client.joined(broadcast={"ack": True})

        for payload in ({"n": "x" * 100}, {"n": 1}, {"n": 2}):
            client.broadcast(payload)

        answers = [m.payload["response"] for m in await client.received()]
        assert answers == ["payload_size_exceeded", {}, "rate_limit_exceeded"]


async def test_who_joins_a_full_channel_anew_keeps_its_place(autojump_clock):
    async with open_stage() as stage:
        manage(stage, ChannelConfig(max_subscribers=1))
        client = stage.connect(role="authenticated")
        await client.joined()

        assert await join(client) == ("ok", None)
        status, reason = await join(stage.connect(role="authenticated"))
        assert (status, reason.split(":")[0]) == ("error", "ChannelFull")
