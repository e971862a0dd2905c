"""A crash of the reactor: whom it read comes back at once, and everything else stays up."""

from __future__ import annotations

import json

import pytest
import trio

from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint
from tests.support.websocket import Closed, open_websocket

TOPIC = "realtime:room"
WITHIN_S = 20.0


async def join(client) -> None:
    await client.send(json.dumps(["1", "1", TOPIC, "phx_join", {"config": {}}]))
    reply = json.loads(await client.receive())
    assert reply[4]["status"] == "ok"


@pytest.mark.slow
async def test_its_clients_are_told_1012_and_come_back():
    target = f"/socket/websocket?vsn=2.0.0&apikey={mint()}"
    with trio.fail_after(WITHIN_S):
        async with running_node(None, no_database=True, jwt_secret=SECRET) as node:
            async with open_websocket(node.port, target) as client:
                await join(client)
                assert node.tree.crash_actor("reactor")
                with pytest.raises(Closed) as closed:
                    await client.receive()
            async with open_websocket(node.port, target) as client:
                await join(client)
            restarts = {
                actor["name"]: actor["incarnation"]
                for actor in node.tree.describe_actors()
                if actor["incarnation"] > 1
            }

    assert closed.value.code == 1012
    assert restarts == {"reactor": 2}
