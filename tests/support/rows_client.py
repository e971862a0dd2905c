"""A client of a running node that subscribes to row changes and says what it heard."""

from __future__ import annotations

import json
import time
from collections import deque
from contextlib import asynccontextmanager

import trio

from actors.auth.tokens import mint
from actors.settings import DEVELOPMENT_SECRET
from tests.support.memory_tenant import read_message
from tests.support.websocket import open_websocket

SUBSCRIBED = "Subscribed to PostgreSQL"
WITHIN_S = 20.0


class RowsClient:
    """One socket; messages of a topic are kept until somebody asks for them."""

    def __init__(self, socket, version: str) -> None:
        self._socket = socket
        self._version = version
        self._refs = iter(range(1, 1_000_000))
        self._kept: deque = deque()

    async def join(self, topic: str, *bindings, **config) -> str:
        """Send a join; return its ref."""
        ref = str(next(self._refs))
        payload = {"config": {"postgres_changes": list(bindings), **config}}
        if self._version == "2.0.0":
            text = json.dumps([ref, ref, f"realtime:{topic}", "phx_join", payload])
        else:
            body = {"topic": f"realtime:{topic}", "event": "phx_join", "payload": payload}
            text = json.dumps({**body, "ref": ref, "join_ref": ref})
        await self._socket.send(text)
        return ref

    async def next(self, event: str, topic: str | None = None):
        """Return the payload of the next message of that event, on that topic if there is one."""
        name = None if topic is None else f"realtime:{topic}"
        for message in self._kept:
            if message.event == event and name in (None, message.topic):
                self._kept.remove(message)
                return message.payload
        with trio.fail_after(WITHIN_S):
            while True:
                message = read_message(self._version, await self._socket.receive())
                if message.event == event and name in (None, message.topic):
                    return message.payload
                self._kept.append(message)

    async def subscribed(self, topic: str, *bindings, **config) -> list[int]:
        """Join, expect that rows flow, and return the ids of the bindings."""
        await self.join(topic, *bindings, **config)
        reply = await self.next("phx_reply", topic)
        assert reply["status"] == "ok"
        system = await self.next("system", topic)
        assert (system["status"], system["message"]) == ("ok", SUBSCRIBED), system["message"]
        return [entry["id"] for entry in reply["response"]["postgres_changes"]]

    async def refused(self, topic: str, *bindings, **config) -> str:
        """Join, expect to be let in and that rows do not flow, and return why."""
        await self.join(topic, *bindings, **config)
        reply = await self.next("phx_reply", topic)
        assert reply["status"] == "ok"
        system = await self.next("system", topic)
        assert (system["status"], system["extension"]) == ("error", "postgres_changes")
        assert system["channel"] == topic
        return system["message"]

    async def change(self, topic: str | None = None):
        """Return the payload of the next row change."""
        return await self.next("postgres_changes", topic)


@asynccontextmanager
async def rows_client(port: int, version: str = "2.0.0", role: str = "anon"):
    """Connect to a node on the loopback for the length of a `with` block."""
    key = mint(DEVELOPMENT_SECRET, role, time.time() + 3600)  # noqa: TID251
    target = f"/realtime/v1/websocket?apikey={key}&vsn={version}"
    async with open_websocket(port, target) as socket:
        yield RowsClient(socket, version)
