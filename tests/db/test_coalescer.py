from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.db.coalescer import Coalescer
from actors.realtime.errors import DatabaseUnavailable


class Oracle:
    """Answers a batch with the batch itself, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = trio.Event()

    async def answer_all(self, requests):
        self.batches.append(list(requests))
        await self.gate.wait()
        if "away" in requests:
            raise DatabaseUnavailable("away")
        if "bug" in requests:
            raise ZeroDivisionError
        return list(requests)


async def ask(coalescer, request, outcomes):
    try:
        outcomes[request] = await coalescer.answer(request)
    except (DatabaseUnavailable, ZeroDivisionError) as error:
        outcomes[request] = type(error)


async def play(*rounds):
    """Ask each round once the rounds before are in flight or wait; return the batches and who was answered what."""
    oracle, outcomes = Oracle(), {}
    coalescer = Coalescer(oracle.answer_all)
    async with trio.open_nursery() as nursery:
        for requests in rounds:
            for request in requests:
                nursery.start_soon(ask, coalescer, request, outcomes)
            await wait_all_tasks_blocked()
        oracle.gate.set()
    return oracle.batches, outcomes


async def test_a_question_goes_out_at_once_when_none_is_in_flight(autojump_clock):
    batches, outcomes = await play(["a"])

    assert (batches, outcomes) == ([["a"]], {"a": ["a"]})


async def test_what_arrives_meanwhile_goes_together_with_the_next(autojump_clock):
    batches, outcomes = await play(["a"], ["b"], ["c"])

    assert batches == [["a"], ["b", "c"]]
    assert outcomes == {"a": ["a"], "b": ["b", "c"], "c": ["b", "c"]}


async def test_a_refusal_is_for_the_whole_batch(autojump_clock):
    batches, outcomes = await play(["a"], ["b"], ["away"])

    assert batches == [["a"], ["b", "away"]]
    assert outcomes == {"a": ["a"], "b": DatabaseUnavailable, "away": DatabaseUnavailable}


async def test_a_bug_stays_with_whom_it_belongs_to(autojump_clock):
    batches, outcomes = await play(["a"], ["bug"], ["b"], ["c"])

    assert batches == [["a"], ["bug", "b", "c"], ["b"], ["c"]]
    assert outcomes == {"a": ["a"], "bug": ZeroDivisionError, "b": ["b"], "c": ["c"]}


@pytest.mark.parametrize("cancelled", ["a", "b"])
async def test_who_is_cancelled_leaves_the_others_their_answer(autojump_clock, cancelled):
    oracle, outcomes = Oracle(), {}
    coalescer = Coalescer(oracle.answer_all)
    async with trio.open_nursery() as nursery:
        scopes = {}

        async def ask_within(request):
            with scopes.setdefault(request, trio.CancelScope()):
                await ask(coalescer, request, outcomes)

        nursery.start_soon(ask_within, "a")
        await wait_all_tasks_blocked()
        nursery.start_soon(ask_within, "b")
        nursery.start_soon(ask_within, "c")
        await wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        await wait_all_tasks_blocked()
        oracle.gate.set()

    assert outcomes.keys() == {"a", "b", "c"} - {cancelled}
    assert all(request in answer for request, answer in outcomes.items())


async def test_a_batch_whose_asker_is_cancelled_is_asked_again(autojump_clock):
    oracle, outcomes = Oracle(), {}
    coalescer = Coalescer(oracle.answer_all)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                for request in ("a", "b"):
                    nursery.start_soon(ask, coalescer, request, outcomes)
                    await wait_all_tasks_blocked()
                first.start_soon(ask, coalescer, "c", outcomes)
                await wait_all_tasks_blocked()
                scope.cancel()
        oracle.gate.set()

    assert outcomes == {"a": ["a"], "b": ["b", "c"]}
