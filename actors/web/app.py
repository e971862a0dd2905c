"""Everything that can be asked of the port, in one visible list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from actors.web.endpoint import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from actors.web.endpoint import WebSocketEndpoint


async def healthcheck(_request: Request) -> Response:
    """Answer that the process serves."""
    return PlainTextResponse("ok")


async def not_found(_request: Request, _error: Exception) -> Response:
    """Answer what is not in the list."""
    return JSONResponse({"error": "Not found"}, status_code=404)


def site(*, supabase: WebSocketEndpoint, operations: Sequence[Route] = ()) -> Site:
    """Return the routes of this server."""
    return Site(
        application=Starlette(
            routes=[
                Route("/healthcheck", healthcheck),
                *operations,
            ],
            exception_handlers={404: not_found},
        ),
        websockets={
            "/realtime/v1/websocket": supabase,
            "/socket/websocket": supabase,
        },
    )
