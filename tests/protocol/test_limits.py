"""The counting rules, against models that do what upstream does, tick by tick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.limits import EventRate, FixedWindow

TICK = 5
BUCKETS = 12


class NaiveRate:
    """A counter that is woken every five seconds, as upstream's: it pushes its count in front and keeps twelve."""

    def __init__(self, start: int) -> None:
        self._next_tick = start + TICK
        self._count = 0
        self._buckets: list[int] = []
        self.average = 0.0

    def live_until(self, now: int) -> None:
        while self._next_tick <= now:
            self._buckets = [self._count, *self._buckets][:BUCKETS]
            self._count = 0
            self.average = sum(self._buckets) / len(self._buckets) / TICK
            self._next_tick += TICK

    def count(self, events: int) -> None:
        self._count += events


steps = st.lists(
    st.tuples(
        st.integers(0, 7) | st.integers(0, 300),
        st.none() | st.integers(0, 1000),
    ),
    min_size=1,
    max_size=40,
)


@given(st.integers(0, 10_000), steps)
def test_a_rate_is_that_of_a_counter_with_a_tick(start, steps):
    rate, naive, now = EventRate(), NaiveRate(start), start
    rate.count(start, 0)
    for passed, events in steps:
        now += passed
        naive.live_until(now)
        if events is not None:
            naive.count(events)
            rate.count(now, events)

        assert rate.average(now) == pytest.approx(naive.average)


def test_nothing_counts_before_the_first_tick_and_everything_after_it():
    rate = EventRate()
    rate.count(100.0, 50)

    assert rate.average(104.999) == 0
    assert rate.average(105.0) == 10


def test_after_a_minute_of_silence_the_average_is_nothing():
    rate = EventRate()
    rate.count(0.0, 1000)

    assert rate.average(64.9) > 0
    assert rate.average(65.0) == 0


def test_a_rate_that_nobody_looks_at_for_long_is_caught_up_with_at_once():
    rate = EventRate()
    rate.count(0.0, 1000)

    assert rate.average(1e12) == 0


class TestFixedWindow:
    def test_as_many_calls_as_allowed_pass_and_one_more_does_not(self):
        window = FixedWindow()

        found = [window.count(0.0, calls=5, window_s=30.0) for _ in range(6)]
        assert found == [True] * 5 + [False]

    def test_the_window_begins_with_its_first_call(self):
        window = FixedWindow()
        found = [
            window.count(now, calls=2, window_s=30.0)
            for now in (7.0, 36.9, 36.9, 37.0, 38.0, 66.9, 67.0)
        ]

        assert found == [True, True, False, True, True, False, True]

    @given(st.lists(st.floats(0, 100), max_size=50).map(sorted), st.integers(1, 5))
    def test_no_window_lets_more_through_than_allowed(self, times, calls):
        window = FixedWindow()
        passed = [now for now in times if window.count(now, calls=calls, window_s=30.0)]

        # A fixed window, unlike a sliding one, may let twice as much through around its edge.
        for start in passed:
            assert sum(start <= now < start + 30.0 for now in passed) <= 2 * calls
