"""Static children: start order, readiness, strategies, and when their supervisor gives up."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.errors import RestartLimitReached
from actors.core.reports import CrashReport, OverdueReport, RestartReport
from actors.core.signals import Reason, Restarted, Stopping, Terminated
from actors.core.spec import Backoff, Intensity, Overflow, Restart, Strategy
from actors.core.supervisor import Supervisor
from tests.support.stage import Crash, Question, Return, Watch, heed, player, role, stage

REST = Strategy.REST_FOR_ONE


def noting(name, events, *, starts_in=0.0, stops_in=0.0, **options):
    """Return the spec of an actor that notes when it begins, is ready and ends."""

    async def run(inbox):
        events.append(f"{name}{inbox.incarnation} begins")
        try:
            await trio.sleep(starts_in)
            inbox.ready()
            events.append(f"{name}{inbox.incarnation} is ready")
            async for item in inbox:
                if isinstance(item, Stopping):
                    await trio.sleep(stops_in)
                if heed(item, inbox):
                    return
        finally:
            events.append(f"{name}{inbox.incarnation} ends")

    return role(name, run, **options)


def quiet_supervisor(**options):
    return Supervisor(random=Random(1), observe=lambda report: None, **options)


async def crash_in_turn(supervisor, specs, names):
    """Run a supervisor until each of these children was told to crash and a second has passed."""
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run, *specs)
        for name in names:
            supervisor.find(name).tell(Crash())
            await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def test_static_children_start_in_order_each_when_the_one_before_is_ready():
    events = []
    async with stage(*(noting(name, events, starts_in=2) for name in "abc")):
        assert trio.current_time() == 6
        started = list(events)

    assert started == [f"{name}1 {what}" for name in "abc" for what in ("begins", "is ready")]


async def test_child_that_is_not_ready_in_time_has_crashed():
    async def never_ready(inbox):
        if inbox.incarnation == 2:
            inbox.ready()
        await trio.sleep_forever()

    async with stage(role("late", never_ready, ready_within=3, stop_within=0)) as here:
        assert trio.current_time() == 3

        [crash] = here.reported(CrashReport)
        assert (crash.error, crash.incarnation) == ("NotReady", 1)


async def test_child_that_is_not_ready_and_ignores_its_cancellation_is_overdue():
    async def stubborn(inbox):
        if inbox.incarnation == 1:
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
        inbox.ready()
        await trio.sleep_forever()

    async with stage(role("late", stubborn, ready_within=3, stop_within=0)) as here:
        assert trio.current_time() == 60

        assert [overdue.name for overdue in here.reported(OverdueReport)] == ["late"]


async def test_child_that_crashes_before_it_is_ready_is_restarted_before_the_next_starts():
    events = []

    async def stumble(inbox):
        events.append(f"a{inbox.incarnation}")
        if inbox.incarnation == 1:
            raise RuntimeError("first time")
        inbox.ready()
        await trio.sleep_forever()

    async with stage(role("a", stumble, stop_within=0), noting("b", events)):
        pass

    assert events[:3] == ["a1", "a2", "b1 begins"]


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_child_that_returns_before_it_is_ready_holds_nobody_up(strategy):
    async def run_once(inbox):
        pass

    async with stage(role("once", run_once), player("next"), strategy=strategy) as here:
        assert [info.name for info in here.supervisor.children()] == ["next"]


async def test_permanent_child_is_restarted_after_return_and_counted():
    async with stage(
        player("one", restart=Restart.PERMANENT), intensity=Intensity(restarts=2, period=60)
    ) as here:
        ref = here.supervisor.find("one")
        for _ in range(2):
            ref.tell(Return())
            await trio.sleep(10)

        assert await ref.ask(Question, within=1) == 3
        assert here.reported(CrashReport) == []


async def test_static_supervisor_escalates():
    supervisor = quiet_supervisor(intensity=Intensity(restarts=2, period=60))
    events = []
    specs = [noting("a", events), noting("b", events)]
    with pytest.raises(ExceptionGroup) as caught:
        await crash_in_turn(supervisor, specs, "bbb")

    assert caught.group_contains(RestartLimitReached, match="'b'")
    assert events[-1] == "a1 ends"
    assert supervisor.children() == ()


async def test_crashes_of_static_children_add_up():
    supervisor = quiet_supervisor(intensity=Intensity(restarts=2, period=60))
    await crash_in_turn(supervisor, [player(name) for name in "abc"], "ab")
    with pytest.raises(ExceptionGroup) as caught:
        await crash_in_turn(supervisor, [player(name) for name in "abc"], "abc")

    assert caught.group_contains(RestartLimitReached)


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_limit_is_reached_at_once_while_others_come_up(strategy):
    """Who crashed too often is not waited for by a sibling that takes its time."""
    events = []

    async def crash_soon(inbox):
        inbox.ready()
        await trio.sleep(1)
        raise RuntimeError("soon")

    supervisor = quiet_supervisor(intensity=Intensity(restarts=0), strategy=strategy)
    with pytest.raises(RestartLimitReached):
        await supervisor.run(
            role("a", crash_soon),
            noting("b", events, starts_in=50, ready_within=60, stop_within=0),
        )

    assert trio.current_time() == 1
    assert events == ["b1 begins", "b1 ends"]


async def test_limit_is_reached_while_the_children_come_up():
    async def never(inbox):
        raise RuntimeError("never")

    supervisor = quiet_supervisor(intensity=Intensity(restarts=2, period=60))
    with pytest.raises(RestartLimitReached):
        await supervisor.run(player("a"), role("b", never))


async def test_one_for_one_restarts_the_child_alone():
    events = []
    async with stage(*(noting(name, events) for name in "abc")) as here:
        events.clear()
        here.supervisor.find("a").tell(Crash())
        await wait_all_tasks_blocked()

        assert events == ["a1 ends", "a2 begins", "a2 is ready"]


async def test_one_for_one_restarts_wait_apart():
    events = []
    async with stage(
        noting("a", events, backoff=Backoff(first=10)),
        noting("b", events, backoff=Backoff(first=2)),
    ) as here:
        events.clear()
        here.supervisor.find("a").tell(Crash())
        here.supervisor.find("b").tell(Crash())
        await trio.sleep(3)
        assert events[-1] == "b2 is ready"
        await trio.sleep(8)

        assert events[-1] == "a2 is ready"


async def test_restarted_child_must_be_ready_in_time_too():
    async def hang_once(inbox):
        if inbox.incarnation != 2:
            inbox.ready()
        async for item in inbox:
            if heed(item, inbox):
                return
            if inbox.incarnation == 2:
                await trio.sleep_forever()

    async with stage(role("one", hang_once, ready_within=3)) as here:
        ref = here.supervisor.find("one")
        ref.tell(Crash())
        await trio.sleep(4)

        assert [crash.error for crash in here.reported(CrashReport)] == [
            "RuntimeError",
            "NotReady",
        ]
        assert await ref.ask(Question, within=1) == 3


async def test_rest_for_one_restarts_only_younger():
    events = []
    async with stage(*(noting(name, events) for name in "abcd"), strategy=REST) as here:
        events.clear()
        here.supervisor.find("b").tell(Crash())
        await wait_all_tasks_blocked()

        assert events == [
            "b1 ends",
            "d1 ends",
            "c1 ends",
            *(f"{name}2 {what}" for name in "bcd" for what in ("begins", "is ready")),
        ]
        assert len(here.reported(RestartReport)) == 1


async def test_rest_for_one_keeps_refs_and_mailboxes():
    async with stage(*(player(name) for name in "ab"), strategy=REST) as here:
        younger = here.supervisor.find("b")
        here.supervisor.find("a").tell(Crash())
        await wait_all_tasks_blocked()

        assert here.supervisor.find("b") is younger
        assert await younger.ask(Question, within=1) == 2


async def test_rest_for_one_is_a_restart_to_the_watchers_of_the_younger():
    diary = []
    async with stage(*(player(name) for name in "ab"), strategy=REST) as here:
        elder, younger = here.supervisor.find("a"), here.supervisor.find("b")
        watcher = here.start(player("watcher", diary))
        watcher.tell(Watch(younger))
        watcher.tell(Watch(elder))
        await wait_all_tasks_blocked()
        elder.tell(Crash())
        await wait_all_tasks_blocked()

        assert diary[2:] == [Restarted(elder, 2), Restarted(younger, 2)]


async def test_rest_for_one_does_not_restart_a_younger_temporary_child():
    diary = []
    async with stage(
        player("a"), player("b", restart=Restart.TEMPORARY), player("c"), strategy=REST
    ) as here:
        temporary = here.supervisor.find("b")
        here.start(player("watcher", diary)).tell(Watch(temporary))
        await wait_all_tasks_blocked()
        here.supervisor.find("a").tell(Crash())
        await wait_all_tasks_blocked()

        assert diary[-1] == Terminated(temporary, Reason.STOPPED)
        assert [info.name for info in here.supervisor.children()] == ["a", "c", "watcher"]


async def test_rest_for_one_does_not_revive_a_younger_child_that_had_returned():
    events = []
    async with stage(*(noting(name, events) for name in "abc"), strategy=REST) as here:
        here.supervisor.find("b").tell(Return())
        await wait_all_tasks_blocked()
        events.clear()
        here.supervisor.find("a").tell(Crash())
        await wait_all_tasks_blocked()

        assert not [event for event in events if event.startswith("b")]


async def test_dynamic_children_take_no_part_in_rest_for_one():
    async with stage(player("a"), strategy=REST) as here:
        dynamic = here.start(player("dynamic"))
        here.supervisor.find("a").tell(Crash())
        await wait_all_tasks_blocked()

        assert await dynamic.ask(Question, within=1) == 1


async def test_two_crashes_at_once_are_one_restart_of_the_rest():
    events = []
    async with stage(
        *(noting(name, events) for name in "abc"),
        strategy=REST,
        intensity=Intensity(restarts=2),
    ) as here:
        events.clear()
        for name in "cb":
            here.supervisor.find(name).tell(Crash())
        await wait_all_tasks_blocked()

        assert sorted(events[:2]) == ["b1 ends", "c1 ends"]
        assert events[2:] == ["b2 begins", "b2 is ready", "c2 begins", "c2 is ready"]


async def test_elder_that_crashes_while_the_rest_comes_up_is_restarted_first():
    """Nobody is brought up on top of something that is down."""
    events = []
    async with stage(
        noting("a", events),
        noting("b", events),
        noting("c", events, starts_in=3, stop_within=0),
        strategy=REST,
    ) as here:
        events.clear()
        here.supervisor.find("b").tell(Crash())
        await trio.sleep(1)
        assert events[-1] == "c2 begins"
        events.clear()
        here.supervisor.find("a").tell(Crash())
        await trio.sleep(10)

        assert events == [
            "a1 ends",
            "c2 ends",
            "b2 ends",
            "a2 begins",
            "a2 is ready",
            "b3 begins",
            "b3 is ready",
            "c3 begins",
            "c3 is ready",
        ]


async def test_elder_that_crashes_while_the_younger_stop_is_restarted_first():
    events = []
    async with stage(
        noting("a", events),
        noting("b", events),
        noting("c", events, stops_in=3),
        strategy=REST,
    ) as here:
        events.clear()
        here.supervisor.find("b").tell(Crash())
        await trio.sleep(1)
        here.supervisor.find("a").tell(Crash())
        await trio.sleep(10)

        assert events[:3] == ["b1 ends", "a1 ends", "c1 ends"]
        assert events[3::2] == ["a2 begins", "b2 begins", "c2 begins"]


async def test_elder_that_crashes_during_the_first_start_is_restarted_first():
    events = []
    gate = trio.Event()

    async def crash_once(inbox):
        events.append(f"a{inbox.incarnation} begins")
        inbox.ready()
        if inbox.incarnation == 1:
            await gate.wait()
            raise RuntimeError("once")
        await trio.sleep_forever()

    supervisor = quiet_supervisor(strategy=REST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            supervisor.run,
            role("a", crash_once, stop_within=0),
            noting("b", events, starts_in=3, stop_within=0),
        )
        await trio.sleep(1)
        gate.set()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()

    assert events[:6] == [
        "a1 begins",
        "b1 begins",
        "b1 ends",
        "a2 begins",
        "b2 begins",
        "b2 is ready",
    ]


async def test_younger_that_crashes_in_its_farewell_is_reported_but_not_counted():
    async def fail_to_leave(inbox):
        inbox.ready()
        async for _ in inbox:
            raise RuntimeError("while leaving")

    async with stage(
        player("a"),
        role("b", fail_to_leave),
        strategy=REST,
        intensity=Intensity(restarts=1, period=60),
    ) as here:
        here.supervisor.find("a").tell(Crash())
        await trio.sleep(1)

        assert len(here.reported(CrashReport)) == 2
        assert [info.incarnation for info in here.supervisor.children()] == [2, 2]


async def test_restart_of_the_rest_waits_for_the_delay_of_the_one_that_fell():
    events = []
    async with stage(
        noting("a", events, backoff=Backoff(first=5)), noting("b", events), strategy=REST
    ) as here:
        here.supervisor.find("a").tell(Crash())
        await trio.sleep(4)
        assert events[-1] == "b1 ends"
        await trio.sleep(2)

        assert events[-1] == "b2 is ready"


@pytest.mark.parametrize("name", ["a", "b"])
async def test_child_stopped_while_the_rest_is_restarted_stays_stopped(name):
    events = []
    async with stage(
        noting("a", events, backoff=Backoff(first=5)),
        noting("b", events),
        noting("c", events),
        strategy=REST,
    ) as here:
        ref = here.supervisor.find(name)
        here.supervisor.find("a").tell(Crash())
        await trio.sleep(1)
        await here.supervisor.stop_child(ref)
        await trio.sleep(10)

        assert not ref.alive
        assert not [event for event in events if event.startswith(f"{name}2")]
        assert events[-1] == "c2 is ready"


async def test_child_stopped_while_it_is_being_halted_stays_stopped():
    events = []
    async with stage(
        noting("a", events), noting("b", events, stops_in=3), noting("c", events), strategy=REST
    ) as here:
        ref = here.supervisor.find("b")
        here.supervisor.find("a").tell(Crash())
        await trio.sleep(1)
        await here.supervisor.stop_child(ref)
        await trio.sleep(10)

        assert not ref.alive
        assert "b2 begins" not in events
        assert events[-1] == "c2 is ready"


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_child_stopped_while_it_comes_up_holds_nobody_up(strategy):
    events = []
    supervisor = quiet_supervisor(strategy=strategy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            supervisor.run, noting("a", events, starts_in=60, ready_within=99), player("b")
        )
        await trio.sleep(1)
        await supervisor.stop_child(supervisor.find("a"))
        await wait_all_tasks_blocked()

        assert supervisor.find("a") is None
        assert await supervisor.find("b").ask(Question, within=1) == 1
        nursery.cancel_scope.cancel()


async def test_static_child_stopped_by_overflow_stays_stopped():
    async with stage(
        role("deaf", deaf, capacity=1, overflow=Overflow.STOP, stop_within=2),
        player("b"),
        strategy=REST,
    ) as here:
        ref = here.supervisor.find("deaf")
        ref.tell("fills it")
        ref.tell("too much")
        await trio.sleep(3)

        assert not ref.alive
        assert await here.supervisor.find("b").ask(Question, within=1) == 1


async def test_child_that_overflow_stops_is_not_revived_by_the_crash_of_an_elder():
    async with stage(
        player("a"),
        role("deaf", deaf, capacity=1, overflow=Overflow.STOP, stop_within=2),
        strategy=REST,
    ) as here:
        ref = here.supervisor.find("deaf")
        ref.tell("fills it")
        ref.tell("too much")
        here.supervisor.find("a").tell(Crash())
        await trio.sleep(3)

        assert not ref.alive
        assert [info.name for info in here.supervisor.children()] == ["a"]


async def deaf(inbox):
    inbox.ready()
    await trio.sleep_forever()


@pytest.mark.parametrize("at", [0.5, 1.5, 3.5, 5.5, 7.5])
async def test_cancellation_at_any_moment_of_a_restart_ends_everybody(at):
    """a falls at 0; until 2 c stops, until 4 b; a is due at 6 and takes 1 to start, as do b and c."""
    events = []
    specs = [
        noting("a", events, starts_in=1, backoff=Backoff(first=6)),
        noting("b", events, starts_in=1, stops_in=2),
        noting("c", events, starts_in=1, stops_in=2),
    ]
    with trio.fail_after(100):
        async with stage(*specs, strategy=REST) as here:
            here.supervisor.find("a").tell(Crash())
            await wait_all_tasks_blocked()
            await trio.sleep(at)

    begun = [event for event in events if event.endswith("begins")]
    ended = [event for event in events if event.endswith("ends")]
    # Who was cancelled before it was ready has no farewell to note.
    assert {event.split()[0] for event in ended} <= {event.split()[0] for event in begun}
    assert here.supervisor.children() == ()


async def test_two_static_children_of_one_name_are_refused():
    supervisor = quiet_supervisor()
    with pytest.raises(ExceptionGroup) as caught:
        await supervisor.run(player("a"), player("a"))

    assert caught.group_contains(ValueError, match="lives already")
    assert supervisor.children() == ()
    assert not supervisor.start_child(player("b")).alive


async def test_supervisor_that_reached_its_limit_may_run_again():
    supervisor = quiet_supervisor(intensity=Intensity(restarts=0))
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as caught:
            await crash_in_turn(supervisor, [player("a")], "a")

        assert caught.group_contains(RestartLimitReached)


async def test_second_run_starts_with_a_clean_count():
    supervisor = quiet_supervisor(intensity=Intensity(restarts=1, period=60))
    for _ in range(3):
        await crash_in_turn(supervisor, [player("a")], "a")

    assert supervisor.children() == ()
