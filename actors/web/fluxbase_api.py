"""What Fluxbase has over HTTP besides statistics: a broadcast into a channel from who is not connected.

Mounted below `/api` with the rest; who hears it is for the `Poster`.

**Source**: ledger FB-076; C38 (what channels allow holds here as well).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from attrs import frozen
from msgspec import Raw, Struct
from msgspec.json import Decoder
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actors.realtime.errors import ChannelBusy, RateLimited, Refused, Suspended, Unauthorized
from actors.web.bodies import HeldBody, TooManyBodies
from actors.web.guard import bearer_token
from protocol import jsontext
from protocol.commands import PostedBroadcast
from protocol.errors import MalformedFrame
from protocol.events import UserBroadcast
from protocol.fluxbase.topics import named_table

if TYPE_CHECKING:
    from starlette.requests import Request

    from actors.realtime.ports import Identity, TokenVerifier
    from actors.realtime.posting import Poster
    from actors.web.bodies import BodyBudget
    from actors.web.request_rate import RequestRate

log = structlog.get_logger()

PATH: Final = "/v1/realtime/broadcast"
#: Statuses for what a channel does not take; of all else the sender lacks a permission.
DENIED: Final = {"payload_size_exceeded": 413, "rate_limit_exceeded": 429}


class _Body(Struct):
    channel: str
    event: str = "message"
    payload: Raw = Raw(b"{}")


_body: Final = Decoder(_Body)


@frozen
class FluxbaseApi:
    """The route; `bodies` and `requests` are shared by all requests of the port."""

    verifier: TokenVerifier
    poster: Poster
    bodies: BodyBudget
    requests: RequestRate

    def routes(self) -> list[Route]:
        """Return it, relative to `/api`."""
        return [Route(PATH, self._broadcast, methods=["POST"])]

    async def _broadcast(self, request: Request) -> Response:
        try:
            identity = await self._identify(request)
            with HeldBody(self.bodies) as held:
                posted = self._read(await held.read(request))
                peer = request.client.host if request.client else ""
                denied = self.poster.refusal(posted, identity, peer)
                if denied is not None:
                    return _error(DENIED.get(denied.code, 403), denied.reason)
                self.poster.refuse_over_quota()
                headers = msgspec.json.encode(dict(request.headers))
                refused = await self.poster.publish(identity, headers, [posted])
        except MalformedFrame:
            return _error(400, "channel, event and payload are what a broadcast has")
        except TooManyBodies:
            return _error(503, "too much at a time, try again later")
        except Refused as error:
            return _told(error)
        if refused is not None:
            return _told(refused)
        return JSONResponse({"success": True, "channel": posted.sub_topic})

    def _read(self, body: bytes) -> PostedBroadcast:
        found = jsontext.decode(_body, jsontext.utf8(body))
        payload = bytes(found.payload)
        is_too_large = len(payload) > self.poster.tenant.limits.payload_bytes
        if not found.channel or is_too_large or named_table(found.channel) is not None:
            raise MalformedFrame("no room of that name, or too large")
        message = UserBroadcast(found.event, payload, is_binary=False)
        return PostedBroadcast(found.channel, private=False, message=message)

    async def _identify(self, request: Request) -> Identity:
        if self.poster.tenant.status.is_suspended:
            raise Suspended("", "This server is switched off")
        if not self.requests.count():
            raise RateLimited("", "Too many requests")
        token = bearer_token(request)
        if not token:
            raise Unauthorized("MissingAPIKey", "Authentication required")
        return await self.verifier.verify(token)


def _told(refused: Refused) -> Response:
    log.debug("broadcast.refused", code=refused.code)
    match refused:
        case Unauthorized():
            return _error(401, "Invalid or expired token")
        case RateLimited():
            return _error(429, refused.reason)
        case ChannelBusy():
            return _error(503, refused.reason)
        case _:
            return _error(403, refused.reason)


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
