"""GoForward's channels over HTTP: created, looked at, listed, deleted.

Routes of `goforward.py`; what is decided is for `actors.realtime.channel_admin`.

**Source**: ledger GF-010…020 (shapes are literal), GF-059, GF-060, C13, C42, C44.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from actors.realtime.messages import ChannelKey
from actors.realtime.reserved import is_reserved
from actors.realtime.snapshot import ChannelSnapshot, channel_snapshot
from actors.web.goforward_requests import Problematic, answered
from actors.web.statistics import goforward_channel
from protocol import jsontext
from protocol.goforward import codes
from protocol.goforward.rest import parse_channel
from protocol.managed import Permission
from protocol.managed_json import config_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from actors.realtime.channel_admin import ChannelAdmin
    from actors.realtime.managed_channels import ManagedChannel
    from actors.realtime.ports import Identity
    from actors.web.goforward_presence import PresenceView
    from actors.web.goforward_requests import Requests


@frozen
class ChannelRoutes:
    """The routes."""

    requests: Requests
    admin: ChannelAdmin
    presence: PresenceView
    has_metrics: bool = True

    def routes(self) -> list[Route]:
        """Return them, relative to where they are mounted."""
        route = self.requests.route
        return [
            route("/channels", {"POST": self._create, "GET": self._list}),
            route("/channels/{name}", {"GET": self._get, "DELETE": self._delete}),
            route("/channels/{name}/stats", {"GET": self._stats}),
            route("/stats", {"GET": self._all_stats}),
        ]

    async def _create(self, request: Request) -> Response:
        identity = await self.requests.identify(request)
        if not self.requests.may_create(identity):
            raise Problematic(codes.permission_denied(Permission.ADMIN.value))
        with self.requests.hold() as held:
            name, config = parse_channel(await self.requests.body(request, held))
        if is_reserved(name):
            raise Problematic(codes.permission_denied(Permission.ADMIN.value))
        channel = await self.admin.create(name, config, identity)
        if channel is None:
            raise Problematic(codes.channel_exists(name))
        managed = self.requests.tenant.managed
        shown = config_json(config, managed.rules.max_subscribers)
        count = self._snapshot(channel).subscriber_count
        head = jsontext.write({"name": name, "subscriber_count": count})
        return answered(b'%b,"config":%b}' % (head[:-1], shown), 201)

    async def _get(self, request: Request) -> Response:
        channel, _ = await self.requests.admit(request, Permission.READ)
        count = self._snapshot(channel).subscriber_count
        head = jsontext.write({"name": channel.name, "subscriber_count": count})
        return answered(b'%b,"presence":%b}' % (head[:-1], self.presence.states(channel)))

    async def _list(self, request: Request) -> Response:
        identity = await self.requests.identify(request)
        found = [_counts(one) for one in self._readable(identity)]
        return answered({"channels": found, "total": len(found)})

    async def _delete(self, request: Request) -> Response:
        channel, _ = await self.requests.admit(request, Permission.ADMIN)
        if not await self.admin.delete(channel):
            raise Problematic(codes.channel_not_found(channel.name))
        return answered({"message": "channel deleted successfully"})

    async def _stats(self, request: Request) -> Response:
        channel, _ = await self.requests.admit(request, Permission.READ)
        self._refuse_without_metrics()
        return answered(goforward_channel(channel.name, self._snapshot(channel)))

    async def _all_stats(self, request: Request) -> Response:
        identity = await self.requests.identify(request)
        self._refuse_without_metrics()
        tenant, found = self.requests.tenant, self._readable(identity)
        subscriptions = sum(len(channel.subscriptions) for channel in tenant.managed)
        return answered(
            {
                "total_channels": len(found),
                "total_subscribers": sum(one.subscriber_count for one in found),
                "total_presence": sum(one.presence_count for one in found),
                "channels": [_counts(one) for one in found],
                "connections": {"active": len(tenant.open_connections)},
                "database_subscriptions": subscriptions,
            }
        )

    def _refuse_without_metrics(self) -> None:
        if not self.has_metrics:
            raise Problematic(codes.disabled("metrics"))

    def _readable(self, identity: Identity) -> list[ChannelSnapshot]:
        """Return the figures of all channels that somebody may look into."""
        return [
            self._snapshot(channel, 0)
            for channel in self.requests.tenant.managed
            if self.requests.may(identity, channel, Permission.READ)
        ]

    def _snapshot(self, channel: ManagedChannel, members: int | None = None) -> ChannelSnapshot:
        """Return the figures of a channel, those who are present without a socket included."""
        tenant = self.requests.tenant
        key = ChannelKey(tenant.name, is_private=False, sub_topic=channel.name)
        found = channel_snapshot(tenant.channels, key, members)
        if found is None:
            return ChannelSnapshot(channel.name, False, 0, len(channel.visitors), (), ())
        return found


def _counts(channel: ChannelSnapshot) -> dict[str, Any]:
    return {
        "name": channel.name,
        "subscriber_count": channel.subscriber_count,
        "presence_count": channel.presence_count,
    }
