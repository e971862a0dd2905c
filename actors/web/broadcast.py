"""Broadcasts over HTTP: one at a time, or many in one request.

Routes of `app.py`, served below `/api` and, as behind a Supabase gateway, `/realtime/v1/api`.
Here are addresses, statuses and headers; what stands in a body is for `protocol.phoenix.rest`,
who hears it is for the `Poster`.
Nothing of a body is read before its sender is known to be somebody (`bodies.py` bounds what is read then).

**Source**: spec 4.2, 4.3 and clients.md 6; docs/reference/broadcast-over-http.md lists what is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actors.realtime.errors import (
    ChannelBusy,
    NotPersisted,
    PolicyUndecided,
    RateLimited,
    Refused,
)
from actors.web.any_path import any_path
from actors.web.bodies import HeldBody, TooManyBodies
from protocol.errors import MalformedFrame
from protocol.phoenix.persist import persist_of_query
from protocol.phoenix.rest import TOO_LARGE, InvalidBody, parse_batch, parse_binary, parse_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from actors.realtime.ports import Identity, TokenVerifier
    from actors.realtime.posting import Poster
    from actors.web.bodies import BodyBudget
    from actors.web.request_rate import RequestRate
    from protocol.commands import PostedBroadcast
    from protocol.events import PushRefused

log = structlog.get_logger()

UNSUPPORTED: Final = "Unsupported Media Type. Use application/json or application/octet-stream"
SUSPENDED: Final = "Tenant is suspended"
UNAUTHORIZED: Final = "Unauthorized"
TOO_MANY_REQUESTS: Final = "Too many requests"
#: What a handler may raise; see `_response_to`.
EXPECTED: Final = (
    HTTPException,
    MalformedFrame,
    InvalidBody,
    RateLimited,
    ChannelBusy,
    TooManyBodies,
)
#: Seconds after which a client may try again what was refused for lack of room.
RETRY_AFTER: Final = {"retry-after": "1"}

FORBIDDEN: Final = (403, UNAUTHORIZED)
#: What is answered where policies could not be asked, by the code of the refusal.
_UNDECIDED: Final = {
    "Unauthorized": (422, "RLS policy error"),
    "QueryCanceled": (422, "Query canceled"),
    "MissingPartition": (422, "Missing messages partition"),
    "UnableToConnectToProject": (422, "Tenant database unavailable"),
    "IncreaseConnectionPool": (429, "Connection pool exhausted"),
}
#: How a body is read, by its type; one that names no type is JSON.
_PARSERS: Final = {
    "": parse_json,
    "application/json": parse_json,
    "application/octet-stream": parse_binary,
}
_ACCEPTED: Final = frozenset(("", "*/*", "application/*", "application/json"))


class BroadcastApi:
    """The routes; `bodies` and `requests` are shared by all requests of the port."""

    def __init__(
        self,
        verifier: TokenVerifier,
        poster: Poster,
        bodies: BodyBudget,
        requests: RequestRate,
    ) -> None:
        self._verifier = verifier
        self._poster = poster
        self._bodies = bodies
        self._requests = requests

    def routes(self) -> list[Route]:
        """Return them, relative to where they are mounted."""
        return [
            Route("/ping", ping),
            Route("/broadcast", self._answering(self._batch), methods=["POST"]),
            any_path(
                Route(
                    "/broadcast/{address:path}", self._answering(self._single), methods=["POST"]
                )
            ),
        ]

    async def _batch(self, request: Request) -> Response:
        _check_accept(request)
        identity = await self._identify(request)
        with HeldBody(self._bodies) as held:
            body = await held.read(request)
            broadcasts = parse_batch(body, payload_bytes=self._payload_bytes)
            self._poster.refuse_over_quota(len(broadcasts))
            # Source: spec 4.2, what policies deny is dropped, and the answer is the same.
            taken = [
                broadcast
                for broadcast in broadcasts
                if self._poster.refusal(broadcast, identity, _peer(request)) is None
            ]
            await self._poster.publish(identity, _headers(request), taken)
        return Response(status_code=202)

    async def _single(self, request: Request) -> Response:
        _check_accept(request)
        sub_topic, event = _address(request.scope["raw_path"])
        parse = _PARSERS.get(_media_type(request.headers.get("content-type", "")))
        if parse is None:
            return JSONResponse({"error": UNSUPPORTED}, 415)
        identity = await self._identify(request)
        with HeldBody(self._bodies) as held:
            broadcast = parse(
                sub_topic,
                event,
                await held.read(request),
                private=request.query_params.get("private") == "true",
                payload_bytes=self._payload_bytes,
            )
            self._poster.refuse_over_quota()
            denied = self._poster.refusal(broadcast, identity, _peer(request))
            if denied is not None:
                raise _fault_of(denied)
            refused = await self._refusal(request, identity, broadcast)
        if isinstance(refused, NotPersisted):
            return _message(422, refused.reason)
        if refused is not None:
            is_undecided = isinstance(refused, PolicyUndecided)
            raise HTTPException(*_UNDECIDED[refused.code] if is_undecided else FORBIDDEN)
        return Response(status_code=202)

    async def _refusal(
        self, request: Request, identity: Identity, broadcast: PostedBroadcast
    ) -> Refused | None:
        """Hand over or store a broadcast; return why that was not done, None if it was."""
        wish = persist_of_query(request.query_params)
        if wish is None:
            return await self._poster.publish(identity, _headers(request), [broadcast])
        try:
            await self._poster.persist(identity, _headers(request), broadcast, wish)
        except Refused as refused:
            return refused
        return None

    def _answering(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Let every response tell of the rate, and turn what a handler raises into one that says so."""

        async def answer(request: Request) -> Response:
            try:
                response = await handle(request)
            except EXPECTED as error:
                response = _response_to(error)
            response.headers.update(self._requests.headers())
            return response

        return answer

    @property
    def _payload_bytes(self) -> int:
        return self._poster.tenant.limits.payload_bytes

    async def _identify(self, request: Request) -> Identity:
        """Return whom the request speaks for, and count it as the tenant's.

        Raises:
            HTTPException: the tenant is suspended, or the request one too many, or it speaks for nobody;
                which key was wrong and why is not told, as upstream.
        """
        if self._poster.tenant.status.is_suspended:
            raise HTTPException(403, SUSPENDED)
        token = _token(request)
        try:
            identity = None if token is None else await self._verifier.verify(token)
        except Refused as refused:
            log.debug("broadcast.refused", code=refused.code)
            identity = None
        if identity is None:
            raise HTTPException(401, UNAUTHORIZED)
        if not self._requests.count():
            raise HTTPException(429, TOO_MANY_REQUESTS)
        return identity


async def ping(_request: Request) -> Response:
    """Answer that the tenant is served."""
    return JSONResponse({"message": "Success"})


def _fault_of(denied: PushRefused) -> Exception:
    """Return what is answered where a managed channel does not take a broadcast."""
    match denied.code:
        case "payload_size_exceeded":
            return InvalidBody({"payload": [TOO_LARGE]})
        case "rate_limit_exceeded":
            return HTTPException(429, TOO_MANY_REQUESTS)
        case _:
            return HTTPException(*FORBIDDEN)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _response_to(error: Exception) -> Response:
    match error:
        case HTTPException():
            return _message(error.status_code, error.detail)
        case MalformedFrame():
            return _message(400, "Bad Request")
        case InvalidBody():
            return JSONResponse({"errors": error.errors}, 422)
        case RateLimited():
            return _message(429, error.reason)
        case ChannelBusy():
            return _message(503, error.reason, RETRY_AFTER)
        case _:
            return _message(503, "Service Unavailable", RETRY_AFTER)


def _headers(request: Request) -> bytes:
    """Return the headers for policies.

    **Source**: spec 7, of a request all of them.
    """
    return msgspec.json.encode(dict(request.headers))


def _message(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"message": text}, status, headers)


def _check_accept(request: Request) -> None:
    """Refuse who does not take JSON, for that is what errors are told in."""
    for value in request.headers.get("accept", "").split(","):
        media_type = _media_type(value)
        if media_type in _ACCEPTED or media_type.endswith("+json"):
            return
    raise HTTPException(406, "Not Acceptable")


def _media_type(value: str) -> str:
    """Return a header's media type without parameters."""
    return value.partition(";")[0].strip().lower()


def _address(raw_path: bytes) -> tuple[str, str]:
    """Return topic and event of `…/broadcast/<topic>/events/<event>`; either may hold an encoded slash.

    The decoded path, which routes are matched with, cannot tell such a slash from one that divides.
    """
    *_, broadcast, topic, events, event = [b"", b"", b"", *raw_path.split(b"/")]
    if (broadcast, events) != (b"broadcast", b"events") or not topic or not event:
        raise HTTPException(404, "Not Found")
    try:
        return unquote_to_bytes(topic).decode(), unquote_to_bytes(event).decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "Bad Request") from None


def _token(request: Request) -> str | None:
    """Return the bearer token, else the API key; None if there is neither, or an `Authorization` of another form.

    Upstream answers 500 to an `Authorization` without exactly one space; a request like that is nobody's here.
    """
    header = request.headers.get("authorization")
    if header is None:
        return request.headers.get("apikey")
    scheme, _, token = header.partition(" ")
    return token if scheme.lower() == "bearer" and " " not in token else None
