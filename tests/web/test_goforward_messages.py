"""Broadcasts and presence of GoForward over HTTP, and what members of a channel see of them."""

from __future__ import annotations

import json
import re

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.realtime.managed_channels import ChannelRules
from actors.realtime.permissions import EVERYTHING
from actors.realtime.tenant import Limits
from protocol.goforward.ids import timestamp
from tests.support.goforward_api import now, open_goforward
from tests.support.policies import NOTHING, FakePolicies

ID = re.compile(r"msg_\d{13}_[0-9a-z]{6}")


@pytest.mark.capability("GF-044", "GF-046")
async def test_a_broadcast_reaches_the_members_with_the_id_of_the_answer(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        client = await api.member()
        payload = {"title": "System Maintenance", "priority": "high", "n": 1.5}

        answer = await api.post(
            "/room/broadcast", {"type": "message", "event": "announcement", "payload": payload}
        )

        (message,) = await client.received()
        assert answer.status == 200
        assert answer.value["message"] == "message broadcasted successfully"
        assert ID.fullmatch(answer.value["id"])
        assert message.event == "announcement"
        assert json.loads(message.payload) == payload


async def test_the_id_of_the_answer_is_in_the_delivered_message(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        client = api.stage.connect("1.0.0", role="user")
        await client.joined()

        answer = await api.post("/room/broadcast", {"event": "e", "type": "broadcast"})

        (message,) = await client.received()
        assert message.payload["meta"] == {"id": answer.value["id"], "type": "broadcast"}


@pytest.mark.capability("GF-045")
async def test_a_broadcast_needs_the_permission_to_write(autojump_clock):
    async with open_goforward() as api:
        await api.create(permissions={"write": ["admin"]})

        refused = await api.post("/room/broadcast", {"event": "e"})
        accepted = await api.post("/room/broadcast", {"event": "e"}, token="admin")

        assert (refused.status, refused.value["required_permission"]) == (403, "write")
        assert accepted.status == 200


async def test_a_broadcast_to_a_channel_that_there_is_not_is_refused(autojump_clock):
    async with open_goforward() as api:
        refused = await api.post("/room/broadcast", {"event": "e"})

        assert refused.status == 404
        assert refused.value == {"error": "channel room not found", "code": "CHANNEL_NOT_FOUND"}


async def test_size_and_rate_of_a_channel_hold_over_http(autojump_clock):
    async with open_goforward() as api:
        await api.create(permissions={"max_message_size": 20, "rate_limit": 2})
        large = {"event": "e", "payload": {"x": "y" * 30}}

        too_large = await api.post("/room/broadcast", large)
        found = [await api.post("/room/broadcast", {"event": "e"}) for _ in range(3)]
        of_another = await api.post("/room/broadcast", {"event": "e"}, token="user bob 1e12")

        assert (too_large.status, too_large.code) == (413, "MESSAGE_TOO_LARGE")
        assert [answer.status for answer in found] == [200, 200, 429]
        assert found[-1].value == {
            "error": "rate limit exceeded",
            "code": "RATE_LIMIT_EXCEEDED",
            "details": "Too many messages per second in this channel",
            "retry_after": 1,
        }
        assert found[-1].headers["retry-after"] == "1"
        assert of_another.status == 200


@pytest.mark.parametrize(("grants", "status"), [(EVERYTHING, 200), (NOTHING, 403)])
async def test_for_a_private_channel_policies_decide_as_well(grants, status, autojump_clock):
    policies = FakePolicies(write={None: grants})
    async with open_goforward(policies=policies) as api:
        await api.create()

        found = await api.post("/room/broadcast", {"event": "e", "private": True})

        assert found.status == status


@pytest.mark.capability("GF-047", "GF-048")
async def test_presence_lists_states_and_who_is_connected(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        for user in ("ann", "bob"):
            client = await api.member(user=user)
        client.track({"status": "away"})
        await client.received()

        found = await api.get("/room/presence")

        (state,) = found.value.pop("presence").values()
        assert found.value == {
            "channel": "room",
            "connected_users": ["ann", "bob"],
            "total_users": 2,
        }
        assert state["status"] == "away"


@pytest.mark.capability("GF-049", "GF-050")
async def test_a_state_set_over_http_is_that_of_the_sockets_of_the_user(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        ann, bob = await api.member(user="ann"), await api.member(user="bob")
        state = {"status": "busy", "custom_message": "In a meeting", "last_seen": "never"}

        answer = await api.post("/room/presence", {"state": state})

        assert answer.value == {"message": "presence updated successfully"}
        (diff,) = await bob.received()
        (shown,) = diff.payload["joins"].values()
        assert shown["metas"][0]["custom_message"] == "In a meeting"
        found = await api.get("/room/presence")
        (kept,) = found.value["presence"].values()
        assert kept["custom_message"] == "In a meeting"
        assert kept["last_seen"] != "never"
        ann.leave_socket()
        await wait_all_tasks_blocked()
        assert (await api.get("/room/presence")).value["presence"] == {}


async def test_somebody_without_a_socket_is_present_for_a_while(autojump_clock):
    async with open_goforward(rules=ChannelRules(presence_ttl_s=60)) as api:
        await api.create()

        await api.post("/room/presence", {"state": {"status": "online"}})
        found = await api.get("/room/presence")

        assert list(found.value["presence"]) == ["ann"]
        assert found.value["connected_users"] == []


async def test_somebody_without_a_socket_says_when_it_is_over(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        await api.post("/room/presence", {"state": {"status": "online"}})

        await api.post("/room/presence", {"state": {"status": "offline"}})

        assert (await api.get("/room/presence")).value["presence"] == {}


async def test_no_more_are_present_without_a_socket_than_there_may_be(autojump_clock):
    async with open_goforward(rules=ChannelRules(max_visitors=1)) as api:
        await api.create()
        await api.post("/room/presence", {"state": {}})

        again = await api.post("/room/presence", {"state": {"n": 2}})
        refused = await api.post("/room/presence", {"state": {}}, token="user bob 1e12")

        assert (again.status, refused.status) == (200, 429)


@pytest.mark.parametrize("bound", ["channel", "server"])
async def test_what_is_said_without_a_socket_is_bounded(bound, autojump_clock):
    limits = Limits(tracked_bytes_per_topic=200 if bound == "channel" else 1000)
    rules = ChannelRules(visitors_bytes=200 if bound == "server" else 1000)
    async with open_goforward(rules=rules, limits=limits) as api:
        await api.create("room")
        await api.create("other")
        large = {"state": {"n": "x" * 150}}
        other = "/room" if bound == "channel" else "/other"

        first = await api.post("/room/presence", large)
        again = await api.post("/room/presence", large)
        refused = await api.post(f"{other}/presence", large, token="user bob 1e12")
        await api.delete("/room", token="service_role")
        if bound == "channel":
            await api.create("room")
        later = await api.post(f"{other}/presence", large, token="user bob 1e12")

        assert [one.status for one in (first, again, refused, later)] == [200, 200, 429, 200]


async def test_who_was_there_without_a_socket_goes_with_the_channel(autojump_clock):
    async with open_goforward(keeps=True) as api:
        await api.create()
        await api.post("/room/presence", {"state": {"status": "online"}})
        client = await api.member("user", user="bob")
        client.join(presence={"enabled": True})
        await client.received()

        await api.delete("/room")

        diff = next(m for m in await client.received() if m.event == "presence_diff")
        assert list(diff.payload["leaves"]) == ["ann"]


async def test_who_has_no_name_cannot_be_present(autojump_clock):
    async with open_goforward() as api:
        await api.create()

        refused = await api.post("/room/presence", {"state": {}}, token="service_role")

        assert (refused.status, refused.code) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("what", ["broadcast", "presence"])
async def test_what_is_switched_off_is_refused(what, autojump_clock):
    async with open_goforward() as api:
        await api.create()
        status = api.stage.tenant.status
        status.takes_broadcasts = status.takes_presence = False

        refused = await api.post(f"/room/{what}", {"event": "e", "state": {}})

        assert (refused.status, refused.code) == (403, "FEATURE_DISABLED")
        assert refused.value["error"] == f"{what} is disabled"


async def test_a_newer_state_of_the_same_user_counts(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        client = await api.member(user="ann")
        client.join(presence={"key": "ann"})
        await client.received()
        client.track({"status": "online"})
        await trio.sleep(10)

        await api.post("/room/presence", {"state": {"status": "busy"}})
        said_at = now()
        found = await api.get("/room")

        assert found.value["presence"]["ann"]["status"] == "busy"
        assert found.value["presence"]["ann"]["last_seen"] == timestamp(said_at)
