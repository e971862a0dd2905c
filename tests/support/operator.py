"""The operator of a running server: sees its actors, and crashes one on purpose."""

from __future__ import annotations

import json
import time
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.support.tokens import mint

PATIENCE_S = 30.0


class Operator:
    """Speaks to the operators' routes with a key of the service role."""

    def __init__(self, url: str) -> None:
        self._url = url

    def actors(self) -> dict[str, dict]:
        """Return the living actors by name."""
        return {actor["name"]: actor for actor in json.loads(self._ask("/admin/actors"))}

    def metrics(self) -> str:
        return self._ask("/metrics").decode()

    def crash(self, name: str) -> None:
        """Crash an actor, and wait until it lives again or is gone for good."""
        before = self.actors()[name]["incarnation"]
        self._ask(f"/admin/actors/{quote(name)}/crash", method="POST")
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            actor = self.actors().get(name)
            if actor is None or (actor["incarnation"] > before and actor["is_running"]):
                return
        raise TimeoutError(f"{name} did not come back")

    def _ask(self, path: str, method: str = "GET") -> bytes:
        headers = {"authorization": f"Bearer {mint('service_role')}"}
        request = Request(self._url + path, method=method, headers=headers)
        with urlopen(request, timeout=10) as response:
            return response.read()
