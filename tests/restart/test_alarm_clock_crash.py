"""A crash of the alarm clock: nobody notices, and tokens end when they expire."""

from __future__ import annotations

import json
import time

import pytest
import trio

from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint
from tests.support.websocket import open_websocket

TOPIC = "realtime:room"
WITHIN_S = 20.0


@pytest.mark.slow
async def test_connections_stay_and_tokens_still_end_on_time():
    target = f"/socket/websocket?vsn=2.0.0&apikey={mint()}"
    with trio.fail_after(WITHIN_S):
        async with (
            running_node(None, no_database=True, jwt_secret=SECRET) as node,
            open_websocket(node.port, target) as client,
        ):
            token = mint(expires_at=time.time() + 3)  # noqa: TID251  # the server's clock
            config = {"config": {}, "access_token": token}
            await client.send(json.dumps(["1", "1", TOPIC, "phx_join", config]))
            assert json.loads(await client.receive())[4]["status"] == "ok"
            assert node.tree.crash_actor("alarm_clock")
            heard = [json.loads(await client.receive())]
            while heard[-1][3] != "phx_close":
                heard.append(json.loads(await client.receive()))
            restarts = {
                actor["name"]: actor["incarnation"]
                for actor in node.tree.describe_actors()
                if actor["incarnation"] > 1
            }

    assert "expired" in heard[-2][4]["message"]
    assert restarts == {"alarm_clock": 2}
