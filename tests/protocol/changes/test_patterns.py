from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.patterns import NamePattern

NAMES = st.text(alphabet="ab_%*\\.\n", max_size=6)


def like(pattern: str, name: str) -> bool:
    """SQL LIKE with an empty escape character, by its definition."""
    if not pattern:
        return not name
    head, rest = pattern[0], pattern[1:]
    if head == "%":
        return any(like(rest, name[start:]) for start in range(len(name) + 1))
    return bool(name) and head in ("_", name[0]) and like(rest, name[1:])


@given(pattern=NAMES, name=NAMES)
def test_a_pattern_matches_as_like_does(pattern, name):
    expected = pattern == "*" or like(pattern, name)

    assert NamePattern(pattern).matches(name) is expected


@pytest.mark.parametrize(
    ("text", "has_wildcards"),
    [("notes", False), ("my_notes", True), ("no%", True), ("*", True), ("no*es", False)],
)
def test_a_pattern_knows_whether_it_can_match_more_than_one_name(text, has_wildcards):
    assert NamePattern(text).has_wildcards is has_wildcards


def test_a_pattern_longer_than_any_name_matches_nothing():
    assert not NamePattern("_" * 64 + "%").matches("a" * 64)
    assert NamePattern("%" * 200_000 + "a").matches("a")


def test_a_hostile_pattern_takes_no_longer_than_another():
    pattern = NamePattern("%a" * 30 + "b")
    started = time.perf_counter()

    assert not pattern.matches("a" * 63)

    assert time.perf_counter() - started < 0.1


def test_equal_patterns_are_equal():
    assert NamePattern("a_b") == NamePattern("a_b")
    assert len({NamePattern("a"), NamePattern("a"), NamePattern("b")}) == 2
    assert re.search("a_b", repr(NamePattern("a_b")))
