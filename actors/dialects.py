"""The doors of the dialects besides Supabase's, put together for `node.py` from settings and tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.auth.roles import NoRoles, RoleVerifier
from actors.realtime.managed_joins import ManagedGate
from actors.web import fluxbase, goforward_socket
from actors.web.fluxbase import FluxbaseEndpoint, FluxbaseOptions
from actors.web.goforward_socket import GoForwardEndpoint, GoForwardOptions
from actors.web.origins import OriginGuard
from protocol.fluxbase import FluxbaseDialect
from protocol.goforward.envelope import Stamp
from protocol.goforward.ids import LUCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from actors.database import Database
    from actors.realtime.connections import Connections
    from actors.realtime.tenant import Tenant
    from actors.settings import Settings
    from actors.web.endpoint import WebSocketEndpoint


def websockets(
    settings: Settings,
    tenant: Tenant,
    connections: Connections,
    database: Database | None,
    now: Callable[[], float],
) -> Mapping[str, WebSocketEndpoint]:
    """Return the doors by their paths."""
    roles = NoRoles() if database is None else database.roles
    verifier = RoleVerifier(tenant.verifier, roles)
    goforward = GoForwardEndpoint(
        verifier,
        connections,
        stamps(now, tenant.random),
        ManagedGate(tenant),
        GoForwardOptions(
            settings.ping_interval_s,
            settings.idle_timeout_s,
            refusal_delay_s=settings.connect_error_delay_s,
        ),
    )
    flux = FluxbaseEndpoint(
        verifier,
        connections,
        FluxbaseDialect(settings.fluxbase_heartbeat_s),
        FluxbaseOptions(
            is_token_needed=not settings.fluxbase_anonymous,
            max_message_bytes=settings.fluxbase_max_frame_bytes,
            refusal_delay_s=settings.connect_error_delay_s,
        ),
    )
    of_goforward = settings.goforward_allowed_origins or settings.allowed_origins
    of_fluxbase = settings.fluxbase_allowed_origins or settings.allowed_origins
    return {
        goforward_socket.PATH: OriginGuard(
            of_goforward, goforward, goforward_socket.ORIGIN_REFUSED
        ),
        fluxbase.PATH: OriginGuard(of_fluxbase, flux, fluxbase.ORIGIN_REFUSED),
    }


def stamps(now: Callable[[], float], random: Random) -> Callable[[], Stamp]:
    """Return what stamps the messages of GoForward; `now` returns seconds since 1970-01-01 UTC."""

    def stamp() -> Stamp:
        return Stamp(now(), random.randbytes(LUCK_BYTES))

    return stamp
