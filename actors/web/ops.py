"""For operators: what this node counts, which actors live in it, and how to crash one of them on purpose.

Routes of `app.py`; each wants a bearer token of the role service_role.
Crashing an actor is how its recovery is tried out on a running server: clients should notice nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from attrs import frozen
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actors.realtime.errors import Refused
from actors.realtime.permissions import SERVICE_ROLE
from actors.telemetry.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from actors.realtime.ports import TokenVerifier

log = structlog.get_logger()

BEARER: Final = "bearer "


class Operated(Protocol):
    """A node, as its operator sees it."""

    def render_metrics(self) -> bytes:
        """Return all figures in the Prometheus text format."""
        ...

    def describe_actors(self) -> Sequence[dict[str, Any]]:
        """Return what is known of every living actor; JSON values only."""
        ...

    def crash_actor(self, name: str) -> bool:
        """Let the actor of that name crash when it takes its next message; False if there is none."""
        ...


@frozen
class Operations:
    """The operators' routes."""

    node: Operated
    verifier: TokenVerifier

    def routes(self) -> list[Route]:
        """Return them, each behind the check of the token."""
        return [
            Route("/metrics", self._guarded(self._metrics)),
            Route("/admin/actors", self._guarded(self._actors)),
            Route(
                "/admin/actors/{name:path}/crash", self._guarded(self._crash), methods=["POST"]
            ),
        ]

    def _guarded(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            header = request.headers.get("authorization", "")
            scheme, token = header[: len(BEARER)], header[len(BEARER) :]
            try:
                if (
                    scheme.lower() == BEARER
                    and (await self.verifier.verify(token)).role == SERVICE_ROLE
                ):
                    return await handle(request)
            except Refused as refused:
                log.debug("operator.refused", code=refused.code)
            # Source: spec 9, a failed admin login is 403 without a body.
            return Response(status_code=403)

        return guarded

    async def _metrics(self, _request: Request) -> Response:
        return Response(self.node.render_metrics(), media_type=CONTENT_TYPE)

    async def _actors(self, _request: Request) -> Response:
        return JSONResponse(self.node.describe_actors())

    async def _crash(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not self.node.crash_actor(name):
            return JSONResponse({"error": "No such actor"}, status_code=404)
        log.warning("actor.poisoned", actor=name)
        return Response(status_code=202)
