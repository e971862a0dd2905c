"""Broadcasts into a GoForward channel, over HTTP.

Route of `goforward.py`; who hears it is for the `Poster`.

**Source**: ledger GF-044…046, C29 (its own type is delivered), C36 (the id is the delivered message's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from attrs import field, frozen

from actors.realtime.managed_pushes import fault_of, switched_off
from actors.web.goforward_requests import Problematic, answered
from protocol import jsontext
from protocol.commands import PostedBroadcast
from protocol.events import UserBroadcast
from protocol.goforward import codes
from protocol.goforward.rest import parse_message
from protocol.managed import Permission

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from actors.realtime.posting import Poster
    from actors.web.goforward_requests import Requests
    from protocol.goforward.envelope import Stamp


@frozen
class BroadcastRoutes:
    """The route; `stamp` gives the time and luck of this moment."""

    requests: Requests
    poster: Poster
    stamp: Callable[[], Stamp] = field(repr=False)

    def routes(self) -> list[Route]:
        """Return it, relative to where it is mounted."""
        return [self.requests.route("/channels/{name}/broadcast", {"POST": self._post})]

    async def _post(self, request: Request) -> Response:
        tenant = self.requests.tenant
        self.requests.refuse_push(switched_off(tenant, is_presence=False))
        channel, identity = await self.requests.admit(request, Permission.WRITE)
        with self.requests.hold() as held:
            message = parse_message(await self.requests.body(request, held))
            size_bytes = len(message.payload)
            if size_bytes > tenant.limits.payload_bytes:
                raise Problematic(codes.message_too_large(tenant.limits.payload_bytes))
            peer = request.client.host if request.client else ""
            self.requests.refuse_push(fault_of(channel, identity, size_bytes, peer))
            self.poster.refuse_over_quota()
            found = self.stamp().message_id
            # Other dialects show this as the broadcast's meta.
            metadata = (
                {"id": found}
                if message.kind == "message"
                else {"id": found, "type": message.kind}
            )
            event = UserBroadcast(
                message.event,
                message.payload,
                is_binary=False,
                metadata=jsontext.write(metadata),
            )
            posted = PostedBroadcast(channel.name, message.private, event)
            headers = msgspec.json.encode(dict(request.headers))
            refused = await self.poster.publish(identity, headers, [posted])
        if refused is not None:
            raise refused
        return answered({"message": "message broadcasted successfully", "id": found})
