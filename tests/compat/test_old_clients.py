"""What clients from before `config` send, against the running server and its database."""

from __future__ import annotations

import json
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import trio

from tests.support.tokens import mint
from tests.support.websocket import open_websocket

WITHIN_S = 30


def connect(server, version):
    query = urlencode({"vsn": version, "apikey": mint()})
    return open_websocket(server.port, f"/realtime/v1/websocket?{query}")


def frame(version, topic, event, payload) -> str:
    if version == "2.0.0":
        return json.dumps(["1", "1", topic, event, payload])
    return json.dumps({"topic": topic, "event": event, "payload": payload, "ref": "1"})


async def told(client, version) -> tuple[str, dict]:
    """Return event and payload of the next message."""
    message = json.loads(await client.receive())
    if version == "2.0.0":
        return message[3], message[4]
    return message["event"], message["payload"]


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_a_topic_that_is_no_schema_is_joined_and_its_subscription_fails(server, version):
    with trio.fail_after(WITHIN_S):
        async with connect(server, version) as client:
            await client.send(frame(version, "realtime:room", "phx_join", {}))
            joined = await told(client, version)
            notice = await told(client, version)

    (entry,) = joined[1]["response"]["postgres_changes"]
    assert (joined[0], entry["schema"]) == ("phx_reply", "room")
    assert notice[0] == "system"
    assert (notice[1]["extension"], notice[1]["status"]) == ("postgres_changes", "error")
    assert "schema: room" in notice[1]["message"]


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_changes_of_the_table_in_the_topic_come_under_their_own_names(server, version):
    body = f"row {uuid4()}"
    with trio.fail_after(WITHIN_S):
        async with connect(server, version) as client:
            topic = f"realtime:public:messages:body=eq.{body}"
            await client.send(frame(version, topic, "phx_join", {}))
            while (await told(client, version))[0] != "system":
                pass
            await trio.to_thread.run_sync(
                server.execute,
                f"INSERT INTO public.messages (sender, body) VALUES ('ann', '{body}')",
                f"UPDATE public.messages SET sender = 'bob' WHERE body = '{body}'",
            )
            changes = [await told(client, version) for _ in range(2)]

    assert [event for event, _ in changes] == ["INSERT", "UPDATE"]
    assert [data["record"]["sender"] for _, data in changes] == ["ann", "bob"]
    assert [data["table"] for _, data in changes] == ["messages"] * 2


async def test_a_client_that_asks_is_told_that_the_stream_is_there(server):
    config = {"broadcast": {"replication_ready": True}}
    with trio.fail_after(WITHIN_S):
        async with connect(server, "2.0.0") as client:
            join = frame("2.0.0", "realtime:ready", "phx_join", {"config": config})
            await client.send(join)
            await told(client, "2.0.0")

            assert await told(client, "2.0.0") == (
                "system",
                {
                    "extension": "system",
                    "status": "ok",
                    "message": "Replication connection established",
                    "channel": "ready",
                },
            )
