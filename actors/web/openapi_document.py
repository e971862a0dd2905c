"""The description of all that can be asked over HTTP, as OpenAPI 3.1, served at `/api/openapi`.

Each room describes its own routes in a file of the folder `openapi`: tags, paths and components.
Here they are put together; a test holds the whole against the routes there are, another against a running server.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

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


def document(folder: Path = FOLDER) -> dict[str, Any]:
    """Return the whole description.

    Raises:
        ValueError: two files describe the same.
    """
    parts = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    kinds = sorted({kind for part in parts for kind in part.get("components", {})})
    return {
        **HEAD,
        "tags": [tag for part in parts for tag in part.get("tags", ())],
        "paths": _joined(part.get("paths", {}) for part in parts),
        "components": {
            kind: _joined(part.get("components", {}).get(kind, {}) for part in parts)
            for kind in kinds
        },
    }


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for part in parts:
        twice = whole.keys() & part.keys()
        if twice:
            raise ValueError(f"described twice: {sorted(twice)}")
        whole.update(part)
    return whole


@frozen
class ApiDescription:
    """The route that serves it; `body` is made once."""

    body: bytes = field(factory=lambda: json.dumps(document()).encode(), repr=False)

    def routes(self) -> list[Route]:
        """Return it, relative to `/api`."""
        return [Route("/openapi", self._answer)]

    async def _answer(self, _request: Request) -> Response:
        return Response(self.body, media_type="application/json")
