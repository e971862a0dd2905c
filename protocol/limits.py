"""How often is too often: counting rules that depend on what was counted and on the time alone.

`actors.realtime.quota` holds the counters and brings the clock.
Times are seconds on any clock that does not run backwards.

**Source**: spec 8.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

#: An average is over at most a minute, in buckets; what the open bucket holds does not count yet.
BUCKET_S = 5.0
BUCKETS = 12


@define
class EventRate:
    """Events per second: the mean of the last minute's buckets, or of those there are.

    `buckets` of `bucket_s` seconds are remembered; the first begins with the first call.
    Buckets are closed when somebody looks, so a rate that nobody uses costs nothing.
    """

    bucket_s: float = BUCKET_S
    buckets: int = BUCKETS
    _closed: deque[int] = field(init=False)
    _open: int = field(default=0, init=False)
    _opened_at: float | None = field(default=None, init=False)
    _average: float = field(default=0.0, init=False)

    @_closed.default
    def _no_bucket(self) -> deque[int]:
        return deque(maxlen=self.buckets)

    def count(self, now: float, events: int = 1) -> None:
        """Note that so many events happen now."""
        self._close(now)
        self._open += events

    def average(self, now: float) -> float:
        """Return the events per second as of the last full bucket, 0 before the first."""
        self._close(now)
        return self._average

    def _close(self, now: float) -> None:
        if self._opened_at is None:
            self._opened_at = now
        passed = int((now - self._opened_at) // self.bucket_s)
        if passed < 1:
            return
        self._closed.append(self._open)
        # More empty buckets than there is room for would be forgotten at once.
        self._closed.extend([0] * min(passed - 1, self.buckets))
        self._open = 0
        self._opened_at += passed * self.bucket_s
        self._average = sum(self._closed) / (len(self._closed) * self.bucket_s)


@define
class FixedWindow:
    """At most so many calls in a window of time, which begins with the first call of it."""

    _began_at: float | None = field(default=None, init=False)
    _calls: int = field(default=0, init=False)

    def count(self, now: float, *, calls: int, window_s: float) -> bool:
        """Count a call, and say whether it is one of the first `calls` in its window."""
        if self._began_at is None or now - self._began_at >= window_s:
            self._began_at, self._calls = now, 0
        self._calls += 1
        return self._calls <= calls
