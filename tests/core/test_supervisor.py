"""Dynamic children: crashes, restarts, giving up, and what is charged to whom."""

from __future__ import annotations

import gc
import weakref
from contextvars import ContextVar
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.errors import ActorCrashed
from actors.core.reports import CrashReport, GiveUpReport, RestartReport
from actors.core.signals import Reason, Stopping, Terminated
from actors.core.spec import Backoff, ChildSpec, Intensity, Restart
from actors.core.supervisor import Supervisor
from tests.support.stage import Crash, Question, Return, Watch, player, role, stage


def quiet_supervisor(**options):
    return Supervisor(random=Random(1), observe=lambda report: None, **options)


async def test_crash_leaves_siblings_running():
    diary = []
    async with stage() as here:
        sibling = here.start(player("sibling", diary))
        here.start(player("crashing")).tell(Crash())
        await wait_all_tasks_blocked()
        sibling.tell("still there")
        await wait_all_tasks_blocked()

        assert diary == ["still there"]
        assert await sibling.ask(Question, within=1) == 1


async def test_queued_messages_survive_a_crash():
    diary = []
    async with stage() as here:
        ref = here.start(player("one", diary))
        crash = Crash()
        for message in ("a", crash, "b", "c"):
            ref.tell(message)
        await wait_all_tasks_blocked()

        assert diary == ["a", crash, "b", "c"]


async def test_message_in_hand_is_dropped_once():
    taken = []

    async def run(inbox):
        async for item in inbox:
            taken.append((inbox.incarnation, item))
            if item == "bad":
                raise RuntimeError("cannot handle that")

    async with stage() as here:
        ref = here.start(role("one", run, stop_within=0))
        ref.tell("bad")
        ref.tell("good")
        await wait_all_tasks_blocked()

        assert taken == [(1, "bad"), (2, "good")]


async def test_messages_are_kept_while_the_actor_waits_for_its_restart():
    diary = []
    async with stage() as here:
        ref = here.start(player("one", diary, capacity=2, backoff=Backoff(first=5)))
        ref.tell(Crash())
        await wait_all_tasks_blocked()
        answers = [ref.tell("a"), ref.tell("b"), ref.tell("c")]
        await trio.sleep(6)

        assert answers == [True, True, False]
        assert diary[1:] == ["a", "b"]


async def test_every_incarnation_is_a_fresh_object():
    made = []
    table = ["survives"]

    class Actor:
        def __init__(self):
            self.state = []
            made.append(self)

        async def run(self, inbox):
            async for item in inbox:
                if isinstance(item, Stopping):
                    return
                self.state.append(item)
                table.append(item)
                if isinstance(item, Crash):
                    raise item.error

    async with stage() as here:
        ref = here.start(ChildSpec(name="one", factory=Actor, rank=1, heir=table))
        crash = Crash()
        for message in ("a", crash, "b"):
            ref.tell(message)
        await wait_all_tasks_blocked()
        [info] = here.supervisor.children()

        assert [actor.state for actor in made] == [["a", crash], ["b"]]
        assert table == ["survives", "a", crash, "b"]
        assert info.heir_size == 4
        assert info.incarnation == 2


@pytest.mark.parametrize("ending", [Return(), Crash()], ids=["return", "crash"])
@pytest.mark.parametrize("restart", list(Restart))
async def test_restart_type_decides_who_lives_on(restart, ending):
    lives_on = {
        Restart.PERMANENT: True,
        Restart.TRANSIENT: isinstance(ending, Crash),
        Restart.TEMPORARY: False,
    }
    async with stage() as here:
        ref = here.start(player("one", restart=restart))
        ref.tell(ending)
        await wait_all_tasks_blocked()

        assert ref.alive is lives_on[restart]
        assert (here.supervisor.find("one") is ref) is lives_on[restart]


async def test_transient_child_is_not_restarted_after_return():
    async with stage() as here:
        ref = here.start(player("one", restart=Restart.TRANSIENT))
        ref.tell(Return())
        await wait_all_tasks_blocked()

        assert not ref.alive
        assert here.reports == []


async def test_temporary_child_is_never_restarted():
    async with stage() as here:
        ref = here.start(player("one", restart=Restart.TEMPORARY))
        ref.tell(Crash())
        await wait_all_tasks_blocked()

        assert not ref.alive
        assert [type(report) for report in here.reports] == [CrashReport]


async def test_child_gives_up_after_limit_and_watchers_learn():
    diary = []
    async with stage(intensity=Intensity(restarts=2, period=60)) as here:
        target = here.start(player("target"))
        sibling = here.start(player("sibling", diary))
        sibling.tell(Watch(target))
        await wait_all_tasks_blocked()
        for _ in range(3):
            target.tell(Crash())
            await trio.sleep(1)

        assert not target.alive
        assert diary[-1] == Terminated(target, Reason.GAVE_UP)
        assert here.reported(GiveUpReport) == [GiveUpReport("target", 3)]
        assert await sibling.ask(Question, within=1) == 1


async def test_crashes_further_apart_than_the_period_do_not_add_up():
    async with stage(intensity=Intensity(restarts=1, period=5)) as here:
        ref = here.start(player("one"))
        for _ in range(10):
            ref.tell(Crash())
            await trio.sleep(6)

        assert await ref.ask(Question, within=1) == 11


async def test_crash_a_whole_period_ago_counts_no_more():
    backoff = Backoff(first=0, base=0)
    async with stage(intensity=Intensity(restarts=1, period=5)) as here:
        ref = here.start(player("one", backoff=backoff))
        for _ in range(3):
            ref.tell(Crash())
            await trio.sleep(5)

        assert ref.alive


async def test_children_are_counted_one_by_one():
    async with stage(intensity=Intensity(restarts=1, period=60)) as here:
        refs = [here.start(player(number)) for number in range(10)]
        for ref in refs:
            ref.tell(Crash())
        await wait_all_tasks_blocked()

        assert all([await ref.ask(Question, within=1) == 2 for ref in refs])


async def test_delays_grow_up_to_the_ceiling():
    backoff = Backoff(first=0, base=1, factor=2, ceiling=6)
    async with stage(intensity=Intensity(restarts=99, period=60)) as here:
        ref = here.start(player("one", backoff=backoff))
        for _ in range(6):
            ref.tell(Crash())
            await trio.sleep(7)

        delays = [report.delay_s for report in here.reported(RestartReport)]
        assert delays[0] == 0
        for delay, most in zip(delays[1:], [1, 2, 4, 6, 6], strict=True):
            assert most / 2 < delay <= most


async def test_delays_depend_on_the_given_luck_only():
    async def delays():
        async with stage(intensity=Intensity(restarts=99)) as here:
            ref = here.start(player("one"))
            for _ in range(6):
                ref.tell(Crash())
                await trio.sleep(7)
            return [report.delay_s for report in here.reported(RestartReport)]

    assert await delays() == await delays()


async def test_row_of_crashes_ends_when_an_incarnation_lived_longer_than_the_period():
    async with stage(intensity=Intensity(restarts=99, period=5)) as here:
        ref = here.start(player("one"))
        for pause in (1, 6, 1):
            ref.tell(Crash())
            await trio.sleep(pause)
        ref.tell(Crash())
        await wait_all_tasks_blocked()

        delays = [report.delay_s for report in here.reported(RestartReport)]
        assert [delay > 0 for delay in delays] == [False, True, False, True]


async def test_stop_during_backoff_ends_the_child_at_once():
    diary = []
    async with stage() as here:
        ref = here.start(player("one", diary, backoff=Backoff(first=10)))
        ref.tell(Crash())
        await wait_all_tasks_blocked()
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        before = trio.current_time()
        await here.supervisor.stop_child(ref)
        assert trio.current_time() == before
        ref.tell("nobody hears this")
        await wait_all_tasks_blocked()

        assert here.supervisor.children() == ()
        assert trio.lowlevel.current_statistics().tasks_living == tasks_before - 1
        await trio.sleep(20)
        assert len(diary) == 1


async def test_name_may_be_taken_again_once_its_child_is_gone():
    async with stage() as here:
        first = here.start(player("one"))
        with pytest.raises(ValueError, match="lives already"):
            here.start(player("one"))
        await here.supervisor.stop_child(first)
        second = here.start(player("one"))

        assert here.supervisor.find("one") is second
        assert await second.ask(Question, within=1) == 1


async def test_restarting_child_keeps_its_name():
    async with stage() as here:
        here.start(player("one", backoff=Backoff(first=10))).tell(Crash())
        await wait_all_tasks_blocked()

        with pytest.raises(ValueError, match="lives already"):
            here.start(player("one"))


async def test_factory_that_fails_is_a_crash():
    def factory():
        raise RuntimeError("no actor today")

    async with stage(intensity=Intensity(restarts=1)) as here:
        ref = here.start(ChildSpec(name="one", factory=factory, rank=1))
        await trio.sleep(1)

        assert not ref.alive
        assert [crash.error for crash in here.reported(CrashReport)] == ["RuntimeError"] * 2


async def test_crash_report_names_types_and_places_only():
    async def run(inbox):
        async for item in inbox:
            raise ValueError(f"secret {item}")

    async with stage() as here:
        here.start(role("one", run)).tell({"password": "secret"})
        await wait_all_tasks_blocked()

        [crash] = here.reported(CrashReport)
        assert (crash.name, crash.incarnation) == ("one", 1)
        assert (crash.message, crash.error) == ("dict", "ValueError")
        assert crash.stack[-1].endswith(" run")
        assert "secret" not in str(crash)


async def test_crash_in_a_task_of_the_actor_is_named_by_its_own_type():
    async def fail():
        raise ZeroDivisionError

    async def run(inbox):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()

    async with stage(intensity=Intensity(restarts=0)) as here:
        here.start(role("one", run))
        await wait_all_tasks_blocked()

        [crash] = here.reported(CrashReport)
        assert crash.error == "ZeroDivisionError"


async def test_crash_report_of_endless_recursion_is_bounded():
    async def run(inbox):
        await run(inbox)

    async with stage(intensity=Intensity(restarts=0)) as here:
        here.start(role("one", run))
        await wait_all_tasks_blocked()

        [crash] = here.reported(CrashReport)
        assert crash.error == "RecursionError"
        assert len(crash.stack) == 50


async def test_crash_keeps_no_message_alive():
    class Message:
        pass

    async def run(inbox):
        async for _item in inbox:
            raise RuntimeError("while holding it")

    async with stage() as here:
        ref = here.start(role("one", run, stop_within=0))
        message = Message()
        trace = weakref.ref(message)
        ref.tell(message)
        del message
        await wait_all_tasks_blocked()
        gc.collect()

        assert trace() is None
        assert len(here.reported(CrashReport)) == 1


@pytest.mark.parametrize("restart", list(Restart))
async def test_failure_charged_from_outside_keeps_no_message_alive(restart):
    class Message:
        pass

    def handle(message):
        raise RuntimeError(message)

    def charge(ref, message):
        try:
            handle(message)
        except RuntimeError as error:
            here.supervisor.fail(ref, error)

    async with stage() as here:
        ref = here.start(player("one", restart=restart))
        message = Message()
        trace = weakref.ref(message)
        charge(ref, message)
        del message
        await wait_all_tasks_blocked()
        gc.collect()

        assert trace() is None
        assert len(here.reported(CrashReport)) == 1


async def test_work_done_elsewhere_is_charged_to_the_child():
    async with stage() as here:
        ref = here.start(player("one"))
        await wait_all_tasks_blocked()
        here.supervisor.fail(ref, LookupError("found while reading its socket"))
        assert await ref.ask(Question, within=1) == 2

        [crash] = here.reported(CrashReport)
        assert crash.error == "LookupError"


async def test_of_two_errors_charged_the_first_counts():
    async with stage() as here:
        ref = here.start(player("one"))
        await wait_all_tasks_blocked()
        here.supervisor.fail(ref, LookupError())
        here.supervisor.fail(ref, ValueError())
        await wait_all_tasks_blocked()

        assert [crash.error for crash in here.reported(CrashReport)] == ["LookupError"]


async def test_error_is_charged_even_if_the_child_returns_first():
    async def run(inbox):
        async for item in inbox:
            if item == "return":
                return

    async with stage() as here:
        ref = here.start(role("one", run, stop_within=0))
        await wait_all_tasks_blocked()
        ref.tell("return")
        here.supervisor.fail(ref, LookupError())
        await wait_all_tasks_blocked()

        assert [crash.error for crash in here.reported(CrashReport)] == ["LookupError"]
        assert ref.alive


async def test_failing_a_child_between_two_lives_does_nothing():
    async with stage() as here:
        ref = here.start(player("one", backoff=Backoff(first=5)))
        ref.tell(Crash())
        await wait_all_tasks_blocked()
        here.supervisor.fail(ref, LookupError())
        await trio.sleep(6)

        assert await ref.ask(Question, within=1) == 2


async def test_failing_a_child_that_stops_does_not_cut_its_farewell_short():
    events = []

    async def run(inbox):
        async for _ in inbox:
            break
        await trio.sleep(2)
        events.append("said goodbye")

    async with stage() as here:
        ref = here.start(role("one", run, stop_within=3))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.supervisor.stop_child, ref)
            await wait_all_tasks_blocked()
            here.supervisor.fail(ref, LookupError())

        assert events == ["said goodbye"]
        assert here.reports == []


async def test_question_in_hand_fails_when_the_child_is_charged():
    async def hoard(inbox):
        async for _ in inbox:
            pass

    async with stage() as here, trio.open_nursery() as nursery:
        ref = here.start(role("one", hoard, stop_within=0))

        async def ask():
            with pytest.raises(ActorCrashed):
                await ref.ask(Question, within=9)
            assert trio.current_time() == began

        began = trio.current_time()
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        here.supervisor.fail(ref, LookupError())


async def test_strangers_ref_is_ignored():
    async with stage() as here, stage() as elsewhere:
        mine = here.start(player("one"))
        theirs = elsewhere.start(player("one"))
        here.supervisor.fail(theirs, LookupError())
        await here.supervisor.stop_child(theirs)
        assert not here.supervisor.poison(theirs)

        assert await mine.ask(Question, within=1) == 1
        assert await theirs.ask(Question, within=1) == 1


async def test_poison_waits_its_turn():
    diary = []
    async with stage() as here:
        ref = here.start(player("one", diary))
        ref.tell("before")
        assert here.supervisor.poison(ref)
        ref.tell("after")
        await wait_all_tasks_blocked()

        [crash] = here.reported(CrashReport)
        assert (crash.error, crash.message) == ("Poisoned", None)
        assert diary == ["before", "after"]


async def test_full_mailbox_takes_no_poison():
    async def deaf(inbox):
        await trio.sleep_forever()

    async with stage() as here:
        ref = here.start(role("one", deaf, capacity=1, stop_within=0))
        ref.tell("fills it")

        assert not here.supervisor.poison(ref)


async def test_log_context_does_not_leak():
    context = ContextVar("context", default="none")
    seen = []

    async def run(inbox):
        seen.append(context.get())
        async for item in inbox:
            match item:
                case Crash(error):
                    raise error
                case Stopping():
                    return

    context.set("of the supervisor")
    async with stage() as here:
        context.set("of the first joiner")
        ref = here.start(role("one", run, backoff=Backoff(first=1)))
        ref.tell(Crash())
        await trio.sleep(2)
        context.set("none")

    assert seen == ["of the supervisor"] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_leaves_a_child_and_everybody_is_stopped(error):
    diary = []
    supervisor = quiet_supervisor()

    async def program():
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run, player("static", diary))
            supervisor.start_child(player("sibling", diary))
            supervisor.start_child(player("interrupted")).tell(Crash(error))

    with pytest.raises(BaseExceptionGroup) as caught:
        await program()

    assert caught.group_contains(error)
    assert [type(item) for item in diary] == [Stopping] * 2
    assert supervisor.children() == ()


async def test_child_that_what_ends_the_program_left_as_it_was_stopped_is_gone():
    async def interrupted(inbox):
        inbox.ready()
        async for _ in inbox:
            raise KeyboardInterrupt

    supervisor = quiet_supervisor()

    async def program():
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run, player("elder"), role("one", interrupted))
            nursery.cancel_scope.cancel()

    with pytest.raises(BaseExceptionGroup) as caught:
        await program()

    assert caught.group_contains(KeyboardInterrupt)
    assert supervisor.children() == ()


async def test_what_ends_the_program_leaves_a_static_child_that_comes_up():
    async def interrupted(inbox):
        raise KeyboardInterrupt

    supervisor = quiet_supervisor()
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervisor.run(player("first"), role("second", interrupted), player("third"))

    assert caught.group_contains(KeyboardInterrupt)
    assert supervisor.children() == ()


async def test_keyboard_interrupt_beside_an_error_leaves_as_a_group():
    async def run(inbox):
        raise BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError()])

    supervisor = quiet_supervisor()
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervisor.run(role("one", run))

    assert caught.group_contains(KeyboardInterrupt)


async def test_supervisor_runs_once_at_a_time():
    async with stage() as here:
        with pytest.raises(RuntimeError, match="once at a time"):
            await here.supervisor.run()
        ref = here.start(player("one"))

        assert await ref.ask(Question, within=1) == 1


async def test_children_are_listed_oldest_first():
    async with stage(player("static")) as here:
        for name in ("b", "a"):
            here.start(player(name))
        infos = here.supervisor.children()

        assert [info.name for info in infos] == ["static", "b", "a"]
        assert all(info.is_running for info in infos)
        assert [info.heir_size for info in infos] == [None] * 3
