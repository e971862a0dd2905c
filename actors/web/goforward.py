"""GoForward over HTTP: all its routes, put together.

Mounted below `/realtime` by `app.py`; the socket of a channel is in `goforward_socket.py`.
Each file beside this one has the routes about one thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import field, frozen

from actors.web.goforward_broadcast import BroadcastRoutes
from actors.web.goforward_changes import ChangeRoutes
from actors.web.goforward_channels import ChannelRoutes
from actors.web.goforward_presence import PresenceRoutes, PresenceView

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import Route

    from actors.realtime.channel_admin import ChannelAdmin
    from actors.realtime.posting import Poster
    from actors.realtime.trigger_ports import TableTriggers
    from actors.web.goforward_requests import Requests
    from protocol.goforward.envelope import Stamp


@frozen
class GoForwardApi:
    """The routes; `stamp` gives the time and luck of this moment, `now` seconds since 1970-01-01 UTC.

    `has_metrics` and `is_streaming` say whether there are figures, and row changes.
    """

    requests: Requests
    admin: ChannelAdmin
    poster: Poster
    stamp: Callable[[], Stamp] = field(repr=False)
    now: Callable[[], float] = field(repr=False)
    triggers: TableTriggers | None = None
    has_metrics: bool = True
    is_streaming: bool = True

    def routes(self) -> list[Route]:
        """Return them, relative to `/realtime`."""
        requests, admin = self.requests, self.admin
        view = PresenceView(requests.tenant, self.now)
        changes = ChangeRoutes(requests, admin, self._boot, self.triggers, self.is_streaming)
        return [
            *ChannelRoutes(requests, admin, view, self.has_metrics).routes(),
            *BroadcastRoutes(requests, self.poster, self.stamp).routes(),
            *PresenceRoutes(requests, view).routes(),
            *changes.routes(),
            self.requests.fallback("/channels/{name}/{rest:path}"),
            self.requests.fallback("/subscriptions/{id}/{rest:path}"),
            self.requests.fallback("/triggers/{table}/{rest:path}"),
        ]

    def _boot(self) -> float:
        """Return when the trio clock was 0."""
        return self.now() - trio.current_time()
