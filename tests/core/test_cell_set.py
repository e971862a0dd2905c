"""A set of cells does what a dict of cells would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.core.cell_set import CellSet

ANYBODY = st.sampled_from([object() for _ in range(4)])
STEP = st.one_of(
    st.tuples(st.just("add"), ANYBODY),
    st.tuples(st.just("discard"), ANYBODY),
    st.tuples(st.just("clear")),
)


@given(st.lists(STEP, max_size=30))
def test_it_has_what_a_dict_would_have_in_the_same_order(steps):
    cells, expected = CellSet(), {}
    for step in steps:
        match step:
            case ("add", cell):
                cells.add(cell)
                expected[cell] = None
            case ("discard", cell):
                cells.discard(cell)
                expected.pop(cell, None)
            case _:
                cells.clear()
                expected.clear()

        assert list(cells) == list(expected)
        assert len(cells) == len(expected)
