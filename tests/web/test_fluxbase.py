"""The door for Fluxbase's WebSockets: who is let in as whom, and what the others are told."""

from __future__ import annotations

import json

import pytest

from actors.auth.roles import NoRoles, RoleVerifier
from actors.realtime.errors import RateLimited, Suspended, TokenExpired
from actors.web.fluxbase import FluxbaseEndpoint, FluxbaseOptions
from tests.support.web import GOOD_TOKEN, FakeDoor, FakeVerifier, echo, start_port

REFUSED = {"error": "Invalid or expired token"}


class Node:
    def __init__(self, nursery, **options) -> None:
        self.verifier = FakeVerifier()
        self.door = FakeDoor(nursery, echo)
        self.endpoint = FluxbaseEndpoint(
            RoleVerifier(self.verifier, NoRoles()),
            self.door,
            options=FluxbaseOptions(max_message_bytes=100, **options),
        )


async def connect(nursery, node):
    port = await start_port(nursery, websockets={"/realtime": node.endpoint})
    return port.connect()


@pytest.fixture
async def node(nursery):
    return Node(nursery)


@pytest.fixture
async def client(nursery, node):
    return await connect(nursery, node)


async def refused(client, path: str) -> tuple[int, dict]:
    response = await client.upgrade(path)
    assert response.headers["content-type"] == "application/json"
    return response.status, json.loads(response.body)


@pytest.mark.capability("FB-016")
async def test_a_client_without_a_token_is_anon(autojump_clock, node, client):
    response = await client.upgrade("/realtime")

    (opening,) = node.door.openings
    assert response.status == 101
    assert (opening.dialect.name, opening.identity.role) == ("fluxbase", "anon")


@pytest.mark.capability("FB-002", "FB-017")
async def test_a_client_with_a_token_is_its_user(autojump_clock, node, client):
    await client.upgrade(f"/realtime?token={GOOD_TOKEN}")

    (opening,) = node.door.openings
    assert opening.identity == await node.verifier.verify(GOOD_TOKEN)
    assert opening.verifier is node.endpoint.verifier


@pytest.mark.capability("FB-018", "FB-054")
async def test_a_bad_token_is_refused(autojump_clock, node, client):
    node.verifier.refusals["expired"] = TokenExpired(5)

    assert await refused(client, "/realtime?token=expired") == (401, REFUSED)
    assert node.door.openings == []


@pytest.mark.capability("FB-085")
async def test_an_operator_may_ask_for_tokens(autojump_clock, nursery):
    node = Node(nursery, is_token_needed=True)
    client = await connect(nursery, node)

    assert await refused(client, "/realtime") == (401, {"error": "Authentication required"})


async def test_a_server_that_is_off_or_full_says_so(autojump_clock, nursery, node, client):
    node.door.suspension = Suspended("TenantSuspended", "off")
    assert (await refused(client, "/realtime"))[0] == 403
    node.door.suspension = None
    node.door.fullness = RateLimited("ConnectionRateLimitReached", "full")
    again = await connect(nursery, node)

    assert await refused(again, "/realtime") == (429, {"error": "full"})


async def test_the_path_is_exact(autojump_clock, node, client):
    response = await client.upgrade("/realtime/")

    assert response.status == 404


@pytest.mark.capability("FB-052")
async def test_a_request_that_is_no_upgrade_is_told_so(autojump_clock, node, client):
    response = await client.get("/realtime")

    assert response.status == 426
