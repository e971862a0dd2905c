"""Asks the HTTP routes of a running node."""

from __future__ import annotations

import json

import trio

from tests.support.tokens import mint

USER = "00000000-0000-4000-8000-00000000000a"


class Http:
    """Asks a node over real sockets, one connection per request."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, method, path, body=None, token=None):
        """Return status and JSON of the answer."""
        data = b"" if body is None else json.dumps(body).encode()
        token = token or mint("authenticated", sub=USER)
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n"
            f"authorization: Bearer {token}\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(head.encode() + data)
            answer = b"".join([part async for part in stream])
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(content) if content else None

    async def by_admin(self, method, path, body=None):
        return await self.ask(method, path, body, mint("service_role"))
