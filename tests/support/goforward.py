"""Clients of the GoForward dialect: on a real port, and in memory."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import quote, urlencode

from trio.testing import wait_all_tasks_blocked

from protocol.goforward.dialect import GoForwardDialect
from protocol.goforward.envelope import Stamp
from tests.support.tokens import mint
from tests.support.websocket import WebSocketClient, open_websocket


def counting_stamps():
    """Return stamps that differ from one another, and are the same in every run."""
    numbers = count()

    def stamp() -> Stamp:
        number = next(numbers)
        return Stamp(1_642_234_567 + number / 1000, number.to_bytes(6, "big"))

    return stamp


def dialect(channel: str = "room", **options: Any) -> GoForwardDialect:
    """Return the dialect of a channel for tests."""
    return GoForwardDialect(channel, counting_stamps(), **options)


def path_of(channel: str, **query: str) -> str:
    """Return the target to dial for a channel."""
    return f"/realtime/channels/{quote(channel, safe='')}/ws?{urlencode(query)}"


def user_token(user: str, role: str = "authenticated", **claims: Any) -> str:
    """Return a token of a user."""
    return mint(role, sub=user, **claims)


class GoForwardClient:
    """A client on a real port."""

    def __init__(self, websocket: WebSocketClient) -> None:
        self._websocket = websocket

    async def send(self, type: str, event: str = "", **payload: Any) -> None:  # noqa: A002
        await self._websocket.send(
            json.dumps({"type": type, "event": event, "payload": payload})
        )

    async def send_raw(self, data: str | bytes) -> None:
        await self._websocket.send(data)

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._websocket.receive())
        return message

    async def expect(self, type: str, event: str) -> dict[str, Any]:  # noqa: A002
        """Return the next message of that kind; others before it are passed over."""
        while True:
            message = await self.receive()
            if (message["type"], message["event"]) == (type, event):
                return message


@asynccontextmanager
async def open_channel(port: int, channel: str, user: str = "u1", token: str | None = None):
    """Connect to a channel of the server on this machine, and wait until the client is in it."""
    target = path_of(channel, token=token or user_token(user))
    async with open_websocket(port, target) as websocket:
        client = GoForwardClient(websocket)
        await client.expect("system", "connected")
        yield client


class Member:
    """A client in memory that is in a channel of a stage, or on its way there."""

    def __init__(self, stage, user: str = "", channel: str = "room", **opening: Any) -> None:
        options = {"dialect": dialect(channel), "role": "authenticated", **opening}
        self._client = stage.connect(sub=user, **options)

    @property
    def outbox(self):
        return self._client.socket.outbox

    @property
    def close_code(self) -> int | None:
        return self.outbox.close_code

    def send(self, type: str, event: str = "", **payload: Any) -> None:  # noqa: A002
        self.send_raw(json.dumps({"type": type, "event": event, "payload": payload}))

    def send_raw(self, data: str | bytes) -> None:
        self._client.send_raw(data)

    def go(self) -> None:
        """Leave without a word."""
        self._client.leave_socket()

    async def received(self) -> list[dict[str, Any]]:
        """Return what came, once everybody is blocked."""
        await wait_all_tasks_blocked()
        found = [json.loads(data) for data in self.outbox.messages]
        self.outbox.messages.clear()
        return found

    async def heard(self) -> list[tuple[str, str, Any]]:
        """Return type, event and payload of what came, once everybody is blocked."""
        return [(m["type"], m["event"], m["payload"]) for m in await self.received()]
