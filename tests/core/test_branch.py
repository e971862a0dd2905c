"""A supervisor as a child of another one."""

from __future__ import annotations

from random import Random

import pytest
import trio

from actors.core.branch import Branch
from actors.core.errors import ActorStopped
from actors.core.reports import CrashReport
from actors.core.signals import Stopping
from actors.core.spec import ChildSpec, Intensity, Strategy
from actors.core.supervisor import Supervisor
from tests.support.stage import Crash, Question, role, stage


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
        await trio.testing.wait_all_tasks_blocked()

        [crash] = here.reported(CrashReport)
        assert (crash.name, crash.error) == ("inner", "RestartLimitReached")
        assert not ref.alive
        assert await inner.find("static").ask(Question, within=1) == 1


async def test_supervisor_of_a_branch_is_the_same_after_a_restart_of_the_branch():
    inner = quiet_supervisor()
    async with stage(branch("inner", inner)) as here:
        before = inner.start_child(role("before", play))
        here.supervisor.poison(here.supervisor.find("inner"))
        await trio.testing.wait_all_tasks_blocked()

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
        await trio.testing.wait_all_tasks_blocked()

    assert lives == [1, 2]


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
