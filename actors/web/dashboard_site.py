"""The dashboard at `/_/`: a page of our own, and the WebSocket over which it hears of the server.

The page is open to everybody, for there is nothing in it; what it shows comes over the WebSocket, for operators alone.
A browser can send a key with a WebSocket in the address only, where proxies write it into their logs.
So the page exchanges its key for a ticket: good once, for half a minute, for this one thing.

From then on it is a connection like any other, that speaks Phoenix and joins the topic of the reporter.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final

import structlog
import trio
from attrs import define, field, frozen
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from actors.realtime.errors import Refused
from actors.realtime.ports import Opening
from actors.web.endpoint import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from actors.realtime.ports import Door, Identity
    from actors.web.endpoint import WebSocketRequest
    from actors.web.guard import Guard
    from protocol.dialect import Dialect

log = structlog.get_logger()

WEBSOCKET_PATH: Final = "/_/websocket"
#: Seconds that a ticket is good, and how many may be open at a time; beyond that the oldest is void.
TICKET_S: Final = 30.0
TICKETS: Final = 100

FOLDER: Final = Path(__file__).parent / "dashboard"
MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
#: Nothing from elsewhere, nothing inline, in no frame; and no text can become markup.
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


@define
class Tickets:
    """Tickets that were given out and not used yet, oldest first."""

    _open: OrderedDict[str, tuple[Identity, float]] = field(factory=OrderedDict)

    def give(self, identity: Identity) -> str:
        """Return a new ticket for an identity."""
        ticket = token_urlsafe(32)
        self._open[ticket] = (identity, trio.current_time() + TICKET_S)
        while len(self._open) > TICKETS:
            self._open.popitem(last=False)
        return ticket

    def take(self, ticket: str) -> Identity | None:
        """Return whose ticket this is, once; None if it is void."""
        identity, until = self._open.pop(ticket, (None, 0.0))
        return identity if trio.current_time() < until else None


def read_files(folder: Path = FOLDER) -> Mapping[str, tuple[bytes, str]]:
    """Return the files of the page by name, each with its media type."""
    return {
        path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in folder.iterdir()
        if path.suffix in MEDIA_TYPES
    }


@frozen
class Dashboard:
    """The routes of the page, and the `WebSocketEndpoint` it connects to."""

    guard: Guard
    door: Door
    dialect: Dialect
    tickets: Tickets = field(factory=Tickets)
    files: Mapping[str, tuple[bytes, str]] = field(factory=read_files, repr=False)

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route("/_/", self._file),
            Route("/_", self._redirect),
            Route("/_/api/ticket", self.guard.operator(self._ticket), methods=["POST"]),
            Route("/_/{name}", self._file),
        ]

    async def __call__(self, request: WebSocketRequest) -> Refusal | None:
        """Admit who has a ticket."""
        identity = self.tickets.take(request.query.get("ticket", ""))
        if request.method != "GET" or identity is None:
            return Refusal(403)
        if request.problem is not None:
            return Refusal(400, request.problem.encode())
        try:
            self.door.refuse_if_suspended()
        except Refused as refused:
            log.debug("dashboard.refused", code=refused.code)
            return Refusal(403)
        self.door.admit(Opening(self.dialect, identity, request.peer, request.open_socket))
        return None

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self.files:
            return JSONResponse({"error": "Not found"}, status_code=404)
        content, media_type = self.files[name]
        return Response(content, media_type=media_type, headers=HEADERS)

    async def _redirect(self, _request: Request) -> Response:
        return RedirectResponse("/_/")

    async def _ticket(self, request: Request) -> Response:
        identity = await self.guard.identify(request)
        if identity is None:
            # It expired between the two looks.
            return Response(status_code=403)
        ticket = self.tickets.give(identity)
        return JSONResponse({"ticket": ticket}, headers={"cache-control": "no-store"})
