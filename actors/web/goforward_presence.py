"""Who is present in a GoForward channel, over HTTP.

Routes of `goforward.py`; what becomes of a state is for `actors.realtime.visitors`.

**Source**: ledger GF-016, GF-047…050 (shapes are literal; `last_seen` is the server's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio
from attrs import frozen

from actors.realtime import visitors
from actors.realtime.managed_pushes import fault_of, switched_off
from actors.realtime.messages import ChannelKey
from actors.realtime.snapshot import channel_snapshot
from actors.web.goforward_requests import Problematic, answered
from protocol import jsontext
from protocol.goforward import codes
from protocol.goforward.ids import timestamp
from protocol.goforward.rest import parse_state
from protocol.managed import Permission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from actors.realtime.managed_channels import ManagedChannel
    from actors.realtime.tenant import Tenant
    from actors.web.goforward_requests import Requests

LAST_SEEN = "last_seen"


@frozen
class PresenceView:
    """What is tracked in a channel, as this dialect shows it; `now` returns seconds since 1970-01-01 UTC."""

    tenant: Tenant
    now: Callable[[], float]

    def states(self, channel: ManagedChannel) -> bytes:
        """Return `{key: {…, "last_seen"}}`: of several states under one key the newest."""
        boot = self.now() - trio.current_time()
        newest: dict[str, tuple[float, bytes]] = {}
        for key, seen_at, payload in self._entries(channel):
            if key not in newest or newest[key][0] <= seen_at:
                newest[key] = seen_at, payload
        states = {key: _shown(payload, boot + at) for key, (at, payload) in newest.items()}
        return jsontext.write(states)

    def _entries(self, channel: ManagedChannel) -> Iterator[tuple[str, float, bytes]]:
        key = ChannelKey(self.tenant.name, is_private=False, sub_topic=channel.name)
        tables = self.tenant.channels.tables(key)
        for track in () if tables is None else tables[1].tracks:
            yield track.meta.key, track.seen_at, track.meta.payload
        for visitor in channel.visitors.values():
            yield visitor.meta.key, visitor.seen_at, visitor.meta.payload


@frozen
class PresenceRoutes:
    """The routes."""

    requests: Requests
    view: PresenceView

    def routes(self) -> list[Route]:
        """Return them, relative to where they are mounted."""
        handlers = {"GET": self._get, "POST": self._post}
        return [self.requests.route("/channels/{name}/presence", handlers)]

    async def _get(self, request: Request) -> Response:
        self._refuse_if_off()
        channel, _ = await self.requests.admit(request, Permission.READ)
        tenant = self.requests.tenant
        key = ChannelKey(tenant.name, is_private=False, sub_topic=channel.name)
        found = channel_snapshot(tenant.channels, key)
        users = () if found is None else found.users
        return answered(
            jsontext.write(
                {
                    "channel": channel.name,
                    "presence": msgspec.Raw(self.view.states(channel)),
                    "connected_users": users,
                    "total_users": len(users),
                }
            )
        )

    async def _post(self, request: Request) -> Response:
        self._refuse_if_off()
        channel, identity = await self.requests.admit(request, Permission.WRITE)
        if not identity.user_id:
            raise Problematic(codes.invalid_request("the token names no user (sub)"))
        with self.requests.hold() as held:
            state = parse_state(await self.requests.body(request, held))
        self.requests.refuse_push(fault_of(channel, identity, len(state)))
        visitors.set_state(channel, identity.user_id, state, self.requests.tenant)
        return answered({"message": "presence updated successfully"})

    def _refuse_if_off(self) -> None:
        self.requests.refuse_push(switched_off(self.requests.tenant, is_presence=True))


def _shown(state: bytes, seen_at: float) -> msgspec.Raw:
    """Return a state with the time when it was last said."""
    members = {
        key: msgspec.Raw(text)
        for key, text in jsontext.members(state).items()
        if key != LAST_SEEN
    }
    return msgspec.Raw(jsontext.write({**members, LAST_SEEN: timestamp(seen_at)}))
