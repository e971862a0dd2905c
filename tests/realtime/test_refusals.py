"""Every reason for which a join can be refused: its literal text, when it comes, and what it does to the socket."""

from __future__ import annotations

import pytest
import trio
from attrs import field, frozen

from actors.realtime.admission import TOO_MANY_JOINS
from actors.realtime.quota import QuotaLimits
from actors.realtime.tenant import Limits
from protocol.phoenix.session import HELD_LIMIT_BYTES
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource

VERSIONS = ["1.0.0", "2.0.0"]
REPLAY = {"broadcast": {"replay": {"since": 1}}}
WAIT = {"postgres_changes": [{"schema": "public"}], "postgres_changes_options": {"wait": True}}


@frozen
class Case:
    """A join that is refused with `reason`, on a tenant with that status and those quotas.

    Somebody else has joined before, and with `has_joined` so has the client.
    """

    reason: str
    payload: object = field(factory=lambda: {"config": {}})
    topic: str = "realtime:room"
    role: str = "anon"
    status: str = ""
    quota: QuotaLimits = field(factory=QuotaLimits)
    has_joined: bool = False
    expires_at: float = 1e12


CASES = [
    Case("TopicNameRequired: You must provide a topic name", topic="realtime:"),
    Case(
        "RealtimeRestarting: Realtime is restarting, please standby",
        status="is_restarting",
    ),
    Case("RealtimeDisabledForTenant: Realtime disabled for this tenant", status="is_suspended"),
    Case(
        "PrivateOnly: This project only allows private channels",
        status="is_private_only",
    ),
    Case(
        "ConnectionRateLimitReached: Too many connected users",
        quota=QuotaLimits(max_concurrent_users=1),
    ),
    Case(
        "ChannelRateLimitReached: Too many channels",
        quota=QuotaLimits(max_channels_per_client=1),
        has_joined=True,
    ),
    Case("InvalidJWTToken: Token has expired 3 seconds ago", expires_at=-3),
    Case(
        "MalformedJWT: The token provided is not a valid JWT",
        {"config": {}, "access_token": "nonsense"},
    ),
    Case(
        "Unauthorized: You do not have permissions to read from this Channel topic: room",
        {"config": {"private": True}},
    ),
    Case(
        "UnableToReplayMessages: Replay is not allowed for public channels",
        {"config": REPLAY},
    ),
    Case(
        "UnableToReplayMessages: Replay params are not valid",
        {"config": {"private": True, "broadcast": {"replay": {}}}},
        role="service_role",
    ),
    Case(
        "UnableToReplayMessages: Realtime was unable to replay messages",
        {"config": {"private": True, **REPLAY}},
        role="service_role",
    ),
    Case(
        "UnableToSubscribeToPostgres: "
        "This server runs without a database: row changes are not available",
        {"config": WAIT},
    ),
    Case("UnknownErrorOnChannel: the join payload must be an object", [1]),
    Case("UnknownErrorOnChannel: the config of a join must be an object", {"config": [1]}),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
async def test_a_refusal_names_its_reason_late_and_the_socket_lives_on(
    autojump_clock, version, case
):
    async with open_stage(quota=case.quota) as stage:
        other = stage.connect(version)
        await other.joined("realtime:first")
        client = stage.connect(version, role=case.role, expires_at=case.expires_at)
        if case.has_joined:
            await client.joined("realtime:first")
        if case.status:
            setattr(stage.tenant.status, case.status, True)
        start = trio.current_time()

        ref = client.push("phx_join", case.payload, case.topic, join_ref="9")
        assert await client.received() == []
        await trio.sleep(start + 4.999 - trio.current_time())
        assert await client.received() == []
        await trio.sleep(0.002)

        (reply,) = await client.received()
        assert (reply.topic, reply.event, reply.ref) == (case.topic, "phx_reply", ref)
        assert reply.payload == {"status": "error", "response": {"reason": case.reason}}
        assert client.socket.outbox.close_code is None
        client.push("heartbeat", topic="phoenix")
        assert [m.payload["status"] for m in await client.received()] == ["ok"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_joining_too_fast_is_answered_and_closes_the_socket(autojump_clock, version):
    async with open_stage(quota=QuotaLimits(max_joins_per_second=1)) as stage:
        client, other = stage.connect(version), stage.connect(version)
        for number in range(5):
            await other.joined(f"realtime:{number}")
        await trio.sleep(5)
        client.join()
        await trio.sleep(4.9)
        assert await client.received() == []
        await trio.sleep(0.2)

        (reply,) = await client.received()
        assert reply.response == {"reason": f"ClientJoinRateLimitReached: {TOO_MANY_JOINS}"}
        assert client.socket.outbox.close_code == 1001
        assert other.socket.outbox.close_code is None
        assert stage.metrics.connections_closed["1001"]._value.get() == 1


async def test_a_tenant_that_is_joined_less_lets_clients_in_again(autojump_clock):
    async with open_stage(quota=QuotaLimits(max_joins_per_second=1)) as stage:
        client = stage.connect()
        for number in range(5):
            await client.joined(f"realtime:{number}")
        await trio.sleep(60)

        await client.joined("realtime:again")


async def test_joins_that_take_too_many_bytes_together_are_too_many_channels(autojump_clock):
    async with open_stage(limits=Limits(join_error_delay_s=1.0)) as stage:
        client = stage.connect()
        huge = {"config": {}, "padding": "x" * 250_000}
        for number in range(HELD_LIMIT_BYTES // 250_000):
            client.push("phx_join", huge, f"realtime:{number}")
        assert {m.payload["status"] for m in await client.received()} == {"ok"}
        client.push("phx_join", huge, "realtime:one too many")
        client.push("phx_join", huge, "realtime:another")
        assert await client.received() == []
        await trio.sleep(1.1)

        told = await client.received()
        assert [m.response for m in told] == [{"reason": "too many channels joined"}] * 2


@pytest.mark.parametrize("payload", ["null", '{"config":5}'])
async def test_a_rejoin_that_makes_no_sense_ends_the_earlier_join(autojump_clock, payload):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        first = await client.joined()
        await other.joined()
        client.send_raw(f'["2","2","realtime:room","phx_join",{payload}]')
        await client.received()
        other.broadcast(1)
        await trio.sleep(5.1)

        refusal, close = await client.received()
        assert refusal.payload["status"] == "error"
        assert (close.event, close.ref) == ("phx_close", first)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_socket_whose_joins_all_fail_is_no_user(autojump_clock, version):
    async with open_stage(quota=QuotaLimits(max_concurrent_users=1)) as stage:
        failing, joining = stage.connect(version), stage.connect(version)
        failing.join(token="nonsense")
        await failing.received()

        await joining.joined()

        assert len(stage.tenant.quota.users) == 1


async def test_a_join_that_is_called_off_gives_its_place_back(autojump_clock):
    source = MemorySource()
    source.advice = "away"
    async with open_stage(quota=QuotaLimits(max_concurrent_users=1), source=source) as stage:
        waiting, other = stage.connect(), stage.connect()
        ref = waiting.join(**WAIT)
        await waiting.received()
        waiting.push("phx_leave", join_ref=ref)
        await waiting.received()

        await other.joined()


async def test_a_user_that_is_gone_makes_room(autojump_clock):
    async with open_stage(quota=QuotaLimits(max_concurrent_users=1)) as stage:
        first, second = stage.connect(), stage.connect()
        await first.joined()
        first.leave_socket()
        await first.received()

        await second.joined()


async def test_two_joins_at_once_cannot_share_the_last_place(autojump_clock):
    async with open_stage(quota=QuotaLimits(max_concurrent_users=1)) as stage:
        clients = [stage.connect() for _ in range(10)]
        for client in clients:
            client.join()
        await trio.sleep(6)

        replies = [(await client.received())[0] for client in clients]
        assert sum(reply.payload["status"] == "ok" for reply in replies) == 1


async def test_channels_that_are_being_joined_count_and_refused_ones_do_not(autojump_clock):
    async with open_stage(quota=QuotaLimits(max_channels_per_client=2)) as stage:
        client = stage.connect()
        client.join("realtime:bad", token="nonsense")
        await client.received()
        for name in "abc":
            client.join(f"realtime:{name}")
        replies = await client.received()
        assert {m.payload["status"] for m in replies} == {"ok"}
        assert len(replies) == 2
