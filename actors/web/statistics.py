"""Statistics over HTTP: one snapshot, and for each dialect its own literal shape.

The functions turn a snapshot into JSON values; GoForward's is served by that dialect's own routes.

**Source**: the sblite plan, task 3.1 and phase 1 (`HubStats`); the GoForward document, "Statistics";
the Fluxbase document, "Stats Endpoint".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import define, field, frozen
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actors.realtime.snapshot import Bounds, count, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from actors.realtime.snapshot import ChannelSnapshot, Snapshot, Totals
    from actors.realtime.tenant import Tenant
    from actors.web.guard import Guard

#: Statistics list more than the dashboard, for they are asked for once.
BOUNDS: Final = Bounds(channels=10_000, connections=10_000, changes=0, members=1)
#: Seconds for which a count holds.
FRESH_S: Final = 1.0
TOPIC_PREFIX: Final = "realtime:"
OFF: Final = {"error": "realtime not enabled"}


@define
class LastCount:
    """What was counted last; strangers may ask as often as they like, and counting takes longer the more there is."""

    _totals: Totals | None = None
    _until: float = 0.0

    def totals(self, tenant: Tenant) -> Totals:
        """Return the totals of a tenant as of this second."""
        now = trio.current_time()
        if self._totals is None or now >= self._until:
            self._totals, self._until = count(tenant), now + FRESH_S
        return self._totals


@frozen
class Statistics:
    """The routes; `now` returns seconds since 1970-01-01 UTC."""

    tenant: Tenant
    guard: Guard
    now: Callable[[], float]
    are_counts_open: bool = True
    _last: LastCount = field(factory=LastCount, init=False)

    def operator_routes(self) -> list[Route]:
        """Return what the dashboard of sblite has, for operators."""
        return [Route("/_/api/realtime/stats", self.guard.operator(self._sblite))]

    def routes(self) -> list[Route]:
        """Return what Fluxbase has, relative to `/api`."""
        handle = self._fluxbase if self.are_counts_open else self.guard.anybody(self._fluxbase)
        return [Route("/realtime/stats", handle), Route("/v1/realtime/stats", handle)]

    async def _sblite(self, _request: Request) -> Response:
        if self.tenant.status.is_suspended:
            return JSONResponse(OFF, 503)
        return JSONResponse(sblite(take_snapshot(self.tenant, self.now(), BOUNDS)))

    async def _fluxbase(self, _request: Request) -> Response:
        return JSONResponse(fluxbase(self._last.totals(self.tenant)))


def sblite(snapshot: Snapshot) -> dict[str, Any]:
    """Return counts, and of each channel how many there are and whether anybody is present."""
    return {
        "connections": snapshot.totals.connections,
        "channels": snapshot.totals.channels,
        "channel_details": [
            {
                "topic": TOPIC_PREFIX + channel.name,
                "subscribers": channel.subscriber_count,
                "has_presence": channel.presence_count > 0,
            }
            for channel in snapshot.channels
        ],
    }


def fluxbase(totals: Totals) -> dict[str, int]:
    """Return two counts."""
    return {"connections": totals.connections, "channels": totals.channels}


def goforward_channel(name: str, channel: ChannelSnapshot | None) -> dict[str, Any]:
    """Return the figures of one channel; of one without subscribers they are 0.

    Its users are all to be in the snapshot.
    """
    users = () if channel is None else channel.users
    return {
        "channel": name,
        "subscriber_count": 0 if channel is None else channel.subscriber_count,
        "presence_count": 0 if channel is None else channel.presence_count,
        "connected_users": len(users),
        "users": list(users),
    }
