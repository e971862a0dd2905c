"""Watching: who learns of whose restart and end, and when."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.signals import Reason, Restarted, Stopping, Terminated
from actors.core.spec import Backoff, Intensity, Restart
from tests.support.stage import Crash, Retire, Return, Unwatch, Watch, player, role, stage


def signals(diary):
    return [item for item in diary if isinstance(item, Restarted | Terminated)]


async def watched(here, diary, **options):
    """Start a target and a watcher that watches it."""
    target = here.start(player("target", **options))
    watcher = here.start(player("watcher", diary))
    watcher.tell(Watch(target))
    await wait_all_tasks_blocked()
    return target, watcher


async def test_watcher_learns_of_a_restart():
    diary = []
    async with stage() as here:
        target, _ = await watched(here, diary)
        target.tell(Crash())
        await wait_all_tasks_blocked()

        assert signals(diary) == [Restarted(target, 2)]


async def test_restart_is_announced_before_the_next_message_is_taken():
    events = []

    async def target_run(inbox):
        async for item in inbox:
            match item:
                case Crash(error):
                    raise error
                case Stopping():
                    return
            # What lies in the watcher's lane when the new incarnation takes a message.
            events.append((item, list(watcher._cell.mailbox.signals)))

    async def deaf(inbox):
        async for item in inbox:
            if isinstance(item, Watch):
                inbox.watch(item.ref)
                await trio.sleep_forever()

    async with stage() as here:
        target = here.start(role("target", target_run))
        watcher = here.start(role("watcher", deaf, stop_within=0))
        watcher.tell(Watch(target))
        await wait_all_tasks_blocked()
        target.tell(Crash())
        target.tell("queued")
        await wait_all_tasks_blocked()

        assert events == [("queued", [Restarted(target, 2)])]


@pytest.mark.parametrize(
    ("ending", "reason"),
    [(Return(), Reason.RETURNED), (Retire(), Reason.RETURNED), (Crash(), Reason.GAVE_UP)],
    ids=["return", "retire", "crash"],
)
async def test_watcher_learns_why_an_actor_is_gone(ending, reason):
    diary = []
    async with stage() as here:
        target, _ = await watched(here, diary, restart=Restart.TEMPORARY)
        target.tell(ending)
        await wait_all_tasks_blocked()

        assert signals(diary) == [Terminated(target, reason)]


async def test_watcher_learns_that_an_actor_was_stopped():
    diary = []
    async with stage() as here:
        target, _ = await watched(here, diary)
        await here.supervisor.stop_child(target)
        await wait_all_tasks_blocked()

        assert signals(diary) == [Terminated(target, Reason.STOPPED)]


@pytest.mark.parametrize(
    ("ending", "reason"),
    [(Return(), Reason.RETURNED), (Crash(), Reason.GAVE_UP)],
    ids=["return", "crash"],
)
async def test_watching_a_dead_ref_delivers_terminated_at_once(ending, reason):
    diary = []
    async with stage() as here:
        target = here.start(player("target", restart=Restart.TEMPORARY))
        target.tell(ending)
        await wait_all_tasks_blocked()
        watcher = here.start(player("watcher", diary))
        watcher.tell(Watch(target))
        watcher.tell("queued before the watch")
        await wait_all_tasks_blocked()

        assert diary == [Watch(target), Terminated(target, reason), "queued before the watch"]


async def test_watching_twice_is_watching_once():
    diary = []
    async with stage() as here:
        target, watcher = await watched(here, diary)
        watcher.tell(Watch(target))
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(target)
        await wait_all_tasks_blocked()

        assert len(signals(diary)) == 1


async def test_who_unwatches_learns_nothing():
    diary = []
    async with stage() as here:
        target, watcher = await watched(here, diary)
        watcher.tell(Unwatch(target))
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(target)
        await wait_all_tasks_blocked()

        assert signals(diary) == []


async def test_watch_outlives_the_watchers_incarnation():
    diary = []
    async with stage() as here:
        target, watcher = await watched(here, diary)
        watcher.tell(Crash())
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(target)
        await wait_all_tasks_blocked()

        assert signals(diary) == [Terminated(target, Reason.STOPPED)]


async def test_signal_that_comes_while_the_watcher_is_down_waits_for_it():
    diary = []
    async with stage() as here:
        target = here.start(player("target"))
        watcher = here.start(player("watcher", diary, backoff=Backoff(first=10)))
        watcher.tell(Watch(target))
        watcher.tell(Crash())
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(target)
        await trio.sleep(11)

        assert signals(diary) == [Terminated(target, Reason.STOPPED)]


async def test_dead_actor_leaves_every_watcher_set():
    async with stage() as here:
        target, watcher = await watched(here, [])
        assert list(target._cell.watchers) == [watcher._cell]
        await here.supervisor.stop_child(watcher)

        assert not target._cell.watchers
        assert not watcher._cell.watching


async def test_actor_knows_its_watchers():
    seen = []

    async def run(inbox):
        async for item in inbox:
            if isinstance(item, Stopping):
                return
            seen.append(inbox.watchers())

    async with stage() as here:
        target = here.start(role("target", run))
        watcher = here.start(player("watcher"))
        watcher.tell(Watch(target))
        await wait_all_tasks_blocked()
        target.tell("look")
        await wait_all_tasks_blocked()

        assert seen == [frozenset({watcher})]


async def test_actor_that_gave_up_tells_all_watchers():
    diaries = [[], []]
    async with stage(intensity=Intensity(restarts=0)) as here:
        target = here.start(player("target"))
        for number, diary in enumerate(diaries):
            here.start(player(number, diary)).tell(Watch(target))
        await wait_all_tasks_blocked()
        target.tell(Crash())
        await wait_all_tasks_blocked()

        assert [signals(diary) for diary in diaries] == [
            [Terminated(target, Reason.GAVE_UP)]
        ] * 2


@pytest.mark.parametrize("order", ["watched when it dies", "dead when watched"])
async def test_terminated_overtaking_attach_leaves_no_ghost(order):
    """A channel that watches before it writes an entry never keeps one of somebody who is gone."""
    roster = set()
    gate = trio.Event()

    async def channel(inbox):
        await gate.wait()
        async for item in inbox:
            match item:
                case ("attach", connection):
                    inbox.watch(connection)
                    roster.add(connection)
                case Terminated(ref):
                    roster.discard(ref)
                case Stopping():
                    return

    async with stage() as here:
        ref = here.start(role("channel", channel))
        connections = [here.start(player(number)) for number in range(3)]
        if order == "watched when it dies":
            # The first attach is handled while the connection lives; a second one is queued as it dies.
            gate.set()
            for connection in connections:
                ref.tell(("attach", connection))
            await wait_all_tasks_blocked()
            assert roster == set(connections)
        for connection in connections:
            ref.tell(("attach", connection))
            await here.supervisor.stop_child(connection)
        gate.set()
        await wait_all_tasks_blocked()

        assert roster == set()
