"""What is served: an application for requests, and endpoints for those who want a WebSocket.

`app.py` puts a `Site` together, `exchange.py` asks it; a dialect's door (`supabase.py`) is a `WebSocketEndpoint`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp

    from actors.realtime.ports import Socket

PLAIN_TEXT = "text/plain; charset=utf-8"


@frozen
class WebSocketRequest:
    """A request to the path of a WebSocket endpoint, whatever its method and headers.

    Header names are in lower case; of several values for one query parameter the last one counts.
    `problem` says in a sentence why it is no request to upgrade, or is None.
    """

    method: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    peer: str
    problem: str | None
    open_socket: Callable[[], AbstractAsyncContextManager[Socket]] = field(repr=False)


@frozen
class Refusal:
    """An HTTP response instead of a WebSocket."""

    status: int
    body: bytes = b""
    content_type: str = PLAIN_TEXT


class WebSocketEndpoint(Protocol):
    """Decides about the clients at one path."""

    async def __call__(self, request: WebSocketRequest) -> Refusal | None:
        """Refuse, or hand `request.open_socket` over to somebody who enters it and return None."""
        ...


@frozen
class Site:
    """Everything behind the port; paths in `websockets` never reach the application."""

    application: ASGIApp
    websockets: Mapping[str, WebSocketEndpoint]
