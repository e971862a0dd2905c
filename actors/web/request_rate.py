"""How often a tenant is asked over HTTP, and when that is too often.

Used by the handlers of its API (`broadcast.py`).

**Source**: spec 8: the mean of up to 60 full seconds against the tenant's events per second, told in three headers.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET_S: Final = 1.0
BUCKETS: Final = 60


class RequestRate:
    """Requests per second of the last minute; `limit` returns how many there may be, 0 for any number."""

    def __init__(self, limit: Callable[[], int] = lambda: 0) -> None:
        self._limit = limit
        self._full: deque[int] = deque(maxlen=BUCKETS)
        self._open = 0
        self._opened_at = trio.current_time()

    def count(self) -> bool:
        """Note a request; True if it may be served."""
        self._close_buckets()
        self._open += 1
        return not self._limit() or self._average <= self._limit()

    def headers(self) -> dict[str, str]:
        """Return what a response tells of the rate; nothing when there is no limit."""
        limit = self._limit()
        if not limit:
            return {}
        return {
            "x-rate-rolling": f"{self._average:.2f}",
            "x-rate-limit": str(limit),
            "x-rate-limit-remaining": str(max(0, int(limit - self._average))),
        }

    @property
    def _average(self) -> float:
        return sum(self._full) / (len(self._full) * BUCKET_S) if self._full else 0.0

    def _close_buckets(self) -> None:
        passed = int((trio.current_time() - self._opened_at) // BUCKET_S)
        if passed < 1:
            return
        self._full.append(self._open)
        # More empty buckets than there is room for would be forgotten at once.
        self._full.extend([0] * min(passed - 1, BUCKETS))
        self._open = 0
        self._opened_at += passed * BUCKET_S
