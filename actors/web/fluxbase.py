"""The door for Fluxbase's WebSockets: who may open one, and what the others are told.

Served at exactly `/realtime`. Asks the token verifier, and hands good clients to the `Door`.

**Source**: ledger FB-001, FB-002, FB-016…018 (the token), FB-073 (frames of 512 KB), C14 (the path), C15 (no token).
"""

from __future__ import annotations

import json
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
import trio
from attrs import field, frozen

from actors.realtime.errors import RateLimited, Refused, Suspended, Unauthorized
from actors.realtime.ports import Opening
from actors.web.endpoint import Refusal, SocketLimits
from protocol.fluxbase.dialect import FluxbaseDialect

if TYPE_CHECKING:
    from actors.realtime.ports import Door, Identity, TokenVerifier
    from actors.web.endpoint import WebSocketRequest

log = structlog.get_logger()

PATH: Final = "/realtime"
JSON: Final = "application/json"
FRAME_BYTES: Final = 512 * 1024
INVALID_TOKEN: Final = "Invalid or expired token"  # noqa: S105  # said of one
TOKEN_REQUIRED: Final = "Authentication required"  # noqa: S105  # said of one
ORIGIN_REFUSED: Final = Refusal(403, b'{"error":"Origin not allowed"}', JSON)


@frozen
class FluxbaseOptions:
    """What can be set about this door.

    `is_token_needed` turns clients without a token away, who are `anon` otherwise.
    `idle_s` are the seconds without a byte from a client after which it is closed, None as the port has it.
    `refusal_delay_s` is how long a bad token waits for its answer.
    """

    is_token_needed: bool = False
    idle_s: float | None = None
    max_message_bytes: int = FRAME_BYTES
    refusal_delay_s: float = 2.0


@frozen
class FluxbaseEndpoint:
    """A `WebSocketEndpoint`; the `verifier` takes a client without a token for one that is `anon`."""

    verifier: TokenVerifier
    door: Door
    dialect: FluxbaseDialect = field(factory=FluxbaseDialect)
    options: FluxbaseOptions = field(factory=FluxbaseOptions)

    async def __call__(self, request: WebSocketRequest) -> Refusal | None:
        if request.method != "GET":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "This is a WebSocket: use GET")
        try:
            self.door.refuse_if_suspended()
            identity = await self._identify(request)
            self.door.refuse_if_full()
        except Refused as refused:
            log.debug("websocket.refused", code=refused.code, peer=request.peer)
            return _told(refused)
        if request.problem is not None:
            return _refusal(HTTPStatus.UPGRADE_REQUIRED, request.problem)
        limits = SocketLimits(self.options.idle_s, self.options.max_message_bytes)
        self.door.admit(
            Opening(
                self.dialect,
                identity,
                request.peer,
                partial(request.open_socket, limits),
                request.headers_shown,
                self.verifier,
            )
        )
        return None

    async def _identify(self, request: WebSocketRequest) -> Identity:
        token = request.query.get("token", "").strip()
        try:
            if not token and self.options.is_token_needed:
                raise Unauthorized("MissingAPIKey", TOKEN_REQUIRED)
            return await self.verifier.verify(token)
        except Refused:
            await trio.sleep(self.options.refusal_delay_s)
            raise


def _told(refused: Refused) -> Refusal:
    match refused:
        case Unauthorized():
            is_missing = refused.reason == TOKEN_REQUIRED
            return _refusal(
                HTTPStatus.UNAUTHORIZED, TOKEN_REQUIRED if is_missing else INVALID_TOKEN
            )
        case Suspended():
            return _refusal(HTTPStatus.FORBIDDEN, refused.reason)
        case RateLimited():
            return _refusal(HTTPStatus.TOO_MANY_REQUESTS, refused.reason)
        case _:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, refused.reason)


def _refusal(status: HTTPStatus, error: str) -> Refusal:
    return Refusal(status, json.dumps({"error": error}).encode(), JSON)
