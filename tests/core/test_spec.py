"""Delays before restarts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.core.spec import Backoff

FRACTIONS = st.floats(0, 1, exclude_max=True)


@given(FRACTIONS)
def test_first_crash_in_a_row_waits_for_the_first_delay(fraction):
    assert Backoff(first=0.25).delay(1, fraction) == 0.25


@given(st.integers(2, 10**9), FRACTIONS)
def test_delay_is_never_above_the_ceiling_nor_below_half_of_its_measure(crashes, fraction):
    backoff = Backoff(base=0.05, factor=2, ceiling=30)
    measure = min(0.05 * 2 ** min(crashes - 2, 64), 30)

    assert measure / 2 <= backoff.delay(crashes, fraction) <= measure


@given(st.integers(2, 100), FRACTIONS)
def test_delay_grows_with_the_crashes_in_a_row(crashes, fraction):
    backoff = Backoff()

    assert backoff.delay(crashes, fraction) <= backoff.delay(crashes + 1, fraction)
