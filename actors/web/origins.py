"""Which pages may open a WebSocket: browsers say where a page comes from, and no rule of theirs stops it.

`OriginGuard` stands before the door of a dialect; who is no browser says nothing and passes.
What a client may do is said by its token, never by a cookie, so all origins are allowed unless an operator lists some.

**Source**: ledger GF-117, C25; RFC 6455, 10.2; RFC 6454, 6.2 for how an origin is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import structlog
from attrs import frozen

if TYPE_CHECKING:
    from actors.web.endpoint import Refusal, WebSocketEndpoint, WebSocketRequest

log = structlog.get_logger()

ANY: Final = "*"
#: `null` is what a page from a file says, as one in a sandbox does.
NULL: Final = "null"
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[^/*@\s]+")
RULE: Final = "* or a list of origins with commas between them, like https://example.com,https://*.example.org"


@frozen
class Origins:
    """Those that are allowed, in lower case; `*` alone is any, `https://*.example.com` any below that domain."""

    allowed: tuple[str, ...] = (ANY,)

    def __str__(self) -> str:
        return ",".join(self.allowed)

    @property
    def are_all_allowed(self) -> bool:
        """Whether every page may connect."""
        return ANY in self.allowed

    def allow(self, origin: str | None) -> bool:
        """Whether a page of that origin may connect; None is no page."""
        if origin is None or self.are_all_allowed:
            return True
        return any(_matches(pattern, origin.lower()) for pattern in self.allowed)


EVERY_ORIGIN: Final = Origins()


def parse_origins(text: str) -> Origins:
    """Return the origins that a list with commas names.

    Raises:
        ValueError: an entry is no origin; the text says what they are.
    """
    entries = tuple(entry.strip().lower() for entry in text.split(","))
    for entry in entries:
        if entry not in (ANY, NULL) and _ORIGIN.fullmatch(entry) is None:
            raise ValueError(RULE)
    return Origins(entries)


@frozen
class OriginGuard:
    """A `WebSocketEndpoint` that answers pages of other origins with `refusal`."""

    origins: Origins
    endpoint: WebSocketEndpoint
    refusal: Refusal

    async def __call__(self, request: WebSocketRequest) -> Refusal | None:
        origin = request.headers.get("origin")
        if self.origins.allow(origin):
            return await self.endpoint(request)
        log.info("origin.refused", origin=str(origin)[:255], peer=request.peer)
        return self.refusal


def _matches(pattern: str, origin: str) -> bool:
    head, star, tail = pattern.partition("*.")
    if not star:
        return origin == pattern
    # The dot stays: `https://*.example.com` is neither evilexample.com nor example.com itself.
    middle = origin.removeprefix(head).removesuffix("." + tail)
    is_below = origin == f"{head}{middle}.{tail}"
    return is_below and bool(middle) and not set(middle) & set("/:@")
