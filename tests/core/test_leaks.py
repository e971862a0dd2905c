"""What many short lives leave behind: nothing."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.cell import Cell
from actors.core.registry import Registry
from actors.core.spec import Backoff, Restart
from tests.support.stage import Crash, Question, Retire, Return, Watch, player, stage

LIVES = 10_000
AT_ONCE = 500


def cells():
    gc.collect()
    return sum(isinstance(thing, Cell) for thing in gc.get_objects())


@pytest.mark.slow
async def test_ten_thousand_short_lives_leave_nothing_behind():
    endings = (Return(), Crash(), Retire(), None)
    before = cells()
    async with stage() as here:
        registry = Registry(here.supervisor)
        host = here.start(player("host", capacity=AT_ONCE))
        tasks = trio.lowlevel.current_statistics().tasks_living
        for first in range(0, LIVES, AT_ONCE):
            for number in range(first, first + AT_ONCE):
                ref = registry.get_or_start(
                    number, lambda key: player(key, restart=Restart.TEMPORARY)
                )
                ref.tell(Watch(host))
                host.tell(Watch(ref))
                ending = endings[number % len(endings)]
                if ending is None:
                    await here.supervisor.stop_child(ref)
                else:
                    ref.tell(ending)
            await wait_all_tasks_blocked()
            del ref
        here.reports.clear()
        # What the host took last it still holds.
        await ask(host)

        assert [info.name for info in here.supervisor.children()] == ["host"]
        assert not host._cell.watchers
        assert not host._cell.watching
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert cells() == before + 1
    del here, host, registry
    assert cells() == before


@pytest.mark.slow
async def test_ten_thousand_questions_leave_nothing_behind():
    async with stage() as here:
        ref = here.start(player("one"))
        for _ in range(100):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(ask, ref)

        # Questions taken in one go are forgotten with the next one.
        await ask(ref)
        assert len(ref._cell._taken) == 1
        assert ref._cell.mailbox.statistics().queued == 0


async def ask(ref):
    await ref.ask(Question, within=9)


async def test_children_stopped_during_backoff_leave_no_task_behind():
    async with stage() as here:
        before = trio.lowlevel.current_statistics().tasks_living
        refs = [
            here.start(player(number, backoff=Backoff(first=1000))) for number in range(100)
        ]
        for ref in refs:
            ref.tell(Crash())
        await wait_all_tasks_blocked()
        for ref in refs:
            await here.supervisor.stop_child(ref)
        await wait_all_tasks_blocked()

        assert trio.lowlevel.current_statistics().tasks_living == before
