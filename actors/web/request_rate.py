"""How often a tenant is asked over HTTP, and when that is too often.

Used by the handlers of its API (`broadcast.py`).

**Source**: spec 8: the mean of up to 60 full seconds against the tenant's events per second, told in three headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from protocol.limits import EventRate

if TYPE_CHECKING:
    from actors.realtime.quota import Quota


class RequestRate:
    """Requests per second of the last minute, held against what `quota` allows at the moment."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._rate = EventRate(bucket_s=1.0, buckets=60)

    def count(self) -> bool:
        """Note a request; True if it may be served."""
        limit = self._quota.limits.max_events_per_second
        if not limit:
            return True
        self._rate.count(trio.current_time())
        return self._average <= limit

    def headers(self) -> dict[str, str]:
        """Return what a response tells of the rate; nothing when there is no limit."""
        limit = self._quota.limits.max_events_per_second
        if not limit:
            return {}
        return {
            "x-rate-rolling": f"{self._average:.2f}",
            "x-rate-limit": str(limit),
            "x-rate-limit-remaining": str(max(0, int(limit - self._average))),
        }

    @property
    def _average(self) -> float:
        return self._rate.average(trio.current_time())
