"""The end-to-end tests that the sblite plan names, with a client like its own: raw frames, no `vsn`.

Where the plan expects another shape than Supabase has, the test says so with the number of the resolution
(docs/reference/capabilities.md). They can be run against another server: see `target.py`.
"""

from __future__ import annotations

import itertools
import json
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.websocket import Closed, open_websocket_at

ANSWERED_WITHIN_S = 20


class PlanClient:
    """The plan's TestClient: numeric refs as strings, one topic per join, whatever comes in the order it came."""

    def __init__(self, socket) -> None:
        self._socket = socket
        self._refs = itertools.count(1)

    async def send(self, event, topic, payload=None) -> str:
        ref = str(next(self._refs))
        message = {"event": event, "topic": topic, "payload": payload or {}, "ref": ref}
        await self._socket.send(json.dumps(message))
        return ref

    async def receive(self):
        return json.loads(await self._socket.receive())

    async def receive_event(self, event):
        """Return the next message of that name; others before it are dropped."""
        while (message := await self.receive())["event"] != event:
            pass
        return message

    async def join(self, topic, **config):
        await self.send("phx_join", topic, {"config": config})
        reply = await self.receive_event("phx_reply")
        assert reply["payload"]["status"] == "ok"
        return reply

    async def silence(self):
        """Return what came until the server answered a heartbeat, which is behind everything sent before."""
        ref = await self.send("heartbeat", "phoenix")
        messages = []
        while (message := await self.receive())["ref"] != ref:
            messages.append(message)
        return messages


@pytest.fixture
def connect(target):
    @asynccontextmanager
    async def connect(key=target.key):
        with trio.fail_after(ANSWERED_WITHIN_S):
            async with open_websocket_at(f"{target.websocket_url}?apikey={key}") as socket:
                yield PlanClient(socket)

    return connect


@pytest.fixture
def room(topic):
    return f"realtime:{topic}"


@pytest.fixture
def table(target):
    """The plan's table; its DELETE and UPDATE expect whole old rows, which Postgres logs with FULL only (C28)."""
    target.execute(
        "create table realtime_test (id int primary key, name text)",
        "alter table realtime_test replica identity full",
        "grant select on realtime_test to anon",
        "alter publication supabase_realtime add table realtime_test",
    )
    yield "realtime_test"
    target.execute("drop table realtime_test")


@pytest.mark.capability("SB-187")
def test_these_tests_can_be_run_by_their_mark(request):
    assert request.node.get_closest_marker("compat")


class TestConnection:
    @pytest.mark.capability("SB-099", "SB-153", "SB-154", "SB-106", "SB-107", "SB-108")
    async def test_connects_with_a_valid_key(self, connect):
        # C26: the server was started without the plan's flag, and nothing had to be switched on.
        async with connect() as client:
            assert await client.silence() == []

    @pytest.mark.capability("SB-101", "SB-102")
    async def test_a_bad_key_is_401(self, connect):
        # C24: the body is Supabase's JSON; test_keys.py looks at it.
        with pytest.raises(Closed, match="401"):
            async with connect("nonsense"):
                pass

    @pytest.mark.capability("SB-009", "SB-020", "SB-069", "SB-155")
    async def test_responds_to_a_heartbeat(self, connect):
        async with connect() as client:
            ref = await client.send("heartbeat", "phoenix")

            assert await client.receive() == {
                "topic": "phoenix",
                "event": "phx_reply",
                "payload": {"status": "ok", "response": {}},
                "ref": ref,
            }

    @pytest.mark.capability("SB-007", "SB-021", "SB-075", "SB-156")
    async def test_joins_a_channel(self, connect, room):
        async with connect() as client:
            reply = await client.join(room)

            # C03: the plan's response is empty; supabase-js needs the list.
            assert reply["payload"]["response"] == {"postgres_changes": []}

    @pytest.mark.capability("SB-008", "SB-014", "SB-157")
    async def test_leaves_a_channel(self, connect, room):
        async with connect() as client:
            await client.join(room)
            ref = await client.send("phx_leave", room)

            reply, close = await client.receive(), await client.receive()

            assert (reply["ref"], reply["payload"]["status"]) == (ref, "ok")
            assert (close["event"], close["payload"]) == ("phx_close", {})

    @pytest.mark.capability("SB-079", "SB-089")
    async def test_leaving_what_was_not_joined_is_no_error(self, connect, room):
        # C07: the plan answers with a code and a message; Supabase answers ok, and its errors have a reason.
        async with connect() as client:
            await client.send("phx_leave", room)

            assert (await client.receive())["payload"] == {"status": "ok", "response": {}}


def broadcast(name, payload):
    return {"type": "broadcast", "event": name, "payload": payload}


class TestBroadcast:
    @pytest.mark.capability("SB-011", "SB-038", "SB-081", "SB-158")
    async def test_reaches_other_subscribers(self, connect, room):
        async with connect() as sender, connect() as receiver:
            await sender.join(room)
            await receiver.join(room)

            await sender.send("broadcast", room, broadcast("test", {"message": "Hello"}))

            message = await receiver.receive_event("broadcast")
            assert message["payload"]["type"] == "broadcast"
            assert message["payload"]["event"] == "test"
            assert message["payload"]["payload"]["message"] == "Hello"
            assert "join_ref" not in message

    @pytest.mark.capability("SB-023", "SB-159")
    async def test_is_not_received_by_its_sender_without_self(self, connect, room):
        async with connect() as sender, connect() as receiver:
            await sender.join(room, broadcast={"self": False})
            await receiver.join(room)

            await sender.send("broadcast", room, broadcast("test", {}))
            await receiver.receive_event("broadcast")

            assert await sender.silence() == []

    @pytest.mark.capability("SB-160")
    async def test_is_received_by_its_sender_with_self(self, connect, room):
        async with connect() as client:
            await client.join(room, broadcast={"self": True})

            await client.send("broadcast", room, broadcast("test", {"message": "me"}))

            message = await client.receive_event("broadcast")
            assert message["payload"]["payload"] == {"message": "me"}

    @pytest.mark.capability("SB-013", "SB-022", "SB-035", "SB-082", "SB-161")
    async def test_is_acknowledged_with_ack(self, connect, room):
        async with connect() as client:
            await client.join(room, broadcast={"ack": True})

            ref = await client.send("broadcast", room, broadcast("test", {}))

            reply = await client.receive_event("phx_reply")
            assert (reply["ref"], reply["payload"]["status"]) == (ref, "ok")

    @pytest.mark.capability("SB-080")
    async def test_from_a_topic_that_is_not_joined_reaches_nobody(self, connect, room):
        async with connect() as stranger, connect() as receiver:
            await receiver.join(room)

            await stranger.send("broadcast", room, broadcast("test", {}))

            assert (await stranger.receive())["payload"]["status"] == "error"
            assert await receiver.silence() == []


async def follow(client, room, **entry):
    """Join for row changes and wait until they flow."""
    entry = {"event": "*", "schema": "public", "table": "realtime_test"} | entry
    reply = await client.join(room, postgres_changes=[entry])
    # C06: one system message per channel, without a subscription_id.
    notice = (await client.receive_event("system"))["payload"]
    assert (notice["status"], notice["message"]) == ("ok", "Subscribed to PostgreSQL")
    return reply["payload"]["response"]["postgres_changes"]


async def next_change(client):
    payload = (await client.receive_event("postgres_changes"))["payload"]
    return payload["ids"], payload["data"]


class TestRowChanges:
    """C02: `type`, `record` and `old_record` instead of the plan's eventType, new and old."""

    @pytest.mark.capability(
        "SB-016", "SB-017", "SB-025", "SB-036", "SB-037", "SB-039", "SB-040"
    )
    @pytest.mark.capability("SB-003", "SB-162", "SB-169", "SB-184")
    async def test_insert(self, target, connect, room, table):
        async with connect() as client:
            (entry,) = await follow(client, room, event="INSERT")

            target.execute(f"insert into {table} values (1, 'Test Item')")

            ids, change = await next_change(client)
            assert ids == [entry["id"]]
            assert (change["type"], change["record"]) == (
                "INSERT",
                {"id": 1, "name": "Test Item"},
            )
            assert (change["schema"], change["table"]) == ("public", table)

    @pytest.mark.capability("SB-041", "SB-042")
    async def test_a_change_has_no_errors_and_the_time_of_its_commit(
        self, target, connect, room, table
    ):
        # C02: null instead of an empty list, milliseconds instead of seconds, commit instead of notification.
        async with connect() as client:
            await follow(client, room)

            target.execute(f"insert into {table} values (1, 'a')")

            _, change = await next_change(client)
            assert change["errors"] is None
            assert change["commit_timestamp"][-5] == "."
            assert change["commit_timestamp"].endswith("Z")

    @pytest.mark.capability("SB-163")
    async def test_update_has_the_old_and_the_new_row(self, target, connect, room, table):
        target.execute(f"insert into {table} values (1, 'Original')")
        async with connect() as client:
            await follow(client, room, event="UPDATE")

            target.execute(f"update {table} set name = 'Updated'")

            _, change = await next_change(client)
            assert change["type"] == "UPDATE"
            assert change["record"]["name"] == "Updated"
            assert change["old_record"]["name"] == "Original"

    @pytest.mark.capability("SB-121", "SB-164")
    async def test_delete_has_the_old_row(self, target, connect, room, table):
        target.execute(f"insert into {table} values (1, 'To Delete')")
        async with connect() as client:
            await follow(client, room, event="DELETE")

            target.execute(f"delete from {table}")

            _, change = await next_change(client)
            assert (change["type"], change["old_record"]["name"]) == ("DELETE", "To Delete")

    @pytest.mark.capability("SB-026", "SB-109", "SB-198")
    async def test_a_wildcard_gets_all_three_kinds(self, target, connect, room, table):
        async with connect() as client:
            await follow(client, room)

            target.execute(
                f"insert into {table} values (1, 'a')",
                f"update {table} set name = 'b'",
                f"delete from {table}",
            )

            kinds = [(await next_change(client))[1]["type"] for _ in range(3)]
            assert kinds == ["INSERT", "UPDATE", "DELETE"]

    @pytest.mark.capability("SB-110", "SB-197")
    async def test_one_message_names_every_entry_that_matches(
        self, target, connect, room, table
    ):
        wanted = {"schema": "public", "table": table}
        async with connect() as client:
            reply = await client.join(
                room,
                postgres_changes=[
                    wanted | {"event": kind} for kind in ("*", "INSERT", "DELETE")
                ],
            )
            every, insert, _ = reply["payload"]["response"]["postgres_changes"]
            await client.receive_event("system")

            target.execute(f"insert into {table} values (1, 'a')")

            ids, _ = await next_change(client)
            assert sorted(ids) == sorted([every["id"], insert["id"]])

    @pytest.mark.capability("SB-029", "SB-165")
    async def test_a_filter_skips_what_does_not_match(self, target, connect, room, table):
        async with connect() as client:
            await follow(client, room, filter="name=eq.filtered")

            target.execute(
                f"insert into {table} values (1, 'other')",
                f"insert into {table} values (2, 'filtered')",
            )

            _, change = await next_change(client)
            assert change["record"] == {"id": 2, "name": "filtered"}

    @pytest.mark.capability("SB-114")
    async def test_the_filter_of_a_delete_looks_at_the_old_row(
        self, target, connect, room, table
    ):
        target.execute(f"insert into {table} values (1, 'other'), (2, 'filtered')")
        async with connect() as client:
            await follow(client, room, event="DELETE", filter="name=eq.filtered")

            target.execute(f"delete from {table}")

            _, change = await next_change(client)
            assert change["old_record"]["id"] == 2


def track(payload):
    return {"type": "presence", "event": "track", "payload": payload}


@pytest.mark.capability("SB-001")
async def test_one_channel_carries_all_three_features(target, connect, room, table):
    async with connect() as client:
        await follow(client, room, event="INSERT")

        await client.send("presence", room, track({"name": "Ann"}))
        await client.receive_event("presence_diff")
        target.execute(f"insert into {table} values (1, 'a')")
        await client.receive_event("postgres_changes")
        await client.send("broadcast", room, broadcast("test", {}))

        assert await client.silence() == []


class TestPresence:
    """C04: `metas` under each key. C11: a key alone asks for presence."""

    @pytest.mark.capability("SB-077", "SB-166")
    async def test_state_on_join_has_who_was_there_before(self, connect, room):
        async with connect() as first, connect() as second:
            await first.join(room, presence={"key": "user-1"})
            await first.send("presence", room, track({"status": "online"}))
            await first.receive_event("presence_diff")

            await second.join(room, presence={"key": "user-2"})

            state = (await second.receive_event("presence_state"))["payload"]
            assert [meta["status"] for meta in state["user-1"]["metas"]] == ["online"]

    @pytest.mark.capability("SB-167")
    async def test_diff_on_track(self, connect, room):
        async with connect() as first, connect() as second:
            await first.join(room, presence={"key": "user-1"})
            await second.join(room, presence={"key": "user-2"})

            await second.send("presence", room, track({"status": "here"}))

            diff = (await first.receive_event("presence_diff"))["payload"]
            assert [meta["status"] for meta in diff["joins"]["user-2"]["metas"]] == ["here"]
            assert diff["leaves"] == {}

    @pytest.mark.capability("SB-168")
    async def test_diff_on_leave(self, connect, room):
        async with connect() as first, connect() as second:
            await first.join(room, presence={"key": "user-1"})
            await second.join(room, presence={"key": "user-2"})
            await second.send("presence", room, track({}))
            await first.receive_event("presence_diff")

            await second.send("phx_leave", room)

            diff = (await first.receive_event("presence_diff"))["payload"]
            assert list(diff["leaves"]) == ["user-2"]
