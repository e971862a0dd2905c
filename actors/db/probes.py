"""Asks one kind of question about private topics, for everybody who has it at the time.

Called by `policies`.
Questions about one topic go out together, one statement after the other, and an answer counts for whoever asks the same
within a second, so a storm of joins costs few statements.

**Invariants**
- One that fails or dawdles costs the others a moment and never their answer: it is asked again, alone.
- Whoever asks is answered or refused in time.
- What is remembered is less than a second's worth, and bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from zlib import crc32

import trio
from attrs import define, field

from actors.db.coalescer import Coalescer
from actors.db.pool import PoolExhausted
from actors.db.probe_sessions import Outcome, Probe, ProbeSessions
from actors.db.row_sessions import StatementFailed
from actors.db.sqlstates import QUERY_CANCELED
from actors.realtime.ports import Grants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How long an answer counts, in seconds; shorter than it takes to notice that a policy was changed.
MAX_AGE_S: Final = 1.0
MAX_ANSWERS: Final = 10_000
#: Statements for many at a time; topics share one by chance, so a slow policy delays few others.
LANES: Final = 4
MAX_BATCH: Final = 200
#: Who was too slow beside others is asked alone; after so many the policy is taken to be slow for all.
SLOW_ONES: Final = 2
#: How many are asked alone at a time.
ALONE: Final = 3
NOTHING: Final = Grants(broadcast=False, presence=False)

Outcomes = dict[Probe, Outcome]


@define(eq=False)
class Probes:
    """Asks one function; `within_s` is how long anybody waits for his answer."""

    _name: str
    _together: ProbeSessions
    _alone: ProbeSessions
    _within_s: float
    _clock: Callable[[], float] = trio.current_time
    #: In the order in which they are forgotten.
    _answers: OrderedDict[Probe, tuple[float, Outcome]] = field(factory=OrderedDict, init=False)
    _places: trio.Semaphore = field(factory=lambda: trio.Semaphore(ALONE), init=False)
    _lanes: list[Coalescer[Probe, Outcomes]] = field(init=False)

    @_lanes.default
    def _make_lanes(self) -> list[Coalescer[Probe, Outcomes]]:
        return [Coalescer(self._ask_together) for _ in range(LANES)]

    def __len__(self) -> int:
        """How many answers are remembered."""
        return len(self._answers)

    async def decide(self, probe: Probe) -> Outcome:
        """Return what came out.

        Raises:
            PoolExhausted: it was not asked in time.
            DatabaseUnavailable: Postgres could not be asked.
        """
        outcome = self._remembered(probe)
        if outcome is not None:
            return outcome
        lane = self._lanes[crc32(probe.sub_topic.encode()) % LANES]
        with trio.move_on_after(self._within_s):
            outcomes = await lane.answer(probe)
            return outcomes.get(probe) or await self._ask_alone(probe)
        raise PoolExhausted(
            f"A policy was not asked within {self._within_s:g} s: policies are slow, or asked too often."
        )

    async def _ask_together(self, probes: Sequence[Probe]) -> Outcomes:
        """Return what came out, without those that are to be asked alone."""
        # Together by role: a plan is good for one role, and made anew for another.
        rest = sorted(set(probes), key=lambda probe: probe.role)
        outcomes: Outcomes = {}
        slow = 0
        while rest and slow < SLOW_ONES:
            asked = rest[:MAX_BATCH]
            try:
                found = await self._together.call(self._name, asked)
            except StatementFailed:
                # One of them is to blame, and shows when each is asked alone.
                rest = rest[len(asked) :]
                continue
            rest = rest[len(found) :]
            for probe, outcome in zip(asked, found, strict=False):
                if outcome.failure == QUERY_CANCELED:
                    slow += 1
                else:
                    outcomes[probe] = outcome
                    self._remember(probe, outcome)
        return outcomes

    async def _ask_alone(self, probe: Probe) -> Outcome:
        async with self._places:
            # Somebody else may have asked the same meanwhile.
            outcome = self._remembered(probe)
            if outcome is not None:
                return outcome
            try:
                (outcome,) = await self._alone.call(self._name, [probe])
            except StatementFailed as failed:
                outcome = Outcome(NOTHING, failed.sqlstate)
            self._remember(probe, outcome)
            return outcome

    def _remembered(self, probe: Probe) -> Outcome | None:
        if probe not in self._answers or self._is_over(probe):
            return None
        return self._answers[probe][1]

    def _remember(self, probe: Probe, outcome: Outcome) -> None:
        now = self._clock()
        self._answers[probe] = now + MAX_AGE_S, outcome
        self._answers.move_to_end(probe)
        while len(self._answers) > MAX_ANSWERS or self._is_over(next(iter(self._answers))):
            self._answers.popitem(last=False)

    def _is_over(self, probe: Probe) -> bool:
        return self._clock() >= self._answers[probe][0]
