"""Who may ask what over HTTP: routes for operators, routes for whoever brings a good key."""

from __future__ import annotations

from secrets import compare_digest
from typing import TYPE_CHECKING, Final

import structlog
from attrs import field, frozen
from starlette.responses import JSONResponse, Response

from actors.realtime.errors import Refused
from actors.realtime.permissions import SERVICE_ROLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from actors.realtime.ports import Identity, TokenVerifier

    Handler = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger()

BEARER: Final = "bearer "


@frozen
class Guard:
    """Wraps handlers in the check of the bearer token; `metrics_token` is good for metrics alone."""

    verifier: TokenVerifier
    metrics_token: str | None = field(default=None, repr=False)

    def operator(self, handle: Handler) -> Handler:
        """Let a key of the role service_role pass."""

        async def guarded(request: Request) -> Response:
            identity = await self.identify(request)
            if identity is not None and identity.role == SERVICE_ROLE:
                return await handle(request)
            return _forbidden()

        return guarded

    def metrics(self, handle: Handler) -> Handler:
        """Let the token for metrics pass, or whom an operator's route lets pass."""
        otherwise = self.operator(handle)

        async def guarded(request: Request) -> Response:
            token = bearer_token(request).encode()
            expected = self.metrics_token
            if expected is not None and compare_digest(token, expected.encode()):
                return await handle(request)
            return await otherwise(request)

        return guarded

    def anybody(self, handle: Handler) -> Handler:
        """Let every good key pass."""

        async def guarded(request: Request) -> Response:
            if await self.identify(request) is None:
                return JSONResponse({"message": "Unauthorized"}, status_code=401)
            return await handle(request)

        return guarded

    async def identify(self, request: Request) -> Identity | None:
        """Return whom the bearer token speaks for, None if it is no good."""
        try:
            return await self.verifier.verify(bearer_token(request))
        except Refused as refused:
            log.debug("operator.refused", code=refused.code)
            return None


def bearer_token(request: Request) -> str:
    """Return the token of the header `Authorization`, empty if there is none."""
    header = request.headers.get("authorization", "")
    scheme, token = header[: len(BEARER)], header[len(BEARER) :]
    return token if scheme.lower() == BEARER else ""


def _forbidden() -> Response:
    # Source: spec 9, a failed admin login is 403 without a body.
    return Response(status_code=403)
