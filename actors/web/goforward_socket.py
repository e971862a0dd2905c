"""The door for GoForward's WebSockets: who may open one on a channel, and what the others are told.

Served at `/realtime/channels/{name}/ws`. Asks the token verifier and the gate of the channels,
and hands good clients to the `Door`, where they join the channel by having connected.

**Source**: ledger GF-021, GF-022 (where the token is), GF-129…134 (objects and statuses), C22 (frames of 512 KB),
C37 (channels without tokens), C39 (hostile names).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio
from attrs import field, frozen

from actors.realtime.errors import Refused, Unauthorized
from actors.realtime.ports import Opening
from actors.web.endpoint import Refusal, SocketLimits
from protocol.goforward import codes
from protocol.goforward.dialect import GoForwardDialect
from protocol.goforward.names import NAME_RULE, is_channel_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.realtime.ports import Door, Identity, TokenVerifier
    from actors.web.endpoint import WebSocketRequest
    from protocol.goforward.codes import Problem
    from protocol.goforward.envelope import Stamp

log = structlog.get_logger()

PATH: Final = "/realtime/channels/{name}/ws"
JSON: Final = "application/json"
BEARER: Final = "bearer "
#: As long as the port's own; what waits for nothing else is closed by it.
CONNECTION_TIMEOUT_S: Final = 60.0
FRAME_BYTES: Final = 512 * 1024


@frozen
class GoForwardOptions:
    """What can be set about this door.

    `ping_interval_s` are the seconds between two pings, 0 for none.
    `connection_timeout_s` are those without a sign of life after which a connection is closed.
    `refusal_delay_s` is how long a bad token waits for its answer.
    """

    ping_interval_s: float = 30.0
    connection_timeout_s: float = CONNECTION_TIMEOUT_S
    max_message_bytes: int = FRAME_BYTES
    refusal_delay_s: float = 2.0


class ChannelGate(Protocol):
    """What was decided about the channels, as far as it matters at the door."""

    def admits_anonymous(self, name: str) -> bool:
        """Whether a client without a token may come in."""
        ...

    def refuse(self, name: str, identity: Identity) -> None:
        """Return if that identity may be in the channel; never waits.

        Raises:
            Refused: it may not, or there is no room or no such channel.
        """
        ...


ORIGIN_REFUSED: Final = Refusal(
    codes.ORIGIN_NOT_ALLOWED.status, codes.ORIGIN_NOT_ALLOWED.body(), JSON
)


class _NotHere(Exception):
    """What is asked for cannot be had; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


@frozen
class GoForwardEndpoint:
    """A `WebSocketEndpoint`; `stamp` gives the time and luck of this moment."""

    verifier: TokenVerifier
    door: Door
    stamp: Callable[[], Stamp] = field(repr=False)
    gate: ChannelGate
    options: GoForwardOptions = field(factory=GoForwardOptions)

    async def __call__(self, request: WebSocketRequest) -> Refusal | None:
        name = request.parameters["name"]
        try:
            identity = await self._admitted(name, request)
        except _NotHere as refused:
            return refusal(refused.problem)
        limits = SocketLimits(self.options.connection_timeout_s, self.options.max_message_bytes)
        self.door.admit(
            Opening(
                GoForwardDialect(name, self.stamp, self.options.ping_interval_s),
                identity,
                request.peer,
                partial(request.open_socket, limits),
                request.headers_shown,
                self.verifier,
            )
        )
        return None

    async def _admitted(self, name: str, request: WebSocketRequest) -> Identity:
        if request.method != "GET":
            raise _NotHere(codes.method_not_allowed())
        if not is_channel_name(name):
            raise _NotHere(codes.invalid_request(NAME_RULE))
        try:
            self.door.refuse_if_suspended()
            identity = await self._identify(name, request)
            self.gate.refuse(name, identity)
            self.door.refuse_if_full()
        except Refused as refused:
            log.debug("websocket.refused", code=refused.code, peer=request.peer)
            raise _NotHere(_problem(refused, name)) from None
        if request.problem is not None:
            raise _NotHere(codes.invalid_request(request.problem))
        return identity

    async def _identify(self, name: str, request: WebSocketRequest) -> Identity:
        token = _token(request)
        try:
            if not token and not self.gate.admits_anonymous(name):
                raise Unauthorized("MissingAPIKey", codes.INVALID_TOKEN)
            return await self.verifier.verify(token)
        except Refused:
            await trio.sleep(self.options.refusal_delay_s)
            raise


def refusal(problem: Problem) -> Refusal:
    """Return the response that tells of a problem."""
    return Refusal(problem.status, problem.body(), JSON, problem.retry_after_s)


def _token(request: WebSocketRequest) -> str:
    """Return the token that came with the request, empty if none did."""
    header = request.headers.get("authorization", "")
    if header[: len(BEARER)].lower() == BEARER:
        return header[len(BEARER) :].strip()
    return request.query.get("token", "").strip()


def _problem(refused: Refused, name: str) -> Problem:
    # Source: ledger GF-129, one literal text for whatever is wrong with a token.
    if isinstance(refused, Unauthorized) or not refused.code:
        return codes.auth_failed()
    return codes.problem_of(refused.code, refused.reason, channel=name)
