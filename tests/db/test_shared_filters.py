"""Filters that many ask about at once."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.db.shared_filters import LANES, SharedFilters
from actors.realtime.change_ports import FilterRequest
from actors.realtime.errors import DatabaseUnavailable


class SlowFilters:
    """Answers when told to, with what it was asked."""

    def __init__(self):
        self.calls = []
        self.gate = trio.Event()
        self.error = None

    async def compile(self, requests):
        self.calls.append(list(requests))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [f"compiled {request.relation_oid}" for request in requests]

    async def judge(self, questions):
        self.calls.append(list(questions))
        await self.gate.wait()
        return [values[0] == "1" for _, values in questions]


def request(number):
    return FilterRequest(number, "anon", ())


async def ask_all(ask, questions):
    """Ask each question at the same time as the others; return the answers in their order."""
    answers = {}

    async def one(place, question):
        answers[place] = await ask(question)

    async with trio.open_nursery() as nursery:
        for place, question in enumerate(questions):
            nursery.start_soon(one, place, question)
    return [answers[place] for place in range(len(questions))]


async def test_many_requests_are_few_statements_and_each_is_asked_once(autojump_clock):
    inner = SlowFilters()
    inner.gate.set()
    filters = SharedFilters(inner)

    found = await ask_all(filters.compile, [[request(number % 7)] for number in range(500)])

    assert found == [[f"compiled {number % 7}"] for number in range(500)]
    assert len(inner.calls) <= 2 * LANES
    assert all(len(call) <= 7 for call in inner.calls)


async def test_rows_are_judged_together_and_answered_in_order(autojump_clock):
    inner = SlowFilters()
    inner.gate.set()
    filters = SharedFilters(inner)
    questions = [[(object, [str(number % 2)]), (object, ["1"])] for number in range(100)]

    found = await ask_all(filters.judge, questions)

    assert found == [[number % 2 == 1, True] for number in range(100)]
    assert len(inner.calls) <= 2 * LANES


async def test_who_waits_behind_something_slow_is_in_one_lane_only(autojump_clock):
    inner = SlowFilters()
    filters = SharedFilters(inner)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(filters.compile, [request(1)])
        await trio.testing.wait_all_tasks_blocked()
        slow, inner.gate = inner.gate, trio.Event()
        inner.gate.set()

        with trio.fail_after(1):
            assert await filters.compile([request(2)]) == ["compiled 2"]
        slow.set()


async def test_a_database_that_is_away_is_away_for_everybody_who_asked(autojump_clock):
    inner = SlowFilters()
    inner.error = DatabaseUnavailable("away")
    inner.gate.set()
    filters = SharedFilters(inner)

    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await filters.compile([request(1)])


async def test_nothing_is_asked_for_nothing(autojump_clock):
    inner = SlowFilters()

    assert await SharedFilters(inner).compile([]) == []
    assert inner.calls == []
