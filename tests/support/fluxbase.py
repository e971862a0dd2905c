"""Clients of the Fluxbase dialect: on a real port, and in memory."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from protocol.fluxbase import FluxbaseDialect
from tests.support.websocket import WebSocketClient, open_websocket

WITHIN_S = 20.0


class FluxbaseClient:
    """A client on a real port; heartbeats are passed over."""

    def __init__(self, websocket: WebSocketClient) -> None:
        self._websocket = websocket

    async def say(self, type: str, channel: str = "", **members: Any) -> None:  # noqa: A002
        named = {"channel": channel} if channel else {}
        await self.say_raw(json.dumps({"type": type, **named, **members}))

    async def say_raw(self, data: str | bytes) -> None:
        await self._websocket.send(data)

    async def receive(self) -> dict[str, Any]:
        with trio.fail_after(WITHIN_S):
            while True:
                message: dict[str, Any] = json.loads(await self._websocket.receive())
                if message["type"] != "heartbeat":
                    return message

    async def next(self) -> dict[str, Any]:
        """Return the next message that is not about who is present."""
        while True:
            message = await self.receive()
            if message["type"] != "presence":
                return message

    async def subscribed(self, channel: str, **members: Any) -> None:
        await self.say("subscribe", channel, **members)
        message = await self.next()
        assert message["type"] == "ack", message

    async def refusal(self, channel: str, **members: Any) -> str:
        await self.say("subscribe", channel, **members)
        message = await self.next()
        assert (message["type"], message["channel"]) == ("error", channel)
        error: str = message["error"]
        return error


@asynccontextmanager
async def open_fluxbase(port: int, token: str = ""):
    """Connect to the server on this machine, without a token as who did not sign in."""
    query = f"?token={token}" if token else ""
    async with open_websocket(port, f"/realtime{query}") as websocket:
        yield FluxbaseClient(websocket)


class Visitor:
    """A client in memory that has connected to a stage."""

    def __init__(self, stage, user: str = "", **opening: Any) -> None:
        options = {"dialect": FluxbaseDialect(), "role": "authenticated", **opening}
        self._client = stage.connect(sub=user, **options)

    @property
    def close_code(self) -> int | None:
        return self._client.socket.outbox.close_code

    def send(self, type: str, channel: str = "", **members: Any) -> None:  # noqa: A002
        named = {"channel": channel} if channel else {}
        self.send_raw(json.dumps({"type": type, **named, **members}))

    def send_raw(self, data: str | bytes) -> None:
        self._client.send_raw(data)

    def go(self) -> None:
        """Leave without a word."""
        self._client.leave_socket()

    async def received(self) -> list[dict[str, Any]]:
        """Return what came, once everybody is blocked."""
        await wait_all_tasks_blocked()
        outbox = self._client.socket.outbox
        found = [json.loads(data) for data in outbox.messages]
        outbox.messages.clear()
        return found

    def farewell(self) -> list[dict[str, Any]]:
        """Return what is said before the client is cut because it reads too slowly."""
        outbox = self._client.socket.outbox
        outbox.push(self._client.socket.farewell())
        found = [json.loads(data) for data in outbox.messages]
        outbox.messages.clear()
        return found

    async def subscribed(self, channel: str, **members: Any) -> None:
        """Subscribe and expect the acknowledgement; what else comes with it is dropped."""
        self.send("subscribe", channel, **members)
        messages = await self.received()
        assert [m["type"] for m in messages][:1] == ["ack"], messages

    async def heard(self, type: str) -> list[dict[str, Any]]:  # noqa: A002
        """Return the payloads of what came of one type."""
        return [m["payload"] for m in await self.received() if m["type"] == type]
