"""One client connection over its HTTP life: request after request, until it ends or becomes a WebSocket.

Run by the acceptor (`server.py`), one task per connection.
Paths of WebSocket endpoints go to them, on any cycle of a kept-alive connection; the rest goes to the application.
Whoever enters the `Upgrade` owns the transport from then on; until then it is closed here, however this ends.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog

from actors.web.asgi import AsgiExchange
from actors.web.endpoint import Refusal, WebSocketRequest
from actors.web.http1 import ANY_ORIGIN, HttpWire, RequestRefused
from actors.web.transport import linger
from actors.web.upgrade import Upgrade

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.web.endpoint import Site, WebSocketEndpoint
    from actors.web.http1 import Head
    from actors.web.options import WebOptions
    from actors.web.outbox_cap import OutboxCap
    from actors.web.transport import Transport

log = structlog.get_logger()


def upgrade_problem(head: Head, *, has_body: bool) -> str | None:
    """Return why `head` is no request to upgrade to a WebSocket, or None (RFC 6455, 4.2.1)."""
    problem = None
    if head.http_version != "1.1":
        problem = "a WebSocket needs HTTP/1.1"
    elif "upgrade" not in _tokens(head, b"connection"):
        problem = "'connection' header must contain 'upgrade'"
    elif "websocket" not in _tokens(head, b"upgrade"):
        problem = "'upgrade' header must contain 'websocket'"
    elif not head.header(b"sec-websocket-key"):
        problem = "'sec-websocket-key' header is absent"
    elif head.header(b"sec-websocket-version") != "13":
        problem = "'sec-websocket-version' header must be '13'"
    elif has_body:
        problem = "a request to upgrade has no body"
    return problem


def _tokens(head: Head, name: bytes) -> set[str]:
    value = head.header(name) or ""
    return {token.strip().lower() for token in value.split(",")}


class HttpConnection:
    """See the module's text."""

    def __init__(
        self, transport: Transport, site: Site, options: WebOptions, cap: OutboxCap
    ) -> None:
        self._transport = transport
        self._site = site
        self._options = options
        self._cap = cap
        self._wire = HttpWire(transport, options.http)
        self._upgrade: Upgrade | None = None

    def finish(self) -> None:
        """Let the exchange in flight be the last one; without one, end."""
        self._wire.finish()

    async def serve(self) -> None:
        """Serve until the client leaves, is refused or handed over; never raises for what a client does."""
        try:
            await self._serve()
        except RequestRefused as refused:
            await self._refuse(refused.status)
        except OSError:  # the client is gone, or cannot be told
            self._transport.abort()
        finally:
            if self._upgrade is None or not self._upgrade.is_claimed:
                self._transport.close()

    async def _serve(self) -> None:
        while (head := await self._wire.read_head()) is not None:
            found = self._site.find_websocket(head.path, head.raw_path)
            if found is None:
                exchange = AsgiExchange(self._wire, head, self._transport.peer)
                await exchange.run(self._site.application)
            elif await self._hand_over(*found, head):
                return
            if not await self._wire.next_cycle():
                await linger(self._transport, within_s=self._options.http.linger_s)
                return

    async def _hand_over(
        self, endpoint: WebSocketEndpoint, parameters: Mapping[str, str], head: Head
    ) -> bool:
        """Let the endpoint decide; True when the exchange is over because the client was admitted."""
        has_body = bool(await self._wire.read_body())
        key = (head.header(b"sec-websocket-key") or "").encode("latin-1")
        self._upgrade = upgrade = Upgrade(
            self._transport,
            self._options.websocket,
            self._cap,
            key,
            self._wire.early,
        )
        request = WebSocketRequest(
            method=head.method,
            headers={name.decode(): value.decode("latin-1") for name, value in head.headers},
            query=dict(parse_qsl(head.query.decode("latin-1"), keep_blank_values=True)),
            peer=self._transport.peer,
            problem=upgrade_problem(head, has_body=has_body),
            open_socket=upgrade.open_socket,
            parameters=parameters,
        )
        try:
            refusal = await self._ask(endpoint, request, head)
            if refusal is None:
                await upgrade.wait_claimed()
                return True
        finally:
            upgrade.revoke()
        content_type = (b"content-type", refusal.content_type.encode())
        headers = [content_type] if refusal.body else []
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
        await self._wire.respond(refusal.status, refusal.body, headers)
        return False

    async def _ask(
        self, endpoint: WebSocketEndpoint, request: WebSocketRequest, head: Head
    ) -> Refusal | None:
        try:
            return await endpoint(request)
        except Exception:  # a bug there is to cost this client a 500 and nobody anything else
            log.exception("request.crashed", method=head.method, path=head.path)
            return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, b"Internal Server Error")

    async def _refuse(self, status: int) -> None:
        if self._wire.may_respond:
            phrase = HTTPStatus(status).phrase.encode()
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"connection", b"close"),
                ANY_ORIGIN,
            ]
            try:
                await self._wire.respond(status, phrase, headers)
            except OSError:
                return
            await linger(self._transport, within_s=self._options.http.linger_s)
