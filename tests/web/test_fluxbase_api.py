"""Fluxbase's broadcast over HTTP: who may, what is delivered, and what is said otherwise."""

from __future__ import annotations

import json

import pytest
from trio.testing import wait_all_tasks_blocked

from actors.realtime.managed_channels import ManagedChannel
from actors.realtime.posting import Poster
from actors.realtime.tenant import Limits
from actors.web.app import site
from actors.web.bodies import BodyBudget
from actors.web.fluxbase_api import FluxbaseApi
from actors.web.request_rate import RequestRate
from protocol.managed import ChannelConfig
from tests.support.fluxbase import Visitor
from tests.support.memory_tenant import open_stage
from tests.support.web import start_port

GOOD = {"channel": "chat", "event": "e", "payload": {"x": 1}}
NONE = "channel, event and payload are what a broadcast has"


async def refuse(_request):
    raise AssertionError("nobody asks for a WebSocket here")


class Server:
    def __init__(self, stage, bodies_bytes=10_000) -> None:
        self.stage = stage
        tenant = stage.tenant
        self.api = FluxbaseApi(
            tenant.verifier,
            Poster(tenant, stage.metrics),
            BodyBudget(bodies_bytes),
            RequestRate(tenant.quota),
        )

    async def start(self, nursery):
        self.port = await start_port(
            nursery, site(supabase=refuse, api=self.api.routes()).application
        )

    async def post(self, body, token="authenticated") -> tuple[int, dict]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = [
            "POST /api/v1/realtime/broadcast HTTP/1.1",
            "host: x",
            f"content-length: {len(data)}",
            *([f"authorization: Bearer {token}"] if token else []),
        ]
        client = self.port.connect()
        await client.send("\r\n".join([*head, "", ""]).encode() + data)
        response = await client.response()
        return response.status, json.loads(response.body)


@pytest.fixture
async def stage(autojump_clock):
    async with open_stage(limits=Limits(payload_bytes=100)) as stage:
        yield stage


@pytest.fixture
async def server(stage, nursery):
    server = Server(stage)
    await server.start(nursery)
    return server


@pytest.mark.capability("FB-076")
async def test_members_hear_what_is_posted(autojump_clock, stage, server):
    visitor = Visitor(stage)
    await visitor.subscribed("chat")

    assert await server.post(GOOD) == (200, {"success": True, "channel": "chat"})
    await wait_all_tasks_blocked()
    assert await visitor.heard("broadcast") == [
        {"broadcast": {"event": "e", "payload": {"x": 1}}}
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff",
        {},
        {"channel": ""},
        {"channel": "table:public.notes"},
        {"channel": "chat", "payload": "x" * 200},
    ],
)
async def test_what_is_no_broadcast_is_told_so(autojump_clock, server, body):
    assert await server.post(body) == (400, {"error": NONE})


@pytest.mark.parametrize("token", ["", "nonsense"])
async def test_a_token_is_needed(autojump_clock, server, token):
    assert (await server.post(GOOD, token))[0] == 401


async def test_too_much_at_a_time_is_put_off(autojump_clock, stage, nursery):
    server = Server(stage, bodies_bytes=3)
    await server.start(nursery)

    assert (await server.post(GOOD))[0] == 503


async def test_a_server_that_is_switched_off_says_so(autojump_clock, stage, server):
    stage.tenant.status.is_suspended = True

    assert (await server.post(GOOD))[0] == 403


@pytest.mark.parametrize(
    ("config", "token", "status"),
    [
        ({"write": frozenset({"admin"})}, "authenticated", 403),
        ({}, "anon", 403),
        ({"max_message_bytes": 5}, "authenticated", 413),
        ({"rate_limit": 0}, "authenticated", 429),
    ],
    ids=["role", "anon", "size", "rate"],
)
@pytest.mark.capability("GF-111")
async def test_what_a_managed_channel_does_not_take_is_refused_and_heard_by_nobody(
    autojump_clock, stage, server, config, token, status
):
    visitor = Visitor(stage)
    await visitor.subscribed("chat")
    channel = ManagedChannel("chat", config=ChannelConfig(**config), is_created=True)
    stage.tenant.managed.add(channel)

    assert (await server.post(GOOD, token))[0] == status
    assert await visitor.heard("broadcast") == []


async def test_broadcasts_that_are_switched_off_are_off_over_http(
    autojump_clock, stage, server
):
    stage.tenant.status.takes_broadcasts = False

    assert (await server.post(GOOD))[0] == 403
