"""GoForward over HTTP: all its routes, put together.

Mounted below `/realtime` by `app.py`; the socket of a channel is in `goforward_socket.py`.
Each file beside this one has the routes about one thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.web.goforward_broadcast import BroadcastRoutes
from actors.web.goforward_channels import ChannelRoutes
from actors.web.goforward_presence import PresenceRoutes, PresenceView

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import Route

    from actors.realtime.channel_admin import ChannelAdmin
    from actors.realtime.posting import Poster
    from actors.web.goforward_requests import Requests


def goforward_routes(
    requests: Requests,
    admin: ChannelAdmin,
    poster: Poster,
    now: Callable[[], float],
    *,
    has_metrics: bool = True,
) -> list[Route]:
    """Return the routes, relative to `/realtime`; `now` returns seconds since 1970-01-01 UTC."""
    view = PresenceView(requests.tenant, now)
    return [
        *ChannelRoutes(requests, admin, view, has_metrics).routes(),
        *BroadcastRoutes(requests, poster, now).routes(),
        *PresenceRoutes(requests, view).routes(),
    ]
