"""The description of all that can be asked over HTTP, as OpenAPI 3.1, served at `/api/openapi`.

Each room describes its own routes in a file of the folder `openapi`: tags, paths and components.
Here they are put together. A server describes what it serves itself: what its settings switch off is left out.
Tests hold the whole against the routes there are, and against a running server.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from starlette.responses import Response
from starlette.routing import Mount, Route

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.routing import BaseRoute

FOLDER: Final = Path(__file__).parent / "openapi"
HEAD: Final = {
    "openapi": "3.1.0",
    "info": {
        "title": "Troupe",
        "version": "0.1.0",
        "description": (
            "Whatever is served below `/api` is served below `/realtime/v1/api` too. "
            "WebSockets are opened at `/realtime/v1/websocket` and `/socket/websocket`."
        ),
    },
    "servers": [{"url": "/"}],
}
#: Starlette's mark of a parameter that takes slashes.
_TAKES_SLASHES: Final = re.compile(r":path\}")


def document(served: Container[str] | None = None, folder: Path = FOLDER) -> dict[str, Any]:
    """Return the description of these paths, or of all.

    Raises:
        ValueError: two files describe the same.
    """
    parts = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    kinds = sorted({kind for part in parts for kind in part.get("components", {})})
    paths = _joined(part.get("paths", {}) for part in parts)
    return {
        **HEAD,
        "tags": [tag for part in parts for tag in part.get("tags", ())],
        "paths": {
            path: item for path, item in paths.items() if served is None or path in served
        },
        "components": {
            kind: _joined(part.get("components", {}).get(kind, {}) for part in parts)
            for kind in kinds
        },
    }


def paths_of(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[str]:
    """Yield the path of each route as a description has it."""
    for route in routes:
        match route:
            case Mount(path=path, routes=inner):
                yield from paths_of(inner, prefix + path)
            case Route(path=path):
                # One parameter stands for two where slashes in their values may be encoded.
                path = path.replace("{address:path}", "{topic}/events/{event}")
                yield prefix + _TAKES_SLASHES.sub("}", path)
            case _:  # there is nothing else in it
                pass


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for part in parts:
        twice = whole.keys() & part.keys()
        if twice:
            raise ValueError(f"described twice: {sorted(twice)}")
        whole.update(part)
    return whole


@define
class ApiDescription:
    """The route that serves it."""

    _body: bytes = field(default=b"", init=False, repr=False)

    def routes(self) -> list[Route]:
        """Return it, relative to `/api`."""
        return [Route("/openapi", self._answer)]

    def describe(self, routes: Iterable[BaseRoute]) -> None:
        """Describe these routes from now on."""
        self._body = json.dumps(document(frozenset(paths_of(routes)))).encode()

    async def _answer(self, _request: Request) -> Response:
        return Response(self._body, media_type="application/json")
