"""What an actor sees of its mailbox: checkpoints, batches, retiring."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.inbox import ITEMS_PER_CHECKPOINT
from actors.core.registry import Registry
from actors.core.reports import CrashReport
from actors.core.signals import Stopping
from tests.support.stage import Crash, Retire, Watch, player, role, stage


class Turns(trio.abc.Instrument):
    """Notes how long a diary was after each turn of any task."""

    def __init__(self, diary):
        self._diary = diary
        self._lengths = [0]

    def after_task_step(self, task):
        self._lengths.append(len(self._diary))

    def longest(self):
        return max(after - before for before, after in pairwise(self._lengths))


async def take_all(inbox, diary):
    async for item in inbox:
        diary.append(item)


async def take_batch(inbox, limit, diary):
    async for item in inbox.batch(limit):
        diary.append(item)


async def longest_turn(run, messages):
    """Return how many messages an actor takes at most in one turn."""
    diary = []
    turns = Turns(diary)
    async with stage() as here:
        ref = here.start(role("busy", lambda inbox: run(inbox, diary), stop_within=0))
        for number in range(messages):
            ref.tell(number)
        trio.lowlevel.add_instrument(turns)
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(turns)

        assert diary == list(range(messages))
        return turns.longest()


async def test_up_to_64_messages_are_taken_between_two_checkpoints():
    assert await longest_turn(take_all, 500) == ITEMS_PER_CHECKPOINT == 64


@pytest.mark.parametrize("limit", [1, 10, 63, 64, 1000])
async def test_up_to_64_messages_are_taken_between_two_checkpoints_in_batches_too(limit):
    async def run(inbox, diary):
        while True:
            await take_batch(inbox, limit, diary)

    assert await longest_turn(run, 500) == 64


async def test_cancelled_checkpoint_takes_no_message():
    taken = []

    async def run(inbox):
        async for item in inbox:
            taken.append(item)
            if len(taken) == ITEMS_PER_CHECKPOINT:
                # The next turn of the loop is a checkpoint: it ends the actor before a take.
                here.supervisor.fail(inbox.ref, RuntimeError("charged"))
            if inbox.incarnation == 2:
                break
        await trio.sleep_forever()

    async with stage() as here:
        ref = here.start(role("cancelled", run, stop_within=0))
        for number in range(ITEMS_PER_CHECKPOINT + 5):
            ref.tell(number)
        await wait_all_tasks_blocked()

        assert taken == list(range(ITEMS_PER_CHECKPOINT + 1))
        assert here.reported(CrashReport)[0].message is None


async def test_message_that_wakes_an_actor_as_it_is_cancelled_is_handled():
    diary = []
    async with stage() as here:
        ref = here.start(player("woken", diary))
        await wait_all_tasks_blocked()
        ref.tell("first")
        here.supervisor.fail(ref, RuntimeError("charged"))
        ref.tell("second")
        await wait_all_tasks_blocked()

        assert diary == ["first", "second"]


async def test_message_that_comes_after_the_cancellation_waits_for_the_next_incarnation():
    lives = []

    async def run(inbox):
        lives.append(inbox.incarnation)
        await take_all(inbox, lives)

    async with stage() as here:
        ref = here.start(role("cancelled", run, stop_within=0))
        await wait_all_tasks_blocked()
        here.supervisor.fail(ref, RuntimeError("charged"))
        ref.tell("after")
        await wait_all_tasks_blocked()

        assert lives == [1, 2, "after"]


async def batches_of(messages, limit):
    batches = []

    async def run(inbox):
        while True:
            batch = [item async for item in inbox.batch(limit)]
            batches.append(batch)

    async with stage() as here:
        ref = here.start(role("batching", run, stop_within=0))
        for message in messages:
            ref.tell(message)
        await wait_all_tasks_blocked()
    return [batch for batch in batches if Stopping not in map(type, batch)]


async def test_batch_is_what_is_queued_up_to_its_limit():
    assert await batches_of(range(7), 3) == [[0, 1, 2], [3, 4, 5], [6]]


async def test_batch_waits_for_its_first_item_only():
    assert await batches_of([1], 64) == [[1]]


async def test_batch_of_none_is_refused():
    async def run(inbox):
        inbox.batch(0)

    async with stage() as here:
        here.start(role("wrong", run))
        await wait_all_tasks_blocked()

        assert here.reported(CrashReport)[0].error == "ValueError"


async def test_a_crash_inside_a_batch_loses_only_the_message_in_hand():
    handled = []

    async def run(inbox):
        while True:
            async for item in inbox.batch(64):
                if isinstance(item, Stopping):
                    return
                if isinstance(item, Crash):
                    raise item.error
                handled.append((inbox.incarnation, item))

    async with stage() as here:
        ref = here.start(role("batching", run))
        for message in ("a", "b", Crash(), "c", "d"):
            ref.tell(message)
        await wait_all_tasks_blocked()

        assert handled == [(1, "a"), (1, "b"), (2, "c"), (2, "d")]
        assert here.reported(CrashReport)[0].message == "Crash"


@pytest.mark.parametrize("limit", [2, 64])
async def test_a_crash_after_a_batch_loses_nothing(limit):
    handled = []

    async def run(inbox):
        await take_batch(inbox, limit, handled)
        if inbox.incarnation == 1:
            raise RuntimeError("between two batches")
        await trio.sleep_forever()

    async with stage() as here:
        ref = here.start(role("batching", run, stop_within=0))
        for number in range(2):
            ref.tell(number)
        await wait_all_tasks_blocked()
        for number in range(2, 4):
            ref.tell(number)
        await wait_all_tasks_blocked()

        assert handled == [0, 1, 2, 3]
        assert here.reported(CrashReport)[0].message is None


async def test_a_crash_over_a_signal_has_no_message_in_hand():
    async def run(inbox):
        async for item in inbox:
            assert item == "dealt with"

    async with stage() as here:
        ref = here.start(role("one", run))
        ref.tell("dealt with")
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(ref)

        [crash] = here.reported(CrashReport)
        assert (crash.error, crash.message) == ("AssertionError", None)


async def test_poison_inside_a_batch_is_a_crash():
    handled = []

    async def run(inbox):
        while True:
            await take_batch(inbox, 64, handled)

    async with stage() as here:
        ref = here.start(role("batching", run, stop_within=0))
        ref.tell("a")
        assert here.supervisor.poison(ref)
        ref.tell("b")
        await wait_all_tasks_blocked()

        assert handled == ["a", "b"]
        assert [crash.error for crash in here.reported(CrashReport)] == ["Poisoned"]


async def test_retire_never_loses_a_message():
    """Somebody looks the actor up and tells it something, at every distance from its retirement."""
    heard = []

    def spec(key):
        return player(key, heard)

    async with stage() as here:
        registry = Registry(here.supervisor)
        told = 0
        for distance in range(12):
            for _ in range(20):
                registry.get_or_start("idle", spec).tell(Retire())
                for _ in range(distance):
                    await trio.lowlevel.checkpoint()
                ref = registry.get_or_start("idle", spec)
                assert ref.tell(told)
                told += 1
        await wait_all_tasks_blocked()

    assert [item for item in heard if isinstance(item, int)] == list(range(told))


@pytest.mark.parametrize("queued", ["a message", Watch])
async def test_actor_with_something_queued_does_not_retire(queued):
    answers = []
    gate = trio.Event()

    async def run(inbox):
        if queued is Watch:
            inbox.watch(target)
        await gate.wait()
        answers.append(inbox.retire())
        await trio.sleep_forever()

    async with stage() as here:
        target = here.start(player("target"))
        ref = here.start(role("idle", run, stop_within=0))
        await wait_all_tasks_blocked()
        if queued is Watch:
            await here.supervisor.stop_child(target)
        else:
            ref.tell(queued)
        gate.set()
        await wait_all_tasks_blocked()

        assert answers == [False]
        assert ref.alive


async def test_iteration_ends_after_retiring():
    events = []

    async def run(inbox):
        assert inbox.retire()
        await take_all(inbox, events)
        events.append("end")

    async with stage() as here:
        ref = here.start(role("idle", run))
        await wait_all_tasks_blocked()

        assert events == ["end"]
        assert not ref.alive
        assert here.reports == []


async def test_batch_after_retiring_is_a_crash_and_no_busy_loop():
    async def run(inbox):
        assert inbox.retire()
        while True:
            async for _ in inbox.batch(64):
                pass

    async with stage() as here:
        ref = here.start(role("idle", run))
        with trio.move_on_after(1):
            await wait_all_tasks_blocked()

        assert [crash.error for crash in here.reported(CrashReport)] == ["RuntimeError"]
        assert not ref.alive
        assert here.supervisor.children() == ()


async def test_iteration_ends_when_another_task_of_the_actor_retires_it():
    async def run(inbox):
        async def idle_out():
            await trio.sleep(60)
            inbox.retire()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(idle_out)
            async for _ in inbox:
                pass

    async with stage() as here:
        here.start(role("idle", run))
        await trio.sleep(61)

        assert here.supervisor.children() == ()
        assert here.reports == []


async def test_actor_sees_its_own_figures():
    seen = []

    async def run(inbox):
        async for _ in inbox:
            seen.append(inbox.statistics())
            break
        await trio.sleep_forever()

    async with stage() as here:
        ref = here.start(role("curious", run, capacity=2, stop_within=0))
        for _ in range(3):
            ref.tell("x")
        await wait_all_tasks_blocked()

    assert (seen[0].queued, seen[0].capacity, seen[0].rejected) == (1, 2, 1)
