"""Clients of the Fluxbase dialect, in memory."""

from __future__ import annotations

import json
from typing import Any

from trio.testing import wait_all_tasks_blocked

from protocol.fluxbase import FluxbaseDialect


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
