"""A supervisor as a child of another one."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.branch import Branch
from actors.core.errors import ActorStopped, RestartLimitReached
from actors.core.registry import Registry
from actors.core.reports import CrashReport, OverdueReport
from actors.core.signals import Reason, Stopping, Terminated
from actors.core.spec import ChildSpec, Intensity, Strategy
from actors.core.supervisor import Supervisor
from tests.support.stage import Crash, Question, Watch, player, role, stage


async def play(inbox):
    """Say ready, and do what the messages say."""
    inbox.ready()
    async for item in inbox:
        match item:
            case Crash():
                raise item.error
            case Question():
                item.reply.set(inbox.incarnation)
            case Stopping():
                return


def branch(name, supervisor, *specs, **options):
    return ChildSpec(name=name, factory=lambda: Branch(supervisor, specs), rank=1, **options)


def quiet_supervisor(**options):
    return Supervisor(random=Random(1), observe=lambda report: None, **options)


async def test_branch_is_ready_when_its_children_are():
    events = []

    async def slow(inbox):
        await trio.sleep(3)
        events.append("slow is ready")
        inbox.ready()
        await trio.sleep_forever()

    async def next_one(inbox):
        events.append("next one begins")
        inbox.ready()
        await trio.sleep_forever()

    inner = quiet_supervisor()
    async with stage(branch("inner", inner, role("slow", slow)), role("next one", next_one)):
        pass

    assert events == ["slow is ready", "next one begins"]


async def test_branch_stops_its_children_before_what_is_older_stops():
    events = []

    def noting(name):
        async def run(inbox):
            inbox.ready()
            async for _ in inbox:
                break
            await trio.sleep(1)
            events.append(name)

        return role(name, run)

    inner = quiet_supervisor()
    async with stage(noting("elder"), branch("inner", inner, noting("a"), noting("b"))):
        inner.start_child(noting("dynamic"))

    assert events == ["dynamic", "b", "a", "elder"]


async def test_restart_limit_of_a_branch_is_a_crash_of_the_branch():
    inner = quiet_supervisor(intensity=Intensity(restarts=0))
    async with stage(branch("inner", inner, role("static", play))) as here:
        ref = inner.find("static")
        ref.tell(Crash())
        await wait_all_tasks_blocked()

        [crash] = here.reported(CrashReport)
        assert (crash.name, crash.error) == ("inner", "RestartLimitReached")
        assert not ref.alive
        assert await inner.find("static").ask(Question, within=1) == 1


async def test_supervisor_of_a_branch_is_the_same_after_a_restart_of_the_branch():
    inner = quiet_supervisor()
    async with stage(branch("inner", inner)) as here:
        before = inner.start_child(role("before", play))
        here.supervisor.poison(here.supervisor.find("inner"))
        await wait_all_tasks_blocked()

        after = inner.start_child(role("after", play))
        assert not before.alive
        assert await after.ask(Question, within=1) == 1
        assert [info.name for info in inner.children()] == ["after"]


async def test_child_started_while_the_branch_is_down_is_gone_at_once():
    inner = quiet_supervisor()
    early = inner.start_child(role("early", play))
    async with stage(branch("inner", inner)):
        pass
    late = inner.start_child(role("late", play))

    for ref in (early, late):
        assert not ref.alive
        assert not ref.tell("anything")
        with pytest.raises(ActorStopped):
            await ref.ask(Question, within=1)
    assert inner.children() == ()


async def test_rest_for_one_restarts_what_is_younger_than_a_branch_that_gave_up():
    lives = []

    async def younger(inbox):
        lives.append(inbox.incarnation)
        await play(inbox)

    inner = quiet_supervisor(intensity=Intensity(restarts=0))
    async with stage(
        branch("inner", inner, role("static", play)),
        role("younger", younger),
        strategy=Strategy.REST_FOR_ONE,
    ):
        inner.find("static").tell(Crash())
        await wait_all_tasks_blocked()

    assert lives == [1, 2]


async def test_branch_that_gives_up_again_and_again_ends_the_root():
    inner = quiet_supervisor(intensity=Intensity(restarts=1, period=60))
    root = quiet_supervisor(intensity=Intensity(restarts=1, period=60))
    lives = []

    async def hopeless(inbox):
        inbox.ready()
        lives.append(inbox.incarnation)
        raise RuntimeError("as always")

    with pytest.raises(RestartLimitReached):
        await root.run(branch("inner", inner, role("hopeless", hopeless)))

    assert lives == [1, 2, 1, 2]
    assert root.children() == inner.children() == ()


async def test_crash_inside_a_branch_does_not_concern_its_neighbours():
    inner = quiet_supervisor()
    async with stage(
        branch("inner", inner, role("static", play)),
        role("younger", play),
        strategy=Strategy.REST_FOR_ONE,
    ) as here:
        inner.find("static").tell(Crash())
        inner.start_child(role("dynamic", play)).tell(Crash())
        await wait_all_tasks_blocked()

        assert [info.incarnation for info in here.supervisor.children()] == [1, 1]
        assert [info.incarnation for info in inner.children()] == [2, 2]
        assert here.reports == []


async def test_children_of_a_branch_have_their_own_time_to_stop():
    ended = []

    async def slow(inbox):
        inbox.ready()
        async for _ in inbox:
            await trio.sleep(8)
            ended.append(trio.current_time())
            return

    inner = quiet_supervisor()
    async with stage(
        branch("inner", inner, role("slow", slow, stop_within=10), stop_within=2)
    ) as here:
        began = trio.current_time()

    assert ended == [began + 8]
    assert [report.name for report in here.reported(OverdueReport)] == ["inner"]


async def test_registry_of_a_branch_is_the_same_after_a_restart_of_the_branch():
    inner = quiet_supervisor()
    registry = Registry(inner)
    async with stage(branch("inner", inner)) as here:
        before = registry.get_or_start("key", lambda key: role(key, play))
        here.supervisor.poison(here.supervisor.find("inner"))
        await wait_all_tasks_blocked()
        assert registry.get("key") is None
        after = registry.get_or_start("key", lambda key: role(key, play))

        assert not before.alive
        assert await after.ask(Question, within=1) == 1


async def test_watchers_elsewhere_learn_that_a_branch_took_its_children_along():
    diary = []
    inner = quiet_supervisor()
    async with stage(branch("inner", inner)) as here:
        target = inner.start_child(role("target", play))
        here.start(player("watcher", diary)).tell(Watch(target))
        await wait_all_tasks_blocked()
        here.supervisor.poison(here.supervisor.find("inner"))
        await wait_all_tasks_blocked()

        assert diary[-1] == Terminated(target, Reason.STOPPED)


async def test_branch_that_is_stopped_while_it_starts_does_not_wait_for_its_children_to_be_ready():
    async def never_ready(inbox):
        async for _ in inbox:
            return

    inner = quiet_supervisor()
    here = quiet_supervisor()
    with trio.move_on_after(1) as scope:
        await here.run(branch("inner", inner, role("never", never_ready, ready_within=60)))

    assert trio.current_time() < scope.deadline + 1
    assert inner.children() == ()
