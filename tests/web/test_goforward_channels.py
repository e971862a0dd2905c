"""GoForward's channels over HTTP: the shapes of its document, and who is told no."""

from __future__ import annotations

import json

import pytest
import trio

from actors.realtime.errors import Refused
from actors.realtime.managed_channels import ChannelRules, ManagedChannel
from protocol.goforward.ids import timestamp
from protocol.managed import room_of
from tests.support.goforward_api import now, open_goforward

CONFIG = {
    "max_subscribers": 1000,
    "require_auth": True,
    "permissions": {"read": ["user", "admin"], "write": ["user", "admin"], "admin": ["admin"]},
    "metadata": {"description": "General chat room", "category": "public"},
}


@pytest.mark.capability("GF-010", "GF-011", "GF-015", "GF-124")
async def test_creating_a_channel_answers_its_configuration(autojump_clock):
    async with open_goforward() as api:
        created = await api.post("", {"name": "chat-room-1", **CONFIG})

        assert created.status == 201
        assert created.value == {"name": "chat-room-1", "subscriber_count": 0, "config": CONFIG}


@pytest.mark.capability("GF-083", "GF-143")
async def test_what_is_left_out_has_a_default(autojump_clock):
    async with open_goforward(rules=ChannelRules(max_subscribers=7)) as api:
        created = await api.post("", {"name": "test-channel"})

        assert created.value["config"] == {
            "max_subscribers": 7,
            "require_auth": True,
            "permissions": {},
            "metadata": {},
        }


async def test_creating_a_channel_that_exists_is_a_conflict(autojump_clock):
    async with open_goforward() as api:
        await api.create()

        again = await api.post("", {"name": "room"})

        assert (again.status, again.code) == (409, "CHANNEL_EXISTS")


async def test_nobody_creates_a_channel_of_a_reserved_name(autojump_clock):
    async with open_goforward() as api:
        created = await api.post("", {"name": "_troupe:stats", "max_subscribers": 1})

        assert (created.status, created.code) == (403, "PERMISSION_DENIED")
        assert api.managed.get("_troupe:stats") is None


async def test_creating_a_channel_that_came_into_being_by_itself_decides_about_it(
    autojump_clock,
):
    async with open_goforward() as api:
        api.managed.add(ManagedChannel("room"))

        created = await api.post("", {"name": "room", "max_subscribers": 3})

        assert created.status == 201
        assert api.managed.get("room").is_created


@pytest.mark.capability("GF-020", "GF-016")
async def test_a_channel_that_nobody_is_in_is_there(autojump_clock):
    async with open_goforward() as api:
        await api.create()

        found = await api.get("/room")

        assert found.status == 200
        assert found.value == {"name": "room", "subscriber_count": 0, "presence": {}}


async def test_members_of_every_dialect_are_counted_and_shown(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        client = await api.member(user="ann")
        seen_at = now()
        client.track({"status": "online", "custom_data": {"n": 1}})
        await client.received()

        found = await api.get("/room")

        (state,) = found.value["presence"].values()
        assert found.value["subscriber_count"] == 1
        assert state["status"] == "online"
        assert state["custom_data"] == {"n": 1}
        assert state["last_seen"] == timestamp(seen_at)


@pytest.mark.capability("GF-017")
async def test_the_list_has_the_channels_that_one_may_read(autojump_clock):
    async with open_goforward() as api:
        await api.create("a")
        await api.create("b", permissions={"read": ["admin"]})
        await api.member(topic="realtime:a")

        seen = await api.get("")
        by_admin = await api.get("", token="admin")

        assert seen.value == {
            "channels": [{"name": "a", "subscriber_count": 1, "presence_count": 0}],
            "total": 1,
        }
        assert by_admin.value["total"] == 2


@pytest.mark.capability("GF-018")
async def test_a_deleted_channel_is_gone_and_its_name_free(autojump_clock):
    async with open_goforward() as api:
        await api.create()

        deleted = await api.delete("/room")

        assert deleted.value == {"message": "channel deleted successfully"}
        assert (await api.get("/room")).code == "CHANNEL_NOT_FOUND"
        await api.create()


async def test_members_of_another_dialect_stay_when_a_channel_is_deleted(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        client = await api.member()

        await api.delete("/room")
        client.broadcast({"n": 1}, topic="realtime:room")

        assert await client.received() == []
        assert api.stage.channel("room") is not None


async def test_who_may_not_read_any_more_is_sent_away_when_a_channel_is_created(autojump_clock):
    async with open_goforward() as api:
        guest, user = await api.member("guest"), await api.member("user")

        await api.create(permissions={"read": ["user"]})

        assert [m.event for m in await guest.received()] == ["system", "phx_close"]
        assert await user.received() == []


@pytest.mark.capability("GF-059")
async def test_the_figures_of_a_channel(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        for user in ("ann", "bob", "bob"):
            await api.member(user=user)

        found = await api.get("/room/stats")

        assert found.value == {
            "channel": "room",
            "subscriber_count": 3,
            "presence_count": 0,
            "connected_users": 2,
            "users": ["ann", "bob"],
        }


@pytest.mark.capability("GF-060", "GF-061", "GF-009")
async def test_the_figures_of_all_channels(autojump_clock):
    async with open_goforward() as api:
        await api.create("a")
        await api.create("b")
        await api.member(topic="realtime:a")

        found = await api.send("GET", "/realtime/stats")

        assert found.value == {
            "total_channels": 2,
            "total_subscribers": 1,
            "total_presence": 0,
            "channels": [
                {"name": "a", "subscriber_count": 1, "presence_count": 0},
                {"name": "b", "subscriber_count": 0, "presence_count": 0},
            ],
            "connections": {"active": 1},
            "database_subscriptions": 0,
        }


PATHS = [
    ("POST", "/realtime/channels"),
    ("GET", "/realtime/channels"),
    ("GET", "/realtime/channels/room"),
    ("DELETE", "/realtime/channels/room"),
    ("GET", "/realtime/channels/room/stats"),
    ("POST", "/realtime/channels/room/broadcast"),
    ("GET", "/realtime/channels/room/presence"),
    ("POST", "/realtime/channels/room/presence"),
    ("GET", "/realtime/stats"),
]


@pytest.mark.capability("GF-006")
@pytest.mark.parametrize("token", [None, "nonsense", "user ann 0"])
@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_without_a_good_token_nothing_is_done(method, path, token, autojump_clock):
    async with open_goforward() as api:
        await api.create()

        refused = await api.send(method, path, b"{}", token)

        assert refused.status == 401
        assert refused.code == "AUTH_FAILED"
        assert refused.value["error"] == "authentication failed"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/room", b"", 200),
        ("GET", "/room/presence", b"", 200),
        ("GET", "/room/stats", b"", 200),
        ("POST", "/room/broadcast", b'{"event":"e"}', 200),
        ("DELETE", "/room", b"", 401),
    ],
)
async def test_a_channel_without_authentication_needs_a_token_to_be_managed(
    method, path, body, status, autojump_clock
):
    async with open_goforward() as api:
        await api.create(require_auth=False)

        found = await api.send(method, "/realtime/channels" + path, body, None)

        assert found.status == status


async def test_who_may_not_is_told_what_it_takes(autojump_clock):
    async with open_goforward() as api:
        await api.create(permissions=CONFIG["permissions"])

        as_guest = await api.get("/room", token="guest")
        as_user = await api.delete("/room", token="user")
        as_anon = await api.post("", {"name": "new"}, token="anon")
        as_admin = await api.delete("/room", token="admin")

        assert as_guest.value["required_permission"] == "read"
        assert as_user.value["required_permission"] == "admin"
        assert (as_anon.status, as_anon.code) == (403, "PERMISSION_DENIED")
        assert as_admin.status == 200


async def test_the_operator_says_who_creates_and_who_may_do_everything(autojump_clock):
    async with open_goforward(admin_roles=["admin"], creator_roles=["guest"]) as api:
        as_user = await api.post("", {"name": "a"}, token="user")
        as_guest = await api.post("", {"name": "a", "permissions": {"read": []}}, token="guest")
        as_admin = await api.get("/a", token="admin")

        assert [as_user.status, as_guest.status, as_admin.status] == [403, 201, 200]


async def test_no_more_channels_are_created_than_there_may_be(autojump_clock):
    async with open_goforward(rules=ChannelRules(max_channels=1)) as api:
        await api.create("a")

        refused = await api.post("", {"name": "b"})

        assert (refused.status, refused.code) == (429, "CHANNEL_LIMIT_REACHED")
        assert "retry-after" in refused.headers


@pytest.mark.parametrize(
    "name",
    ["a%00b", "%22", "it's", "a" * 10_000, "%C3%28", "a%20b", "..", "goforward:room:sub_1"],
)
async def test_a_hostile_name_is_refused(name, autojump_clock):
    async with open_goforward() as api:
        found = await api.get("/" + name)

        assert (found.status, found.code) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD"])
async def test_another_method_is_not_allowed(method, autojump_clock):
    async with open_goforward() as api:
        client = api.port.connect()
        await client.send(
            f"{method} /realtime/channels HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n".encode()
        )
        found = await client.response(has_body=method != "HEAD")

        assert found.status == 405
        assert found.headers["allow"] == "POST, GET"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"name":5}', b'{"name":"a","x":' + b"[" * 9999, b"\xff\x00"]
)
async def test_a_body_that_is_no_channel_is_refused(body, autojump_clock):
    async with open_goforward() as api:
        found = await api.send("POST", "/realtime/channels", body)

        assert (found.status, found.code) == (400, "INVALID_REQUEST")
        assert found.value["details"]


async def test_a_huge_body_is_refused(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        body = json.dumps({"event": "e", "payload": {"x": "y" * 600_000}}).encode()

        found = await api.send("POST", "/realtime/channels/room/broadcast", body)

        assert (found.status, found.code) == (413, "MESSAGE_TOO_LARGE")


async def test_a_suspended_tenant_serves_nobody(autojump_clock):
    async with open_goforward() as api:
        api.stage.tenant.status.is_suspended = True

        found = await api.get("")

        assert (found.status, found.code) == (503, "UNAVAILABLE")


@pytest.mark.parametrize(
    "permissions",
    [{}, {"read": ["anon", "user"]}, {"admin": ["anon"]}],
    ids=["no list", "inherited list", "own list"],
)
@pytest.mark.parametrize("token", [None, "anon"])
async def test_anonymous_clients_delete_no_channel(permissions, token, autojump_clock):
    async with open_goforward() as api:
        await api.create(require_auth=False, permissions=permissions)

        refused = await api.delete("/room", token=token)

        assert refused.status == (401 if token is None else 403)
        assert api.managed.get("room") is not None


async def test_a_list_with_anon_does_not_let_in_who_has_no_token(autojump_clock):
    async with open_goforward() as api:
        await api.create(permissions={"read": ["anon", "user"]})

        without = await api.get("/room", token=None)
        with_key = await api.get("/room", token="anon")

        assert (without.status, with_key.status) == (401, 200)
        assert not api.managed.admits_anonymous("room")


@pytest.mark.parametrize("name", [".", "..", room_of("room", "sub_1")])
async def test_a_name_that_means_something_else_is_not_given(name, autojump_clock):
    async with open_goforward() as api:
        refused = await api.post("", {"name": name, "permissions": {"read": []}})

        assert (refused.status, refused.code) == (400, "INVALID_REQUEST")


async def test_a_token_that_cannot_be_judged_now_is_not_called_bad(autojump_clock):
    class NobodyKnows:
        async def exists(self, role):
            await trio.lowlevel.checkpoint()
            raise Refused("UnableToConnectToProject", "The database is away.")

    async with open_goforward(roles=NobodyKnows()) as api:
        found = await api.get("", token="user ann 1e12")

        assert (found.status, found.code) == (503, "UNAVAILABLE")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("channels/a%2Fb", 400),
        ("channels/a%2fb/presence", 400),
        ("subscriptions/a%2Fb", 400),
        ("triggers/a%2Fb", 400),
        ("channels/a/nothing", 404),
    ],
)
async def test_an_address_that_is_none_is_told_in_the_same_shape(path, status, autojump_clock):
    async with open_goforward() as api:
        found = await api.send("GET", f"/realtime/{path}")

        assert found.status == status
        assert found.code == ("INVALID_REQUEST" if status == 400 else "NOT_FOUND")
