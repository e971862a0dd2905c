"""Request bodies that are held in memory, and the budget for all of them together.

One body is bounded by `HttpOptions.max_body_bytes`; this bounds what many clients together can make the server hold.
Used by handlers that need a body as a whole (`broadcast.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from attrs import define
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.requests import Request


class TooManyBodies(Exception):
    """There is no room for a body now; the client may try again."""


@define
class BodyBudget:
    """How much is held of all bodies together."""

    limit_bytes: int
    held_bytes: int = 0


class HeldBody:
    """The body of one request, counted in the budget as it arrives and until the `with` block ends."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._budget.held_bytes -= self._size_bytes

    async def read(self, request: Request) -> bytes:
        """Wait for the body.

        Raises:
            TooManyBodies: the budget is spent.
            ClientDisconnect: the client left in the middle of it.
        """
        pieces = []
        is_at_end = False
        while not is_at_end:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            pieces.append(message.get("body", b""))
            self._count(len(pieces[-1]))
            is_at_end = not message.get("more_body", False)
        return b"".join(pieces)

    def _count(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        self._budget.held_bytes += size_bytes
        if self._budget.held_bytes > self._budget.limit_bytes:
            raise TooManyBodies
