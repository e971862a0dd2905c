"""What is served: an application for requests, and endpoints for those who want a WebSocket.

`app.py` puts a `Site` together, `exchange.py` asks it; the door of a dialect (`supabase.py`, `goforward_socket.py`)
is a `WebSocketEndpoint`.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp

    from actors.realtime.ports import Socket

PLAIN_TEXT = "text/plain; charset=utf-8"

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@frozen
class SocketLimits:
    """What a door allows on its sockets in place of what the port does; None is as the port has it.

    `idle_s` are seconds without a byte from the client, `max_message_bytes` is for one message.
    """

    idle_s: float | None = None
    max_message_bytes: int | None = None


#: As the port has it.
NO_LIMITS: Final = SocketLimits()


class OpenSocket(Protocol):
    """Returns the context that completes the handshake, for `Opening.open_socket`."""

    def __call__(
        self, limits: SocketLimits = NO_LIMITS
    ) -> AbstractAsyncContextManager[Socket]: ...


@frozen
class WebSocketRequest:
    """A request to the path of a WebSocket endpoint, whatever its method and headers.

    Header names are in lower case; of several values for one query parameter the last one counts.
    `problem` says in a sentence why it is no request to upgrade, or is None.
    `parameters` are the segments of the path that the endpoint's path has names for, decoded;
    what is not UTF-8 in them is U+FFFD.
    """

    method: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    peer: str
    problem: str | None
    open_socket: OpenSocket = field(repr=False)
    parameters: Mapping[str, str] = _NOTHING

    @property
    def headers_shown(self) -> bytes:
        """The headers that policies may look at, as a JSON object."""
        shown = {n: v for n, v in self.headers.items() if n.startswith("x-")}
        # Nearly nobody sends any.
        return json.dumps(shown).encode() if shown else b"{}"


@frozen
class Refusal:
    """An HTTP response instead of a WebSocket; `retry_after_s` is for who was refused for the time being."""

    status: int
    body: bytes = b""
    content_type: str = PLAIN_TEXT
    retry_after_s: int | None = None


class WebSocketEndpoint(Protocol):
    """Decides about the clients at one path."""

    async def __call__(self, request: WebSocketRequest) -> Refusal | None:
        """Refuse, or hand `request.open_socket` over to somebody who enters it and return None."""
        ...


@frozen
class Site:
    """Everything behind the port; paths in `websockets` never reach the application.

    A segment `{name}` of such a path stands for any one segment, a slash that is percent-encoded included.
    """

    application: ASGIApp
    websockets: Mapping[str, WebSocketEndpoint]

    def find_websocket(
        self, path: str, raw_path: bytes
    ) -> tuple[WebSocketEndpoint, Mapping[str, str]] | None:
        """Return the endpoint of a path and its parameters; `raw_path` is the path before it was decoded."""
        exact = self.websockets.get(path)
        if exact is not None:
            return exact, _NOTHING
        segments = [_decoded(segment) for segment in raw_path.split(b"/")]
        for pattern, endpoint in self.websockets.items():
            parameters = _match(pattern.split("/"), segments)
            if parameters is not None:
                return endpoint, parameters
        return None


def _decoded(segment: bytes) -> str:
    return unquote_to_bytes(segment).decode(errors="replace")


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    parameters = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            parameters[expected[1:-1]] = segment
        elif expected != segment:
            return None
    return parameters
