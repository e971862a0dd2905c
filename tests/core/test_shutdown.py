"""How children end: in which order, how long they are waited for, and what cancellation does not do."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.errors import ActorStopped
from actors.core.reports import CrashReport, OverdueReport, RestartReport
from actors.core.signals import Reason, Stopping, Terminated
from actors.core.spec import Backoff, Strategy
from actors.core.supervisor import Supervisor
from tests.support.stage import Crash, Question, Retire, Watch, player, role, stage


def leaving(name, events, *, after=1.0, **options):
    """Return the spec of an actor that takes its time to say goodbye."""

    async def run(inbox):
        inbox.ready()
        async for item in inbox:
            if isinstance(item, Stopping):
                await trio.sleep(after)
                events.append((name, trio.current_time()))
                return

    return role(name, run, **options)


async def deaf(inbox):
    inbox.ready()
    await trio.sleep_forever()


async def test_shutdown_is_newest_first():
    events = []
    async with stage(*(leaving(name, events) for name in "abc")):
        began = trio.current_time()

    assert events == [("c", began + 1), ("b", began + 2), ("a", began + 3)]


async def test_dynamic_children_stop_together_and_before_the_static_ones():
    events = []
    async with stage(leaving("static", events)) as here:
        began = trio.current_time()
        for name in "xyz":
            here.start(leaving(name, events))

    assert sorted(events[:3]) == [(name, began + 1) for name in "xyz"]
    assert events[3:] == [("static", began + 2)]


async def test_stop_waits_for_deadline_then_ends():
    async with stage() as here:
        ref = here.start(role("deaf", deaf, stop_within=7))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await here.supervisor.stop_child(ref)

        assert trio.current_time() == began + 7
        assert not ref.alive
        assert here.reports == []


async def test_stopping_names_the_deadline():
    diary = []
    async with stage() as here:
        ref = here.start(player("one", diary, stop_within=7))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await here.supervisor.stop_child(ref)

        assert diary == [Stopping(began + 7)]
        assert trio.current_time() == began


async def test_stop_of_a_child_that_is_never_cancelled_waits_for_it():
    events = []
    async with stage() as here:
        ref = here.start(leaving("one", events, after=1000, stop_within=float("inf")))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await here.supervisor.stop_child(ref)

        assert events == [("one", began + 1000)]


async def test_child_stopped_before_it_ran_still_learns_of_it():
    diary = []
    async with stage() as here:
        ref = here.start(player("one", diary))
        await here.supervisor.stop_child(ref)

        assert [type(item) for item in diary] == [Stopping]


async def test_two_may_stop_a_child_at_once():
    diary = []
    async with stage() as here, trio.open_nursery() as nursery:
        ref = here.start(player("one", diary))
        nursery.start_soon(here.supervisor.stop_child, ref)
        nursery.start_soon(here.supervisor.stop_child, ref)

    assert [type(item) for item in diary] == [Stopping]


async def test_child_stops_even_if_who_wanted_it_is_cancelled():
    async with stage() as here:
        ref = here.start(role("deaf", deaf, stop_within=5))
        with trio.move_on_after(1):
            await here.supervisor.stop_child(ref)
        assert ref.alive
        await trio.sleep(5)

        assert not ref.alive
        assert here.supervisor.children() == ()


async def test_outer_cancellation_is_not_a_crash():
    events = []
    async with stage(leaving("static", events)) as here:
        here.start(leaving("dynamic", events))
        await wait_all_tasks_blocked()

    assert [name for name, _ in events] == ["dynamic", "static"]
    assert here.reports == []


async def test_outer_cancellation_does_not_reach_a_child_before_its_deadline():
    ended = []

    async def run(inbox):
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with stage() as here:
        here.start(role("one", run, stop_within=5))
        await wait_all_tasks_blocked()
        began = trio.current_time()

    assert ended == [began + 5]


async def test_crash_during_cancellation_is_reported_and_cancellation_wins():
    async def run(inbox):
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async with stage() as here:
        ref = here.start(role("one", run, stop_within=2))
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(ref)

        [crash] = here.reported(CrashReport)
        assert crash.error == "ValueError"
        assert not ref.alive
        assert here.reported(RestartReport) == []


@pytest.mark.parametrize("depth", [1, 2])
async def test_error_beside_a_cancellation_in_a_group_is_reported_and_cancellation_wins(depth):
    async def fail_late():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async def nest(levels):
        async with trio.open_nursery() as nursery:
            if levels:
                nursery.start_soon(nest, levels - 1)
            else:
                nursery.start_soon(fail_late)
            await trio.sleep_forever()

    diary = []
    async with stage() as here:
        ref = here.start(role("one", lambda inbox: nest(depth), stop_within=2))
        here.start(player("watcher", diary)).tell(Watch(ref))
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(ref)
        await wait_all_tasks_blocked()

        assert [crash.error for crash in here.reported(CrashReport)] == ["ValueError"]
        assert diary[-1] == Terminated(ref, Reason.STOPPED)


async def test_crash_in_the_farewell_is_reported_and_the_child_stays_stopped():
    async def run(inbox):
        async for _ in inbox:
            raise ValueError("while leaving")

    async with stage() as here:
        ref = here.start(role("one", run))
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(ref)

        assert [type(report) for report in here.reports] == [CrashReport]
        assert not ref.alive


async def test_child_that_ignores_its_deadline_is_reported_once_and_waited_for():
    async def run(inbox):
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    async with stage() as here:
        ref = here.start(role("stubborn", run, stop_within=5))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.supervisor.stop_child, ref)
            nursery.start_soon(here.supervisor.stop_child, ref)

        [overdue] = here.reported(OverdueReport)
        assert overdue.name == "stubborn"
        assert any(line.endswith(" run") for line in overdue.stack)
        assert trio.current_time() >= 60
        assert not ref.alive


async def test_child_that_cleans_up_within_a_second_is_not_overdue():
    async def run(inbox):
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(0.9, shield=True):
                await trio.sleep_forever()

    async with stage() as here:
        ref = here.start(role("tidy", run, stop_within=5))
        await wait_all_tasks_blocked()
        await here.supervisor.stop_child(ref)

        assert here.reports == []


async def test_child_started_while_the_supervisor_stops_is_gone_at_once():
    refs = []
    events = []

    async def late_starter(inbox):
        async for _ in inbox:
            refs.append(supervisor.start_child(leaving("too late", events)))
            await trio.sleep(1)
            return

    supervisor = Supervisor(random=Random(1), observe=events.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start_child(role("starter", late_starter))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert not refs[0].alive
    with pytest.raises(ActorStopped):
        await refs[0].ask(Question, within=1)
    assert events == []


async def test_child_started_as_the_supervisor_is_cancelled_is_stopped_in_two_phases():
    events = []
    async with stage() as here:
        pass_on = here.supervisor.start_child
        await wait_all_tasks_blocked()
        # From here to the end of the block nobody else runs: the supervisor learns of both together.
        ref = pass_on(leaving("late", events))

    assert [name for name, _ in events] == ["late"]
    assert not ref.alive


async def test_shutdown_during_backoff_starts_nobody():
    lives = []

    async def run(inbox):
        lives.append(inbox.incarnation)
        raise RuntimeError("at once")

    async with stage() as here:
        here.start(role("one", run, backoff=Backoff(first=3)))
        here.start(role("slow to stop", deaf, stop_within=10))
        await wait_all_tasks_blocked()
        began = trio.current_time()

    assert trio.current_time() == began + 10
    assert lives == [1]


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_shutdown_during_the_backoff_of_a_static_child_starts_nobody(strategy):
    lives = []

    async def run(inbox):
        lives.append(inbox.incarnation)
        inbox.ready()
        async for item in inbox:
            match item:
                case Crash(error):
                    raise error
                case Stopping():
                    return

    async with stage(
        role("one", run, backoff=Backoff(first=3)),
        role("slow to stop", deaf, stop_within=10),
        strategy=strategy,
    ) as here:
        here.supervisor.find("one").tell(Crash())
        await wait_all_tasks_blocked()

    assert lives == [1]
    assert here.supervisor.children() == ()


async def test_crash_as_the_supervisor_stops_is_not_restarted():
    async def run(inbox):
        async for _ in inbox:
            await trio.sleep(1)
            raise RuntimeError("no goodbye")

    async with stage() as here:
        here.start(role("one", run))
        here.start(role("slow to stop", deaf, stop_within=10))
        await wait_all_tasks_blocked()

    assert [type(report) for report in here.reports] == [CrashReport]


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_static_child_that_crashes_while_the_dynamic_ones_stop_is_not_restarted(strategy):
    async def crash_late(inbox):
        inbox.ready()
        await trio.sleep(3)
        raise RuntimeError("late")

    diary = []
    async with stage(
        player("elder", diary), role("late", crash_late), strategy=strategy
    ) as here:
        ref = here.supervisor.find("late")
        here.supervisor.find("elder").tell(Watch(ref))
        here.start(role("slow to stop", deaf, stop_within=10))
        await wait_all_tasks_blocked()

    assert [type(report) for report in here.reports] == [CrashReport]
    assert diary[1] == Terminated(ref, Reason.STOPPED)


async def test_child_that_retired_is_stopped_although_its_name_was_taken():
    """Its `run` has not returned yet, and nobody else would end it."""
    ended = []

    async def run(inbox):
        inbox.retire()
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    with trio.fail_after(100):
        async with stage() as here:
            here.start(role("name", run, stop_within=5))
            await wait_all_tasks_blocked()
            here.start(player("name"))
            await wait_all_tasks_blocked()
            began = trio.current_time()

    assert ended == [began + 5]


async def test_child_that_retired_may_be_stopped_and_failed_by_its_ref():
    async def run(inbox):
        inbox.retire()
        await trio.sleep_forever()

    async with stage() as here:
        ref = here.start(role("name", run, stop_within=5))
        other = here.start(role("other", run))
        await wait_all_tasks_blocked()
        here.start(player("name"))
        here.start(player("other"))
        here.supervisor.fail(other, LookupError())
        began = trio.current_time()
        await here.supervisor.stop_child(ref)

        assert trio.current_time() == began + 5
        assert [crash.error for crash in here.reported(CrashReport)] == ["LookupError"]
        assert [info.name for info in here.supervisor.children()] == ["name", "other"]


async def test_retired_child_is_replaced_while_it_still_returns():
    diary = []
    async with stage() as here:
        old = here.start(player("name", diary))
        old.tell(Retire())
        await wait_all_tasks_blocked()
        new = here.start(player("name", diary))
        new.tell("for the new one")
        await wait_all_tasks_blocked()

        assert here.supervisor.find("name") is new
        assert diary[-1] == "for the new one"
