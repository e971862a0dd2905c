"""The bridge from one HTTP exchange to an ASGI application.

Called by `exchange.py` for every path that is no WebSocket endpoint; reads and writes through `http1.py`.
An application that fails is logged and costs its client a 500, or the connection if the response was begun.
Starlette's ServerErrorMiddleware raises again after it sent its 500; here is where that ends.

**Source**: ASGI specification 3.0, HTTP connection scope 2.4 (a send after the client left raises `OSError`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import trio

from actors.web.http1 import ANY_ORIGIN, RequestRefused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

    from actors.web.http1 import Head, HttpWire

log = structlog.get_logger()


def scope_of(head: Head, peer: str) -> dict[str, Any]:
    """Return the ASGI scope for a request; the client's port is not told."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": head.http_version,
        "method": head.method,
        "scheme": "http",
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query,
        "root_path": "",
        "headers": head.headers,
        "client": (peer, 0),
        "server": None,
    }


class AsgiExchange:
    """One request and its response."""

    def __init__(self, wire: HttpWire, head: Head, peer: str) -> None:
        self._wire = wire
        self._head = head
        self._peer = peer
        self._running = trio.CancelScope()
        self._listening = trio.CancelScope()
        self._refused: RequestRefused | None = None
        self._start: Message | None = None
        self._is_body_read = False
        self._is_ended = False
        self._is_gone = False

    async def run(self, application: ASGIApp) -> None:
        """Let the application answer.

        Raises:
            RequestRefused: the body was at fault.
            OSError: the client left, or the response cannot be completed.
        """
        with self._running:
            try:
                await application(scope_of(self._head, self._peer), self._receive, self._send)
            except* Exception:  # an application may raise anything, and groups of it
                if not self._is_gone:
                    log.exception(
                        "request.crashed", method=self._head.method, path=self._head.path
                    )
        if self._refused is not None:
            raise self._refused
        if self._is_gone:
            raise ConnectionResetError
        if not self._is_ended:
            await self._apologise()

    async def _apologise(self) -> None:
        if not self._wire.may_respond:
            raise ConnectionAbortedError
        await self._wire.respond(500, b"Internal Server Error", [ANY_ORIGIN])

    async def _receive(self) -> Message:
        if not self._is_body_read:
            return await self._receive_body()
        if not self._is_ended:
            with self._listening:
                await self._wire.wait_gone()
                self._is_gone = True
        return {"type": "http.disconnect"}

    async def _receive_body(self) -> Message:
        try:
            data = await self._wire.read_body()
        except RequestRefused as refused:
            self._refused = refused
            self._running.cancel()
            await trio.lowlevel.checkpoint()
            raise
        except OSError:
            self._is_gone = self._is_body_read = True
            return {"type": "http.disconnect"}
        self._is_body_read = not data
        return {"type": "http.request", "body": data, "more_body": bool(data)}

    async def _send(self, message: Message) -> None:
        try:
            if message["type"] == "http.response.start":
                self._start = message
            elif message["type"] == "http.response.body":
                await self._send_body(message)
        except OSError:
            self._is_gone = True
            raise

    async def _send_body(self, message: Message) -> None:
        if self._start is not None:
            start, self._start = self._start, None
            await self._wire.start_response(start["status"], _headers(start))
        await self._wire.send_body(message.get("body", b""))
        if not message.get("more_body", False):
            await self._wire.end_response()
            self._is_ended = True
            self._listening.cancel()


def _headers(start: Message) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response; the 500 of ServerErrorMiddleware has gone past the one for other origins."""
    headers = [(name, value) for name, value in start.get("headers", ())]
    if start["status"] == 500 and ANY_ORIGIN not in headers:
        headers.append(ANY_ORIGIN)
    return headers
