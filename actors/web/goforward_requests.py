"""What all HTTP routes of GoForward have in common: who asks, what stands in the body, and how errors are told.

Used by `goforward.py` and the files beside it.

**Source**: ledger GF-129…134 (errors), C37 (what needs no token), C38 (who may what), C39 (hostile names).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from attrs import field, frozen
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actors.realtime.errors import Refused, Unauthorized, Unavailable
from actors.realtime.ports import Identity
from actors.web.bodies import HeldBody, TooManyBodies
from actors.web.guard import bearer_token
from protocol.goforward import codes
from protocol.goforward.names import NAME_RULE, is_channel_name
from protocol.goforward.rest import InvalidRequest, InvalidSubscription
from protocol.managed import ANONYMOUS, SERVICE_ROLE, Permission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from actors.realtime.managed_channels import ManagedChannel
    from actors.realtime.ports import TokenVerifier
    from actors.realtime.tenant import Tenant
    from actors.web.bodies import BodyBudget
    from actors.web.request_rate import RequestRate
    from protocol.events import PushRefused
    from protocol.goforward.codes import Problem

    Handler = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger()

#: Largest body, as the largest frame on a socket of this dialect (ledger C22).
BODY_BYTES: Final = 512 * 1024
#: So that every one of them is answered by an object of this dialect.
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
NOT_A_BEARER: Final = "A bearer token is needed"
#: Speaks for whoever needs no token.
NOBODY: Final = Identity(ANONYMOUS, b'{"role":"anon"}', float("inf"))


class Problematic(Exception):
    """The request is answered by a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


#: What a handler may raise; see `_problem_of`.
EXPECTED: Final = (
    Problematic,
    InvalidRequest,
    InvalidSubscription,
    Refused,
    Unavailable,
    TooManyBodies,
)


@frozen
class Requests:
    """Reads requests and says who sent them; `admin_roles` may do everything, `creator_roles` create channels.

    `creator_roles` is None for every role that is authenticated.
    """

    tenant: Tenant
    verifier: TokenVerifier
    bodies: BodyBudget = field(repr=False)
    rate: RequestRate = field(repr=False)
    admin_roles: frozenset[str] = frozenset({SERVICE_ROLE})
    creator_roles: frozenset[str] | None = None

    def route(self, path: str, handlers: Mapping[str, Handler]) -> Route:
        """Return the route of a path, with a handler for each method; whatever these raise is told as a problem."""
        otherwise = _method_refusal(handlers)

        async def answer(request: Request) -> Response:
            try:
                return await handlers.get(request.method, otherwise)(request)
            except EXPECTED as error:
                problem = _problem_of(error)
                log.debug("goforward.refused", code=problem.code)
                return told(problem)

        return Route(path, answer, methods=list(METHODS))

    def fallback(self, path: str) -> Route:
        """Return the route of what is below a path and nothing else serves: an encoded slash, or nothing at all."""

        async def answer(request: Request) -> Response:
            if b"%2f" in request.scope["raw_path"].lower():
                return told(codes.invalid_request("there is no slash in a name"))
            return told(codes.not_found("there is nothing at this address"))

        return Route(path, answer, methods=list(METHODS))

    async def identify(self, request: Request) -> Identity:
        """Return whom the bearer token of a request speaks for, and count it as the tenant's.

        Raises:
            Problematic: there is none, or it is one request too many.
            Refused: that cannot be found out now.
        """
        token = bearer_token(request)
        if not token:
            raise Problematic(codes.auth_failed(NOT_A_BEARER))
        self._count()
        try:
            return await self.verifier.verify(token)
        except Refused as refused:
            if refused.code and not isinstance(refused, Unauthorized):
                # The token may be good: what it takes to find out is away.
                raise
            # Why is not told to who may be trying out tokens.
            raise Problematic(codes.auth_failed()) from None

    async def admit(
        self, request: Request, permission: Permission
    ) -> tuple[ManagedChannel, Identity]:
        """Return the channel that a request is about, and who sent it, who may do that with the channel.

        Raises:
            Problematic: there is no such channel, or it is not for the sender.
        """
        channel = self.channel(request)
        is_open = channel is not None and channel.allows(NOBODY, permission)
        if is_open and not request.headers.get("authorization"):
            self._count()
            identity = NOBODY
        else:
            identity = await self.identify(request)
        if channel is None:
            raise Problematic(codes.channel_not_found(self.name(request)))
        if not self.may(identity, channel, permission):
            raise Problematic(codes.permission_denied(permission.value))
        return channel, identity

    def may(self, identity: Identity, channel: ManagedChannel, permission: Permission) -> bool:
        """Whether somebody may do something with a channel."""
        return self.is_admin(identity) or channel.allows(identity, permission)

    def is_admin(self, identity: Identity) -> bool:
        """Whether somebody may do everything."""
        return identity.claimed_role in self.admin_roles | {SERVICE_ROLE}

    def may_create(self, identity: Identity) -> bool:
        """Whether somebody may create channels."""
        if self.is_admin(identity):
            return True
        role = identity.claimed_role
        return role != ANONYMOUS if self.creator_roles is None else role in self.creator_roles

    def name(self, request: Request) -> str:
        """Return the name of a channel in a path.

        Raises:
            Problematic: no channel may be called so.
        """
        name: str = request.path_params["name"]
        if not is_channel_name(name):
            raise Problematic(codes.invalid_request(NAME_RULE))
        return name

    def channel(self, request: Request) -> ManagedChannel | None:
        """Return the channel that a request names, if there is one.

        Raises:
            Problematic: no channel may be called so.
        """
        return self.tenant.managed.get(self.name(request))

    def refuse_push(self, refused: PushRefused | None) -> None:
        """Tell in the words of this dialect why something is not carried out.

        Raises:
            Problematic: it is not.
        """
        if refused is not None:
            raise Problematic(
                codes.problem_of(
                    refused.code,
                    refused.reason,
                    retry_after_s=refused.retry_after_s,
                    required_permission=refused.required_permission,
                )
            )

    async def body(self, request: Request, held: HeldBody) -> bytes:
        """Return the body of a request, which `held` accounts for.

        Raises:
            Problematic: it is too large.
        """
        body = await held.read(request)
        if len(body) > BODY_BYTES:
            raise Problematic(codes.message_too_large(BODY_BYTES))
        return body

    def hold(self) -> HeldBody:
        """Return the account of one body."""
        return HeldBody(self.bodies)

    def _count(self) -> None:
        if self.tenant.status.is_suspended:
            raise Problematic(codes.unavailable("Realtime was disabled for this tenant"))
        if not self.rate.count():
            raise Problematic(codes.rate_limited())


def told(problem: Problem) -> Response:
    """Return the response that tells a problem."""
    headers = {}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(problem.retry_after_s)
    return Response(problem.body(), problem.status, headers, "application/json")


def answered(value: Any, status: int = 200) -> Response:
    """Return the response that says a value, or JSON that is written already."""
    if isinstance(value, bytes):
        return Response(value, status, media_type="application/json")
    return JSONResponse(value, status)


def _method_refusal(handlers: Mapping[str, Handler]) -> Handler:
    async def refuse(_request: Request) -> Response:
        response = told(codes.method_not_allowed())
        response.headers["allow"] = ", ".join(handlers)
        return response

    return refuse


def _problem_of(error: Exception) -> Problem:
    match error:
        case Problematic():
            return error.problem
        case InvalidRequest():
            return codes.invalid_request(error.reason)
        case InvalidSubscription():
            return codes.subscription_failed(error.reason)
        case Refused():
            return codes.problem_of(error.code, error.reason)
        case Unavailable():
            return codes.unavailable(error.advice)
        case _:
            return codes.unavailable("too much is being sent at the moment")
