"""The door for GoForward's WebSockets: statuses and objects of the documents, before any socket is open."""

from __future__ import annotations

import json

import pytest
import trio
from wsproto import events

from actors.auth.roles import NoRoles, RoleVerifier
from actors.realtime.errors import Forbidden, RateLimited, Refused, Suspended, TokenExpired
from actors.web.goforward_socket import PATH, GoForwardEndpoint, GoForwardOptions
from tests.support.goforward import counting_stamps, path_of
from tests.support.web import (
    GOOD_TOKEN,
    FakeDoor,
    FakeVerifier,
    echo,
    start_port,
    upgrade_head,
)

GOOD = path_of("chat-room-1", token=GOOD_TOKEN)
AUTH_FAILED = {
    "error": "authentication failed",
    "code": "AUTH_FAILED",
    "details": "Invalid or expired token",
}


class Gate:
    """A gate that refuses as it is told."""

    def __init__(self) -> None:
        self.refusal: Refused | None = None
        self.open: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    def admits_anonymous(self, name):
        return name in self.open

    def refuse(self, name, identity):
        self.asked.append((name, identity.claimed_role))
        if self.refusal is not None:
            raise self.refusal


class Node:
    def __init__(self, nursery) -> None:
        self.verifier = FakeVerifier()
        self.door = FakeDoor(nursery, echo)
        self.gate = Gate()
        self.endpoint = GoForwardEndpoint(
            RoleVerifier(self.verifier, NoRoles()),
            self.door,
            counting_stamps(),
            self.gate,
            GoForwardOptions(connection_timeout_s=7.0, max_message_bytes=100),
        )


@pytest.fixture
async def node(nursery):
    node = Node(nursery)
    node.port = await start_port(nursery, websockets={PATH: node.endpoint})
    return node


@pytest.fixture
def client(node):
    return node.port.connect()


async def refused(client, path: str) -> tuple[int, dict]:
    response = await client.upgrade(path)
    assert response.headers["content-type"] == "application/json"
    return response.status, json.loads(response.body)


@pytest.mark.capability("GF-021")
async def test_a_token_in_the_address_opens_a_socket_on_the_channel(
    autojump_clock, node, client
):
    response = await client.upgrade(GOOD)

    (opening,) = node.door.openings
    assert response.status == 101
    assert (opening.dialect.name, opening.dialect.channel) == ("goforward", "chat-room-1")
    assert opening.identity.token == ""


@pytest.mark.capability("GF-022")
async def test_so_does_one_in_a_header(autojump_clock, node, client):
    lines = f"Authorization: Bearer {GOOD_TOKEN}\r\nX-Thing: 1\r\n"
    await client.send(upgrade_head(path_of("a"), lines))

    assert (await client.response()).status == 101
    assert json.loads(node.door.openings[0].headers) == {"x-thing": "1"}


@pytest.mark.parametrize("query", [{}, {"token": ""}, {"token": "test-token"}])
@pytest.mark.capability("GF-006", "GF-110", "GF-129", "GF-137", "GF-138", "GF-139")
async def test_without_a_good_token_nobody_comes_in(autojump_clock, node, client, query):
    assert await refused(client, path_of("load-test-channel", **query)) == (401, AUTH_FAILED)
    assert node.door.openings == []


async def test_a_bad_token_waits_for_its_answer(autojump_clock, client):
    before = trio.current_time()
    await refused(client, path_of("a", token="bad"))

    assert trio.current_time() - before == pytest.approx(2.0)


async def test_an_expired_token_is_refused_alike(autojump_clock, node, client):
    node.verifier.refusals["old"] = TokenExpired(5)

    assert await refused(client, path_of("a", token="old")) == (401, AUTH_FAILED)


async def test_a_channel_may_let_in_who_has_no_token_but_nobody_with_a_bad_one(
    autojump_clock, node
):
    node.gate.open.add("lobby")
    assert (await node.port.connect().upgrade(path_of("lobby"))).status == 101
    (opening,) = node.door.openings
    assert (opening.identity.role, opening.identity.user_id) == ("anon", "")
    assert (await opening.verifier.verify(opening.identity.token)).role == "anon"

    assert (await node.port.connect().upgrade(path_of("lobby", token="bad"))).status == 401


@pytest.mark.parametrize(
    ("refusal", "status", "body"),
    [
        (
            Refused("ChannelNotFound", "x"),
            404,
            {"error": "channel chat-room-1 not found", "code": "CHANNEL_NOT_FOUND"},
        ),
        (
            Forbidden("ChannelPermissionDenied", "x"),
            403,
            {
                "error": "insufficient permissions",
                "code": "PERMISSION_DENIED",
                "required_permission": "read",
            },
        ),
        (
            RateLimited("ChannelFull", "x"),
            429,
            {"error": "channel chat-room-1 is full", "code": "CHANNEL_FULL", "retry_after": 30},
        ),
    ],
)
@pytest.mark.capability("GF-008", "GF-134", "GF-163")
async def test_what_the_gate_refuses_is_told_as_the_documents_have_it(
    autojump_clock, node, client, refusal, status, body
):
    node.gate.refusal = refusal

    assert await refused(client, GOOD) == (status, body)


async def test_a_full_server_says_when_to_come_back(autojump_clock, node, client):
    node.door.fullness = RateLimited("ConnectionRateLimitReached", "Too many connected users")
    response = await client.upgrade(GOOD)

    assert (response.status, response.headers["retry-after"]) == (429, "30")
    assert json.loads(response.body)["code"] == "RATE_LIMIT_EXCEEDED"


async def test_a_server_that_is_switched_off_says_so(autojump_clock, node, client):
    node.door.suspension = Suspended("RealtimeDisabledForTenant", "Realtime was disabled")

    assert (await refused(client, GOOD))[0] == 503


@pytest.mark.parametrize(
    "name",
    [
        "",
        "%00",
        "%27",
        "%22",
        "a%2Fb",
        "%ff",
        "%ED%A0%80",
        "x" * 10_000,
        "..%2F..",
        "a%20b",
        "goforward:a:sub_1",
    ],
)
async def test_a_hostile_name_is_a_bad_request(autojump_clock, node, client, name):
    response = await client.upgrade(f"/realtime/channels/{name}/ws?token={GOOD_TOKEN}")

    assert response.status == 400
    assert json.loads(response.body)["code"] == "INVALID_REQUEST"
    assert node.gate.asked == []


async def test_a_request_for_no_websocket_is_told_why(autojump_clock, client):
    response = await client.get(GOOD)

    assert response.status == 400
    assert "upgrade" in json.loads(response.body)["details"]


async def test_another_method_is_not_served(autojump_clock, client):
    await client.send(f"POST {GOOD} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n".encode())

    assert (await client.response()).status == 405


async def test_a_frame_that_is_too_large_ends_the_socket(autojump_clock, client):
    await client.upgrade(GOOD)
    await client.send_event(events.TextMessage("x" * 100))
    assert await client.event() == "x" * 100
    await client.send_event(events.TextMessage("x" * 101))

    assert await client.event() == 1009


@pytest.mark.capability("GF-119")
async def test_a_silent_client_is_gone(autojump_clock, client):
    await client.upgrade(GOOD)
    before = trio.current_time()

    assert await client.event() == 1000
    assert trio.current_time() - before == pytest.approx(7.0)
