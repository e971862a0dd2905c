"""For operators: what this node counts, which actors live in it, and how to crash one of them on purpose.

Routes of `app.py`; each wants a bearer token of the role service_role, metrics may have a token of their own.
Crashing an actor is how its recovery is tried out on a running server: clients should notice nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from attrs import frozen
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actors.realtime.snapshot import count, user_of
from actors.telemetry.metrics import CONTENT_TYPE
from actors.web.any_path import any_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import Metrics
    from actors.web.guard import Guard

log = structlog.get_logger()


class Tree(Protocol):
    """The actors of a node, as its operator sees them."""

    def describe_actors(self) -> Sequence[dict[str, Any]]:
        """Return what is known of every living actor; JSON values only."""
        ...

    def crash_actor(self, name: str) -> bool:
        """Let the actor of that name crash when it takes its next message; False if there is none."""
        ...


@frozen
class Operations:
    """The operators' routes; `figures` returns them in the Prometheus text format, without it none are told."""

    tree: Tree
    figures: Callable[[], bytes] | None
    guard: Guard

    def routes(self) -> list[Route]:
        """Return them, each behind the check of the token."""
        crash = self.guard.operator(self._crash)
        routes = [
            Route("/admin/actors", self.guard.operator(self._actors)),
            any_path(Route("/admin/actors/{name:path}/crash", crash, methods=["POST"])),
        ]
        if self.figures is not None:
            handle = partial(_answer, self.figures)
            routes.append(Route("/metrics", self.guard.metrics(handle)))
        return routes

    async def _actors(self, _request: Request) -> Response:
        return JSONResponse(self.tree.describe_actors())

    async def _crash(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not self.tree.crash_actor(name):
            return JSONResponse({"error": "No such actor"}, status_code=404)
        log.warning("actor.poisoned", actor=name)
        return Response(status_code=202)


async def _answer(figures: Callable[[], bytes], _request: Request) -> Response:
    return Response(figures(), media_type=CONTENT_TYPE)


def render_figures(tenant: Tenant, metrics: Metrics) -> bytes:
    """Return all figures; those that nobody counts on the way are read off the tenant now."""
    totals = count(tenant)
    metrics.channels.set(totals.channels)
    metrics.subscribers.set(totals.subscribers)
    metrics.change_subscriptions.set(totals.change_subscriptions)
    metrics.users.set(len({user_of(one.identity) for one in tenant.open_connections}))
    return metrics.render()
