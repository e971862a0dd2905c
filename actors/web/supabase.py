"""The door for Supabase clients: who may open a WebSocket, and what the others are told.

Served at both paths of `app.py`. Asks the token verifier, and hands good clients to the `Door`.

**Source**: spec 1.1, 1.2 and 3.1 (statuses, texts and their order are literal).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
import trio
from attrs import frozen

from actors.realtime.errors import (
    RateLimited,
    Refused,
    Suspended,
    TokenExpired,
    Unauthorized,
)
from actors.realtime.ports import Opening
from actors.web.endpoint import Refusal
from protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.realtime.ports import Door, Identity, TokenVerifier
    from actors.web.endpoint import WebSocketRequest
    from protocol.dialect import Dialect

log = structlog.get_logger()

JSON: Final = "application/json; charset=utf-8"
#: For pages that may not connect; upstream lets all of them in.
ORIGIN_REFUSED: Final = Refusal(
    HTTPStatus.FORBIDDEN, b'{"error":"This origin is not allowed"}', JSON
)
#: What every reason becomes that is not the client's business; with status 500.
CANNOT_CONNECT: Final = "Error connecting to Realtime"


@frozen
class SupabaseOptions:
    """What can be set about this door."""

    refusal_delay_s: float = 2.0
    """How long a bad key waits for its answer (upstream's CONNECT_ERROR_BACKOFF_MS)."""


class SupabaseEndpoint:
    """A `WebSocketEndpoint`; `negotiate` returns the dialect for `vsn` and `binary` or raises `ProtocolError`."""

    def __init__(
        self,
        verifier: TokenVerifier,
        door: Door,
        negotiate: Callable[[str | None, str | None], Dialect],
        options: SupabaseOptions,
    ) -> None:
        self._verifier = verifier
        self._door = door
        self._negotiate = negotiate
        self._options = options

    async def __call__(self, request: WebSocketRequest) -> Refusal | None:
        if request.method != "GET":
            return Refusal(400)
        try:
            query = request.query
            dialect = self._negotiate(query.get("vsn"), query.get("binary"))
        except ProtocolError:
            return Refusal(403)
        try:
            self._door.refuse_if_suspended()
            identity = await self._identify(request)
            self._door.refuse_if_full()
        except Refused as refused:
            log.debug("websocket.refused", code=refused.code, peer=request.peer)
            await trio.sleep(self._options.refusal_delay_s)
            return _refusal(refused)
        if request.problem is not None:
            return Refusal(400, request.problem.encode())
        self._door.admit(
            Opening(
                dialect,
                identity,
                request.peer,
                request.open_socket,
                request.headers_shown,
            )
        )
        return None

    async def _identify(self, request: WebSocketRequest) -> Identity:
        headers, query = request.headers, request.query
        key = headers.get("x-api-key", headers.get("apikey", query.get("apikey")))
        if key is None:
            raise Unauthorized("MissingAPIKey", "API key is missing")
        return await self._verifier.verify(key)


def _refusal(refused: Refused) -> Refusal:
    """Return what a client is told.

    **Source**: spec 1.2; how long ago a token expired is said at a join only.
    """
    reason = refused.reason
    match refused:
        case TokenExpired():
            status, reason = HTTPStatus.UNAUTHORIZED, "Token has expired"
        case Unauthorized():
            status = HTTPStatus.UNAUTHORIZED
        case Suspended():
            status = HTTPStatus.FORBIDDEN
        case RateLimited():
            status = HTTPStatus.TOO_MANY_REQUESTS
        case _:
            status, reason = HTTPStatus.INTERNAL_SERVER_ERROR, CANNOT_CONNECT
    return Refusal(status, json.dumps({"error": reason}).encode(), JSON)
