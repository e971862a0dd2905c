"""What everybody is told, folded as phoenix.js folds it, is what is tracked."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.presence.meta import Meta
from protocol.presence.published import Published
from tests.support.presence import Folded

OWNERS = st.integers(0, 4)
KEYS = ("a", "b")
NO_LIMIT = 1 << 30
STEPS = st.lists(
    st.tuples(st.just("track"), OWNERS, st.integers(0, 2))
    | st.tuples(st.just("untrack"), OWNERS)
    | st.tuples(st.just("publish"), st.sampled_from([1, 100, NO_LIMIT]))
    | st.tuples(st.just("join")),
    max_size=40,
)


def meta(key: str, ref: str, payload: bytes = b"{}") -> Meta:
    return Meta(key, payload, ref)


class Topic:
    """A topic whose members fold what they are told, and the truth about who is present."""

    def __init__(self) -> None:
        self.published: Published[int] = Published()
        self.tracked: dict[int, Meta] = {}
        self.members = [self.newcomer()]
        self._refs = map(str, itertools.count())

    def newcomer(self) -> Folded:
        folded = Folded()
        folded.take_state(json.loads(self.published.state()))
        return folded

    def track(self, owner: int, number: int) -> None:
        tracked = meta(KEYS[owner % 2], next(self._refs), b'{"n":%d}' % number)
        self.tracked[owner] = tracked
        self.published.note(owner, tracked)

    def untrack(self, owner: int) -> None:
        self.tracked.pop(owner, None)
        self.published.note(owner, None)

    def publish(self, limit: int) -> None:
        diff = self.published.next_diff(limit)
        if diff is None:
            return
        event = diff.event()
        for folded in self.members:
            folded.take_diff(
                {"joins": json.loads(event.joins), "leaves": json.loads(event.leaves)}
            )
        self.published.confirm(diff)

    def step(self, what: str, *details: int) -> None:
        match what:
            case "join":
                self.members.append(self.newcomer())
            case _:
                getattr(self, what)(*details)


@given(STEPS)
def test_everybody_sees_who_is_tracked_whenever_they_came(steps):
    topic = Topic()
    for step in steps:
        topic.step(*step)
    while topic.published.is_pending:
        topic.publish(1)

    refs = {tracked.ref for tracked in topic.tracked.values()}
    for folded in [*topic.members, topic.newcomer()]:
        assert folded.refs() == refs
        assert folded.faults == []
        assert folded.payloads() == {
            tracked.ref: json.loads(tracked.payload) for tracked in topic.tracked.values()
        }


def test_what_came_and_went_unseen_is_never_told():
    published: Published[int] = Published()
    published.note(1, meta("a", "r1"))
    published.note(1, meta("a", "r2"))
    published.note(1, None)

    assert not published.is_pending
    assert published.next_diff(NO_LIMIT) is None


@pytest.mark.capability("M5-009")
def test_an_update_names_the_meta_that_everybody_knows():
    published: Published[int] = Published()
    published.note(1, meta("a", "r1"))
    published.confirm(published.next_diff(NO_LIMIT))
    published.note(1, meta("a", "r2"))
    published.note(1, meta("a", "r3"))

    event = published.next_diff(NO_LIMIT).event()
    assert event.joins == b'{"a":{"metas":[{"phx_ref":"r3","phx_ref_prev":"r1"}]}}'
    assert event.leaves == b'{"a":{"metas":[{"phx_ref":"r1"}]}}'


def test_a_diff_that_was_not_confirmed_comes_again():
    published: Published[int] = Published()
    published.note(1, meta("a", "r1"))

    first, again = published.next_diff(NO_LIMIT), published.next_diff(NO_LIMIT)
    assert first.event() == again.event()
    assert published.state() == b"{}"


def test_several_owners_of_one_key_are_metas_of_one_member():
    published: Published[int] = Published()
    published.note(1, meta("a", "r1"))
    published.note(2, meta("a", "r2"))
    published.confirm(published.next_diff(NO_LIMIT))

    assert published.state() == b'{"a":{"metas":[{"phx_ref":"r1"},{"phx_ref":"r2"}]}}'


def test_a_large_diff_comes_in_pieces_that_end_with_an_owner():
    published: Published[int] = Published()
    for owner in range(100):
        published.note(owner, meta(str(owner), "r", b'{"x":"0123456789"}'))

    diff = published.next_diff(1000)

    assert 1000 <= sum(len(shown.entry) for shown in diff.joins.values()) < 1100


def test_keys_that_are_gone_leave_nothing_behind():
    published: Published[int] = Published()
    for number in range(100):
        published.note(1, meta(str(number), str(number)))
        published.confirm(published.next_diff(NO_LIMIT))
    published.note(1, None)
    published.confirm(published.next_diff(NO_LIMIT))

    tables = [value for value in vars(published).values() if isinstance(value, dict | set)]
    assert [len(table) for table in tables] == [0] * len(tables)


@given(STEPS)
def test_a_diff_says_which_of_its_keys_were_present_before_and_are_after_it(steps):
    topic = Topic()
    present: set[str] = set()
    for kind, *details in steps:
        if kind != "publish":
            topic.step(kind, *details)
            continue
        diff = topic.published.next_diff(*details)
        if diff is None:
            continue
        event = diff.event()
        named = {*json.loads(event.joins), *json.loads(event.leaves)}
        topic.published.confirm(diff)
        after = set(json.loads(topic.published.state()))

        assert (event.known, event.remaining) == (named & present, named & after)
        present = after
