"""The door for Supabase clients: statuses, texts and order of spec 1.1 and 1.2."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto import events

from actors.realtime.errors import (
    RateLimited,
    Refused,
    Suspended,
    TokenExpired,
    Unauthorized,
    Unavailable,
)
from actors.web.app import site
from actors.web.supabase import SupabaseEndpoint, SupabaseOptions
from protocol.phoenix.dialect import negotiate
from tests.support.web import (
    GOOD_TOKEN,
    FakeDoor,
    FakeVerifier,
    echo,
    start_port,
    upgrade_head,
)

PATHS = ("/realtime/v1/websocket", "/socket/websocket")
GOOD = f"{PATHS[0]}?apikey={GOOD_TOKEN}&vsn=2.0.0"


class Node:
    """A port with the whole site behind it."""

    def __init__(self, nursery) -> None:
        self.verifier = FakeVerifier()
        self.door = FakeDoor(nursery, echo)
        endpoint = SupabaseEndpoint(self.verifier, self.door, negotiate, SupabaseOptions())
        self.endpoint = endpoint
        self.site = site(supabase=endpoint)


class Deaf:
    """A door that forgets whom it admits."""

    def refuse_if_suspended(self) -> None:
        pass

    def refuse_if_full(self) -> None:
        pass

    def admit(self, opening) -> None:
        pass


@pytest.fixture
async def node(nursery):
    node = Node(nursery)
    node.port = await start_port(nursery, node.site.application, node.site.websockets)
    return node


@pytest.fixture
def client(node):
    return node.port.connect()


@pytest.mark.parametrize("path", PATHS)
async def test_a_good_key_opens_a_websocket_at_both_paths(autojump_clock, node, client, path):
    response = await client.upgrade(f"{path}?apikey={GOOD_TOKEN}&vsn=2.0.0&log_level=info")
    await client.send_event(events.TextMessage("hello"))

    assert response.status == 101
    assert "sec-websocket-extensions" not in response.headers
    assert await client.event() == "hello"


@pytest.mark.parametrize(
    ("query", "version"), [("", "1.0.0"), ("&vsn=1.0.3", "1.0.0"), ("&vsn=2.0.0", "2.0.0")]
)
async def test_what_is_handed_over_says_who_comes_and_what_they_speak(
    autojump_clock, node, client, query, version
):
    await client.upgrade(f"{PATHS[0]}?apikey={GOOD_TOKEN}{query}")

    (opening,) = node.door.openings
    assert opening.dialect.version == version
    assert opening.identity.role == "anon"
    assert opening.peer == "192.0.2.1"
    assert GOOD_TOKEN not in repr(opening)


async def test_a_client_may_ask_for_no_binary_frames(autojump_clock, node, client):
    await client.upgrade(f"{PATHS[0]}?apikey={GOOD_TOKEN}&vsn=2.0.0&binary=false")

    (opening,) = node.door.openings
    assert opening.dialect == negotiate("2.0.0", "false")


async def test_an_offered_extension_is_declined(autojump_clock, client):
    await client.send(
        upgrade_head(
            GOOD, "Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin: https://a\r\n"
        )
    )
    response = await client.response()

    assert response.status == 101
    assert "sec-websocket-extensions" not in response.headers


class TestKey:
    async def test_the_header_wins_over_the_query(self, autojump_clock, client):
        await client.send(
            upgrade_head(GOOD.replace(GOOD_TOKEN, "bad"), f"X-Api-Key: {GOOD_TOKEN}\r\n")
        )
        assert (await client.response()).status == 101

    @pytest.mark.capability("SB-100")
    async def test_a_header_apikey_is_taken_too(self, autojump_clock, client):
        without_key = GOOD.partition("?")[0]

        await client.send(upgrade_head(without_key, f"Apikey: {GOOD_TOKEN}\r\n"))

        assert (await client.response()).status == 101

    async def test_a_bad_header_is_not_saved_by_a_good_query(self, autojump_clock, client):
        await client.send(upgrade_head(GOOD, "X-Api-Key: bad\r\n"))
        assert (await client.response()).status == 401

    async def test_authorization_is_not_looked_at(self, autojump_clock, client):
        await client.send(upgrade_head(PATHS[0], f"Authorization: Bearer {GOOD_TOKEN}\r\n"))
        assert json.loads((await client.response()).body) == {"error": "API key is missing"}


class TestRefusals:
    @pytest.mark.parametrize("vsn", ["", "3.0.0", "x", "2"])
    async def test_a_bad_vsn_is_403_without_body_or_delay(self, autojump_clock, client, vsn):
        start = trio.current_time()
        response = await client.upgrade(f"{PATHS[0]}?apikey=bad&vsn={vsn}")

        assert (response.status, response.body) == (403, b"")
        assert trio.current_time() == start

    async def test_another_method_is_400_without_body(self, autojump_clock, client):
        await client.send(upgrade_head(GOOD + "&vsn=3.0.0").replace(b"GET", b"PUT"))
        response = await client.response()

        assert (response.status, response.body) == (400, b"")

    @pytest.mark.parametrize(
        ("query", "status", "error"),
        [
            ("", 401, "API key is missing"),
            ("?apikey=", 401, "The token provided is not a valid JWT"),
            ("?apikey=expired", 401, "Token has expired"),
            ("?apikey=forged", 401, "Failed to validate JWT signature"),
            ("?apikey=odd", 500, "Error connecting to Realtime"),
        ],
    )
    async def test_a_bad_key_is_told_why_after_two_seconds(
        self, autojump_clock, node, client, query, status, error
    ):
        node.verifier.refusals = {
            "expired": TokenExpired(42),
            "forged": Unauthorized("JwtSignatureError", "Failed to validate JWT signature"),
            "odd": Refused("", "Unknown Error on Channel"),
        }
        start = trio.current_time()
        response = await client.upgrade(PATHS[0] + query)

        assert trio.current_time() - start == 2
        assert response.status == status
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        assert json.loads(response.body) == {"error": error}
        assert node.door.openings == []

    @pytest.mark.parametrize(
        ("refused", "status", "error"),
        [
            (
                Suspended("RealtimeDisabledForTenant", "Realtime was disabled for this tenant"),
                403,
                "Realtime was disabled for this tenant",
            ),
            (
                RateLimited("ConnectionRateLimitReached", "Too many connected users"),
                429,
                "Too many connected users",
            ),
            (
                RateLimited("JoinsRateLimitReached", "Too many joins per second"),
                429,
                "Too many joins per second",
            ),
        ],
    )
    async def test_a_tenant_without_room_says_so_after_two_seconds(
        self, autojump_clock, node, client, refused, status, error
    ):
        node.door.suspension = refused if isinstance(refused, Suspended) else None
        node.door.fullness = refused
        start = trio.current_time()
        response = await client.upgrade(GOOD)

        assert trio.current_time() - start == 2
        assert response.status == status
        assert json.loads(response.body) == {"error": error}
        assert node.door.openings == []

    async def test_a_tenant_that_is_switched_off_does_not_look_at_keys_and_a_full_one_does(
        self, autojump_clock, node
    ):
        node.door.fullness = RateLimited("", "Too many connected users")
        assert (await node.port.connect().get(PATHS[0])).status == 401
        node.door.suspension = Suspended("", "Realtime was disabled for this tenant")
        assert (await node.port.connect().get(PATHS[0])).status == 403

    async def test_a_refused_client_keeps_nobody_waiting(self, autojump_clock, node, client):
        await client.send(upgrade_head(PATHS[0]))
        start = trio.current_time()

        assert (await node.port.connect().upgrade(GOOD)).status == 101
        assert trio.current_time() == start

    async def test_a_good_key_without_upgrade_is_400_in_plain_text(
        self, autojump_clock, client
    ):
        response = await client.get(GOOD)

        assert response.status == 400
        assert response.headers["content-type"].startswith("text/plain")
        assert b"upgrade" in response.body

    async def test_a_bad_key_without_upgrade_is_401(self, autojump_clock, client):
        assert (await client.get(PATHS[0])).status == 401

    async def test_a_bug_in_the_verifier_costs_one_client_a_500(
        self, autojump_clock, node, client
    ):
        def verify(_token):
            raise Unavailable("a bug")

        node.verifier.verify = verify
        await client.send(upgrade_head(GOOD))

        assert (await client.response()).status == 500
        assert (await node.port.connect().get("/healthcheck")).status == 200


async def test_a_client_that_nobody_opens_is_closed(autojump_clock, node, client):
    node.endpoint._door = Deaf()
    await client.send(upgrade_head(GOOD))

    assert await client.is_at_end()
    assert node.port.listener.open_connections == 0


async def test_a_websocket_outlives_the_port(autojump_clock, node, client):
    await client.upgrade(GOOD)
    await node.port.supervisor.stop_child(node.port.acceptor)

    await client.send_event(events.TextMessage("still here"))
    assert await client.event() == "still here"


async def test_a_closed_websocket_frees_its_place(autojump_clock, node, client):
    await client.upgrade(GOOD)
    assert node.port.listener.open_connections == 1

    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert node.port.listener.open_connections == 0
    assert node.door.ended == [1006]


async def test_the_health_of_the_process_can_be_asked(autojump_clock, client):
    response = await client.get("/healthcheck")

    assert (response.status, response.body) == (200, b"ok")


async def test_an_unknown_path_is_404_in_json(autojump_clock, client):
    response = await client.get("/nowhere")

    assert response.status == 404
    assert json.loads(response.body) == {"error": "Not found"}


async def test_no_key_is_ever_logged(autojump_clock, client, capsys):
    await client.upgrade(f"{PATHS[0]}?apikey=secret-key&vsn=2.0.0")

    logged = capsys.readouterr().out
    assert "websocket.refused" in logged
    assert "secret-key" not in logged
