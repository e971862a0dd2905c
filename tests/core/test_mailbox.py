"""Bounds, order and room: what a mailbox takes, what it refuses, and who waits."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.errors import ActorStopped
from actors.core.mailbox import Mailbox, WeightPool
from actors.core.signals import Reason, Stopping, Terminated
from actors.core.spec import Backoff, Overflow
from tests.support.stage import Crash, Watch, player, role, stage

SIGNAL = Stopping(0.0)


def filled(*messages, capacity=None):
    mailbox = Mailbox(capacity or len(messages))
    for message in messages:
        assert mailbox.put_nowait(message)
    return mailbox


def drained(mailbox):
    messages = []
    while (queued := mailbox.take_nowait()) is not None:
        messages.append(queued[0])
    return messages


async def deaf(inbox):
    await trio.sleep_forever()


def test_messages_leave_in_the_order_they_came():
    mailbox = filled("a", "b", "c")

    assert drained(mailbox) == ["a", "b", "c"]
    assert mailbox.is_empty


def test_full_mailbox_refuses():
    mailbox = filled("a", "b")

    assert not mailbox.put_nowait("c")
    assert drained(mailbox) == ["a", "b"]


async def test_refused_tell_is_counted():
    async with stage() as here:
        ref = here.start(role("deaf", deaf, capacity=1, stop_within=0))

        assert [ref.tell(number) for number in range(3)] == [True, False, False]
        [info] = here.supervisor.children()
        assert info.mailbox.queued == 1
        assert info.mailbox.rejected == 2


async def test_what_lies_in_a_mailbox_that_closes_is_counted_as_rejected():
    async with stage() as here:
        ref = here.start(role("deaf", deaf, stop_within=0))
        ref.tell("never taken")
        await here.supervisor.stop_child(ref)

        assert ref._cell.mailbox.statistics().rejected == 1


async def test_signals_overtake_a_full_mailbox():
    diary = []
    gate = trio.Event()

    async def watching(inbox):
        inbox.watch(target)
        await gate.wait()
        async for item in inbox:
            diary.append(item)  # noqa: PERF401  # each as it is taken

    async with stage() as here:
        target = here.start(player("target"))
        watcher = here.start(role("watcher", watching, capacity=3, stop_within=0))
        await wait_all_tasks_blocked()
        assert [watcher.tell(number) for number in range(4)] == [True, True, True, False]
        await here.supervisor.stop_child(target)
        gate.set()
        await wait_all_tasks_blocked()

        assert diary == [Terminated(target, Reason.STOPPED), 0, 1, 2]


async def test_signal_overtakes_a_message_that_woke_the_actor():
    diary = []
    async with stage() as here:
        target = here.start(player("target"))
        watcher = here.start(player("watcher", diary))
        watcher.tell(Watch(target))
        await wait_all_tasks_blocked()
        diary.clear()
        watcher.tell("wakes")
        # Nobody ran since: the actor is on its way to the message, but has not taken it.
        watcher._cell.mailbox.put_signal(SIGNAL)
        await wait_all_tasks_blocked()

        assert diary == [SIGNAL]


async def test_sender_waits_for_room_and_gets_in_by_a_take():
    mailbox = filled("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, "b")
        await wait_all_tasks_blocked()
        mailbox.take_nowait()

    assert drained(mailbox) == ["b"]


async def test_senders_get_in_in_the_order_they_came():
    mailbox = filled("full")
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(mailbox.put, number)
            await wait_all_tasks_blocked()

        taken = drained(mailbox)
    assert taken == ["full", 0, 1, 2, 3, 4]


async def test_tell_does_not_overtake_a_sender_that_waits():
    mailbox = filled("a", "b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, "waited")
        await wait_all_tasks_blocked()
        mailbox.take_nowait()

        assert not mailbox.put_nowait("pushy")
        assert drained(mailbox) == ["b", "waited"]


async def test_cancelled_sender_leaves_no_message():
    mailbox = filled("a")
    with trio.move_on_after(1) as scope:
        await mailbox.put("b")

    assert scope.cancelled_caught
    assert drained(mailbox) == ["a"]


async def test_sender_that_got_in_is_not_cancelled_any_more():
    mailbox = filled("a")
    outcomes = []

    async def send(scope):
        with scope:
            outcomes.append(await mailbox.put("b"))

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, scope)
        await wait_all_tasks_blocked()
        mailbox.take_nowait()
        scope.cancel()

    assert outcomes == [True]
    assert drained(mailbox) == ["b"]


async def test_senders_that_wait_when_the_mailbox_closes_learn_that_the_actor_stopped():
    outcomes = []

    async def send(ref, message):
        with pytest.raises(ActorStopped):
            await ref.send(message)
        outcomes.append(message)

    async with stage() as here, trio.open_nursery() as nursery:
        ref = here.start(role("deaf", deaf, capacity=1, stop_within=0))
        ref.tell("fills it")
        nursery.start_soon(send, ref, 1)
        nursery.start_soon(send, ref, 2)
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(ref)

    assert sorted(outcomes) == [1, 2]


async def test_sender_that_got_in_before_the_actor_retired_is_heard():
    diary = []
    gate = trio.Event()

    async def run(inbox):
        await gate.wait()
        async for item in inbox:
            diary.append(item)
            if inbox.retire():
                return

    async with stage() as here, trio.open_nursery() as nursery:
        ref = here.start(role("retiring", run, capacity=1))
        ref.tell("queued")
        nursery.start_soon(ref.send, "waited")
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()

        assert diary == ["queued", "waited"]
        assert not ref.alive


async def test_overflow_can_stop_the_receiver():
    async with stage() as here:
        ref = here.start(role("slow", deaf, capacity=1, overflow=Overflow.STOP, stop_within=3))
        ref.tell("fills it")
        assert not ref.tell("too much")
        assert ref.alive
        await trio.sleep(3.1)

        assert not ref.alive
        assert here.supervisor.find("slow") is None


async def test_overflow_during_backoff_stops_the_receiver_too():
    diary = []
    async with stage() as here:
        ref = here.start(
            player("slow", diary, capacity=1, overflow=Overflow.STOP, backoff=Backoff(first=10))
        )
        ref.tell(Crash())
        await wait_all_tasks_blocked()
        assert ref.tell("fills it")
        ref.tell("too much")
        await trio.sleep(20)

        assert not ref.alive
        assert "fills it" not in diary


def weighed(limit, pool=None, capacity=100):
    return Mailbox(capacity, weigh=len, weight_limit=limit, pool=pool)


def test_mailbox_is_bounded_by_weight_as_well():
    mailbox = weighed(10)
    answers = [
        mailbox.put_nowait(b"four"),
        mailbox.put_nowait(b"four"),
        mailbox.put_nowait(b"four"),
    ]

    assert answers == [True, True, False]
    assert mailbox.statistics().weight == 8


def test_taking_makes_room_by_weight():
    mailbox = weighed(4)
    mailbox.put_nowait(b"four")
    mailbox.take_nowait()

    assert mailbox.put_nowait(b"more")


def test_empty_mailbox_takes_a_message_of_any_weight():
    mailbox = weighed(4)

    assert mailbox.put_nowait(b"more than four")
    assert not mailbox.put_nowait(b"")


def test_pool_bounds_mailboxes_together():
    pool = WeightPool(limit=10)
    one, other = weighed(10, pool), weighed(10, pool)
    one.put_nowait(b"123456")
    other.put_nowait(b"1")

    assert not other.put_nowait(b"1234")
    assert pool.used == 7


def test_closed_mailbox_gives_its_weight_back_to_the_pool():
    pool = WeightPool(limit=10)
    mailbox = weighed(10, pool)
    mailbox.put_nowait(b"123")
    mailbox.put_nowait(b"456")
    mailbox.close()

    assert pool.used == 0


async def test_sender_that_waits_for_weight_is_served_although_another_mailbox_keeps_the_pool():
    pool = WeightPool(limit=10)
    hoarder, mailbox = weighed(10, pool), weighed(10, pool)
    hoarder.put_nowait(b"123456789")
    mailbox.put_nowait(b"1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, b"12345")
        await wait_all_tasks_blocked()
        mailbox.take_nowait()

    assert drained(mailbox) == [b"12345"]


async def test_light_message_does_not_overtake_a_heavy_one_that_waits():
    mailbox = weighed(4)
    mailbox.put_nowait(b"12")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, b"heavy")
        await wait_all_tasks_blocked()
        assert not mailbox.put_nowait(b"1")
        mailbox.take_nowait()

    assert drained(mailbox) == [b"heavy"]


async def test_one_heavy_take_makes_room_for_many_light_senders():
    mailbox = weighed(3)
    mailbox.put_nowait(b"123")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(mailbox.put, b"1")
        await wait_all_tasks_blocked()
        mailbox.take_nowait()

    assert mailbox.statistics().queued == 3


async def test_two_tasks_cannot_wait_at_one_inbox():
    mailbox = Mailbox(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.wait_filled)
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="another task waits"):
            await mailbox.wait_filled()
        mailbox.put_nowait("a")
