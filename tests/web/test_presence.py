"""Presence behind the real port: who says something now and then stays, who falls silent is gone."""

from __future__ import annotations

import json

import pytest
import trio
from wsproto import events

from actors.web.app import site
from actors.web.supabase import SupabaseEndpoint, SupabaseOptions
from protocol.phoenix.dialect import negotiate
from tests.support.memory_tenant import ROOM, open_stage
from tests.support.web import start_port

IDLE_S = 60
EVERY_S = 25


class Person:
    """A client with a key of presence."""

    def __init__(self, client) -> None:
        self._client = client

    async def push(self, event, payload, topic=ROOM) -> None:
        text = json.dumps(["1", "1", topic, event, payload])
        await self._client.send_event(events.TextMessage(text))

    async def enter(self, key) -> None:
        await self._client.upgrade("/socket/websocket?apikey=anon&vsn=2.0.0")
        await self.push("phx_join", {"config": {"presence": {"key": key}}})
        await self.hear("presence_state")

    async def beat(self) -> None:
        await self.push("heartbeat", {}, "phoenix")

    async def hear(self, event) -> dict:
        """Return the payload of the next message of that event."""
        while True:
            *_, heard, payload = json.loads(await self._client.event())
            if heard == event:
                return payload


@pytest.mark.capability("M5-033", "M5-037")
async def test_who_sends_heartbeats_stays_present_and_who_falls_silent_has_left(
    autojump_clock, nursery
):
    async with open_stage() as stage:
        endpoint = SupabaseEndpoint(
            stage.verifier, stage.connections, negotiate, SupabaseOptions()
        )
        whole = site(supabase=endpoint)
        port = await start_port(nursery, whole.application, whole.websockets)
        ann, bob = Person(port.connect()), Person(port.connect())
        await ann.enter("ann")
        await bob.enter("bob")
        track = {"type": "presence", "event": "track", "payload": {"status": "online"}}
        await bob.push("presence", track)
        joined = await ann.hear("presence_diff")
        for _ in range(10):
            await trio.sleep(EVERY_S)
            await ann.beat()
            await bob.beat()
        last = trio.current_time()

        async def keep_beating() -> None:
            while True:
                await ann.beat()
                await trio.sleep(EVERY_S)

        nursery.start_soon(keep_beating)
        left = await ann.hear("presence_diff")

        assert [meta["status"] for meta in joined["joins"]["bob"]["metas"]] == ["online"]
        assert list(left["leaves"]) == ["bob"]
        assert trio.current_time() - last == pytest.approx(IDLE_S, abs=5)
        nursery.cancel_scope.cancel()
