"""Keys from an address: fetched at the start, at an interval, and when a token names a key that is not known yet.

`KeyRing` holds the keys in force and is what the verifier asks; `KeyRefresher` is the actor that renews them.
One actor fetches, so there is never more than one fetch at a time; questions that arrive meanwhile wait in its mailbox.

Truth: none; the ring is an heir. Rank 1. Overflow: REJECT, the asker goes on with the keys there are.
Recovery: rung 1, the keys stay in force. An address that does not answer is a state, not a crash:
the last keys are kept however old they are, and it is tried again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field, frozen

from actors.auth.keys import InvalidKeySet, KeySet, parse_key_set
from actors.core.errors import ActorError
from actors.core.signals import Stopping
from actors.core.spec import Backoff, ChildSpec, Restart
from actors.realtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    #: Returns the text of a JWKS or raises `Unavailable`, within seconds.
    Fetch = Callable[[], Awaitable[bytes]]

    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.core.ref import Ref, Reply
    from actors.core.signals import Signal
    from actors.telemetry.metrics import Metrics

#: Seconds between a fetch and the next one that a token may cause; who invents key ids cannot cause more.
MIN_INTERVAL_S = 10.0
#: Seconds that a server may take to start because of its keys; a fetch is over before that.
FIRST_FETCH_WITHIN_S = 30.0
TRY_AGAIN = Backoff(first=1.0, base=2.0, factor=2.0, ceiling=60.0)


@frozen
class Renew:
    """Fetch the keys unless that was done a moment ago; the answer comes when they are in force."""

    renewed: Reply[None]


@define(eq=False)
class KeyRing:
    """The keys in force; `wait_s` bounds how long a token with an unknown key waits for newer ones."""

    keys: KeySet = field(factory=KeySet)
    wait_s: float = 6.0
    refresher: Ref[Renew] | None = None
    #: When the last fetch began, on trio's clock.
    fetched_at: float | None = None

    def __len__(self) -> int:
        return len(self.keys)

    async def renew(self) -> None:
        """Wait for newer keys, if there is somewhere to get them from and they were not fetched a moment ago."""
        if self.refresher is not None:
            # Without an answer the keys stay as they are, which the token is then judged by.
            with suppress(ActorError):
                await self.refresher.ask(Renew, within=self.wait_s)


class KeyRefresher:
    """The actor that renews a ring; see the module's text."""

    def __init__(
        self, ring: KeyRing, fetch: Fetch, interval_s: float, metrics: Metrics
    ) -> None:
        self._ring = ring
        self._fetch = fetch
        self._interval_s = interval_s
        self._metrics = metrics
        self._failures = 0
        self._log: BoundLogger = structlog.get_logger()

    async def run(self, inbox: Inbox[Renew]) -> None:
        """Keep the ring up to date until stopped; ready once the first fetch ended, one way or the other."""
        self._ring.refresher = inbox.ref
        if self._may_fetch():
            await self._renew()
        inbox.ready()
        while not isinstance(message := await self._next(inbox), Stopping):
            if message is None or self._may_fetch():
                await self._renew()
            if isinstance(message, Renew):
                message.renewed.set(None)

    async def _next(self, inbox: Inbox[Renew]) -> Renew | Signal | None:
        """Return what comes next; None when it is time to fetch again."""
        wait_s = self._interval_s
        if self._failures:
            wait_s = min(wait_s, TRY_AGAIN.delay(self._failures, 0.0))
        with trio.move_on_after(wait_s):
            return await anext(inbox)
        return None

    def _may_fetch(self) -> bool:
        last = self._ring.fetched_at
        return last is None or trio.current_time() - last >= MIN_INTERVAL_S

    async def _renew(self) -> None:
        self._ring.fetched_at = trio.current_time()
        try:
            keys = parse_key_set(await self._fetch())
        except Unavailable as away:
            self._note_failure(away.advice)
        except InvalidKeySet as invalid:
            self._note_failure(f"what was fetched is not {invalid}")
        else:
            self._put(keys)

    def _note_failure(self, advice: str) -> None:
        self._failures += 1
        self._metrics.key_set_failures.inc()
        self._log.warning("keys.unavailable", advice=advice, keys=len(self._ring.keys))

    def _put(self, keys: KeySet) -> None:
        if self._failures or keys.key_ids() != self._ring.keys.key_ids():
            self._log.info("keys.renewed", keys=len(keys), skipped=keys.skipped)
        self._failures = 0
        self._ring.keys = keys
        self._metrics.keys.set(len(keys))
        self._metrics.key_set_fetches.inc()


def refresher_spec(
    ring: KeyRing, fetch: Fetch, interval_s: float, metrics: Metrics
) -> ChildSpec[Renew]:
    """Return the spec of the actor that renews a ring every `interval_s` seconds."""
    return ChildSpec(
        name="key_set",
        factory=lambda: KeyRefresher(ring, fetch, interval_s, metrics),
        rank=1,
        restart=Restart.PERMANENT,
        heir=ring,
        ready_within=FIRST_FETCH_WITHIN_S,
    )
