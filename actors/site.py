"""All that the port of a node serves, put together for `node.py` from settings and tenant: doors and routes.

The doors besides Supabase's come from `dialects.py`, the routes of GoForward from `channel_management.py`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from actors.dialects import websockets
from actors.realtime.posting import Poster
from actors.web.app import site
from actors.web.bodies import BodyBudget
from actors.web.broadcast import BroadcastApi
from actors.web.dashboard_site import Dashboard
from actors.web.fluxbase_api import FluxbaseApi
from actors.web.guard import Guard
from actors.web.ops import Operations, render_figures
from actors.web.options import OutboxOptions, WebOptions, WebSocketOptions
from actors.web.origins import OriginGuard
from actors.web.request_rate import RequestRate
from actors.web.statistics import Statistics
from actors.web.supabase import ORIGIN_REFUSED, SupabaseEndpoint, SupabaseOptions
from protocol.phoenix.dialect import negotiate

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channel_management import ChannelManagement
    from actors.realtime.connections import Connections
    from actors.settings import Settings
    from actors.supervision import SupervisionTree
    from actors.telemetry.metrics import Metrics
    from actors.web.endpoint import Site


def whole_site(
    settings: Settings,
    management: ChannelManagement,
    connections: Connections,
    tree: SupervisionTree,
    metrics: Metrics,
    now: Callable[[], float],
) -> Site:
    """Return what the port serves; `now` returns seconds since 1970-01-01 UTC."""
    tenant = management.tenant
    supabase = SupabaseEndpoint(
        tenant.verifier,
        connections,
        negotiate,
        SupabaseOptions(settings.connect_error_delay_s),
    )
    poster = Poster(tenant, metrics)
    bodies = BodyBudget(settings.bodies_bytes)
    requests = RequestRate(tenant.quota)
    api = BroadcastApi(tenant.verifier, poster, bodies, requests)
    fluxbase = FluxbaseApi(tenant.verifier, poster, bodies, requests)
    guard = Guard(tenant.verifier, settings.metrics_token)
    figures = partial(render_figures, tenant, metrics)
    operations = Operations(tree, figures if settings.enable_metrics else None, guard)
    statistics = Statistics(tenant, guard, now, are_counts_open=not settings.private_stats)
    return site(
        supabase=OriginGuard(settings.allowed_origins, supabase, ORIGIN_REFUSED),
        api=[*api.routes(), *statistics.routes(), *fluxbase.routes()],
        operations=[*operations.routes(), *statistics.operator_routes()],
        dashboard=Dashboard(guard, connections, negotiate("2.0.0", None)),
        goforward=management.api(poster, bodies).routes(),
        websockets=websockets(settings, tenant, connections, management.database, now),
    )


def web_options(settings: Settings) -> WebOptions:
    """Return how the port is served: where, to how many, and how patiently."""
    return WebOptions(
        host=settings.host,
        port=settings.port,
        max_connections=settings.max_connections,
        websocket=WebSocketOptions(
            idle_s=settings.idle_timeout_s, outbox=OutboxOptions(settings.outbox_bytes)
        ),
    )
