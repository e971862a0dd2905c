"""Everything that can be asked of the port, in one visible list."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from actors.web.any_path import any_path
from actors.web.dashboard_site import WEBSOCKET_PATH
from actors.web.endpoint import Site
from actors.web.openapi_document import ApiDescription

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from actors.web.dashboard_site import Dashboard
    from actors.web.endpoint import WebSocketEndpoint


#: Pages of any origin may call: what they may do is said by the key they bring, never by a cookie.
#: A browser asks before it sends the headers of supabase-js, and those that an application adds to them.
CROSS_ORIGIN = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["GET", "POST", "DELETE"],
    allow_headers=["*"],
    expose_headers=["x-rate-rolling", "x-rate-limit", "x-rate-limit-remaining"],
    max_age=86_400,
)


NO_WEBSOCKETS: Final[Mapping[str, WebSocketEndpoint]] = MappingProxyType({})


async def healthcheck(_request: Request) -> Response:
    """Answer that the process serves."""
    return PlainTextResponse("ok")


async def not_found(_request: Request, _error: Exception) -> Response:
    """Answer what is not in the list."""
    return JSONResponse({"error": "Not found"}, status_code=404)


def site(
    *,
    supabase: WebSocketEndpoint,
    api: Sequence[Route] = (),
    operations: Sequence[Route] = (),
    dashboard: Dashboard | None = None,
    goforward: Sequence[Route] = (),
    websockets: Mapping[str, WebSocketEndpoint] = NO_WEBSOCKETS,
) -> Site:
    """Return the routes of this server; `api` is what a Supabase client may call over HTTP.

    `websockets` are the doors of further dialects, by their paths.
    """
    page = () if dashboard is None else dashboard.routes()
    description = ApiDescription()
    api = [*api, *description.routes()]
    application = Starlette(
        routes=[
            Route("/healthcheck", healthcheck),
            *operations,
            *page,
            # A gateway of Supabase rewrites the first to the second; we answer to both.
            any_path(Mount("/realtime/v1/api", routes=api, middleware=[CROSS_ORIGIN])),
            any_path(Mount("/api", routes=api, middleware=[CROSS_ORIGIN])),
            any_path(Mount("/realtime", routes=goforward, middleware=[CROSS_ORIGIN])),
        ],
        exception_handlers={404: not_found},
    )
    description.describe(application.routes)
    return Site(
        application=application,
        websockets={
            "/realtime/v1/websocket": supabase,
            "/socket/websocket": supabase,
            **({} if dashboard is None else {WEBSOCKET_PATH: dashboard}),
            **websockets,
        },
    )
