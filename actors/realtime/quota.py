"""What a tenant may use, and what it has used: the counters behind its quotas.

Not an actor: tables with synchronous methods, owned by the tenant and counted by whoever does the work.
The counting rules are in `protocol/limits.py`; here is the clock, which is trio's.

**Invariants**
- A quota of 0 is off: nothing is counted, nothing is refused, and a look costs next to nothing.
- Counting is per batch where there are batches, never per delivery.

**Source**: spec 8 for what counts and what is refused when.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from protocol.limits import EventRate

if TYPE_CHECKING:
    from protocol.limits import FixedWindow

#: What a client reads in the system message that ends a subscription (spec 2.6).
TOO_MANY_MESSAGES = "Too many messages per second"
TOO_MANY_PRESENCE_MESSAGES = "Too many presence messages per second"
CLIENT_PRESENCE_LIMITED = "Client presence rate limit exceeded"
#: What ends a subscription with one of these; for clients that are told codes.
QUOTA_EXCEEDED = "MessagePerSecondRateLimitReached"
LIMITED = frozenset({TOO_MANY_MESSAGES, TOO_MANY_PRESENCE_MESSAGES, CLIENT_PRESENCE_LIMITED})


@frozen
class QuotaLimits:
    """The quotas of a tenant, named as Supabase names them; 0 is off.

    **Source**: spec 8.
    """

    max_concurrent_users: int = 0
    max_channels_per_client: int = 0
    max_joins_per_second: int = 0
    max_events_per_second: int = 0
    max_presence_events_per_second: int = 0
    max_client_presence_events_per_window: int = 0
    client_presence_window_ms: int = 30_000


#: What upstream gives a new tenant.
SUPABASE = QuotaLimits(
    max_concurrent_users=200,
    max_channels_per_client=100,
    max_joins_per_second=100,
    max_events_per_second=100,
    max_presence_events_per_second=1000,
    max_client_presence_events_per_window=5,
)


class RateQuota:
    """So many events per second on average; see `EventRate` for which average that is."""

    __slots__ = ("_rate", "limit")

    def __init__(self, limit: int) -> None:
        self.restart(limit)

    def restart(self, limit: int) -> None:
        """Set another limit and forget what was counted."""
        self.limit = limit
        self._rate = EventRate()

    def count(self, events: int = 1) -> None:
        """Note that so many events happen now."""
        if self.limit:
            self._rate.count(trio.current_time(), events)

    @property
    def average(self) -> float:
        """Events per second as of the last full bucket of five seconds."""
        return self._rate.average(trio.current_time()) if self.limit else 0.0

    @property
    def is_tripped(self) -> bool:
        """Whether the average has reached the limit."""
        return self.limit > 0 and self.average >= self.limit

    @property
    def is_exceeded(self) -> bool:
        """Whether the average is over the limit (the rule for presence)."""
        return self.limit > 0 and self.average > self.limit


@define
class ConnectedUsers:
    """Which connections count as users: those that have joined a channel once.

    A join under way holds a place too, so that joins which overtake each other cannot pass the limit together.
    """

    _joined: set[str] = field(factory=set, init=False)
    _joining: Counter[str] = field(factory=Counter, init=False)

    def __len__(self) -> int:
        return len(self._joined)

    def begin_join(self, connection: str, limit: int) -> bool:
        """Take a place for a connection unless it has one; False if all are taken.

        Each call that returns True is followed by one of `end_join`.
        """
        is_user = connection in self._joined or connection in self._joining
        if limit and not is_user and self._places_taken() >= limit:
            return False
        self._joining[connection] += 1
        return True

    def end_join(self, connection: str, *, joined: bool) -> None:
        """Note how a join ended."""
        self._joining[connection] -= 1
        if not self._joining[connection]:
            del self._joining[connection]
        if joined:
            self._joined.add(connection)

    def forget(self, connection: str) -> None:
        """Note that a connection has ended."""
        self._joined.discard(connection)

    def _places_taken(self) -> int:
        newcomers = sum(connection not in self._joined for connection in self._joining)
        return len(self._joined) + newcomers


class Quota:
    """The quotas of one tenant and what is counted against them.

    `events` are broadcasts: one for each that is sent and one for each channel of a client that receives it.
    `changes` are row changes: one for each subscription that one matches.
    `joins` are attempts to join.
    `presence` events are tracks, states and diffs, each once per receiver.
    """

    def __init__(self, limits: QuotaLimits | None = None) -> None:
        self.limits = limits or QuotaLimits()
        self.users = ConnectedUsers()
        self.joins = RateQuota(self.limits.max_joins_per_second)
        self.events = RateQuota(self.limits.max_events_per_second)
        self.changes = RateQuota(self.limits.max_events_per_second)
        self.presence = RateQuota(self.limits.max_presence_events_per_second)

    def change(self, limits: QuotaLimits) -> None:
        """Set other quotas; rates are counted anew from here on."""
        self.limits = limits
        self.joins.restart(limits.max_joins_per_second)
        self.events.restart(limits.max_events_per_second)
        self.changes.restart(limits.max_events_per_second)
        self.presence.restart(limits.max_presence_events_per_second)

    @property
    def is_full(self) -> bool:
        """Whether no further connection may become a user."""
        limit = self.limits.max_concurrent_users
        return 0 < limit <= len(self.users)

    def count_presence_push(self, window: FixedWindow) -> str | None:
        """Count a presence push of the subscription that `window` belongs to.

        Return the literal text that ends the subscription, or None while it is within the quotas.
        """
        calls = self.limits.max_client_presence_events_per_window
        window_s = self.limits.client_presence_window_ms / 1000
        now = trio.current_time()
        if calls and not window.count(now, calls=calls, window_s=window_s):
            return CLIENT_PRESENCE_LIMITED
        return TOO_MANY_PRESENCE_MESSAGES if self.presence.is_exceeded else None
