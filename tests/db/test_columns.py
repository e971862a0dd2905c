from __future__ import annotations

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from actors.db.columns import column_numbers


@pytest.mark.parametrize(
    ("names", "names_now", "expected"),
    [
        ("a b c", "a b c", (1, 2, 3)),
        ("a c", "a b c", (1, 3)),
        ("a b", "a b c d", (1, 2)),
        ("a b c", "a x c", (1, 2, 3)),
        ("a b c", "x y z", (1, 2, 3)),
        ("a b c", "a c b", (1, 2, 3)),
        ("a b c", "a - c", (1, None, 3)),
        ("a b", "a - c", (1, None)),
        ("a b c", "a - c b", (1, None, None)),
        ("a b", "a x y", (1, None)),
        ("a b", "x y a", (None, None)),
        ("a b c", "x c", (None, None, None)),
        ("a b", "b -", (None, None)),
        ("a b", "", (None, None)),
        ("", "a", ()),
    ],
)
def test_columns_are_found_where_no_other_is_possible(names, names_now, expected):
    now = [None if name == "-" else name for name in names_now.split()]

    assert column_numbers(names.split(), now) == expected


@define
class History:
    """A table through time; each column is known by its number."""

    names: list[str | None]

    def apply(self, step: str, pick: int, fresh: str) -> None:
        alive = [index for index, name in enumerate(self.names) if name is not None]
        match step:
            case "add":
                self.names.append(fresh)
            case "drop" if alive:
                self.names[alive[pick % len(alive)]] = None
            case "rename" if alive:
                self.names[alive[pick % len(alive)]] = fresh


STEPS = st.tuples(st.sampled_from(["add", "drop", "rename"]), st.integers(0, 9))


@given(st.integers(1, 5), st.lists(STEPS, max_size=4), st.lists(STEPS, max_size=4), st.data())
def test_a_number_that_is_given_is_right_whatever_happened(count, before, after, data):
    history = History([f"c{number}" for number in range(count)])
    fresh = (f"new {number}" for number in range(100))
    for step in before:
        history.apply(*step, next(fresh))
    columns = [
        (name, number) for number, name in enumerate(history.names, 1) if name is not None
    ]
    columns = [column for column in columns if data.draw(st.booleans())]
    for step in after:
        history.apply(*step, next(fresh))

    found = column_numbers([name for name, _ in columns], history.names)

    for number, (_name, right) in zip(found, columns, strict=True):
        assert number in {None, right}
