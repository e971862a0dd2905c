"""Messages that an idle actor deals with in the turn that tells them: the rules of actors hold as for any other."""

from __future__ import annotations

from collections import Counter

import trio
from trio.testing import assert_no_checkpoints, wait_all_tasks_blocked

from actors.core.errors import ActorCrashed, AskTimeout
from actors.core.reports import CrashReport, GiveUpReport
from actors.core.signals import Restarted
from actors.core.spec import Backoff
from tests.support.stage import Crash, Watch, heed, player, role, stage


def swift(name, diary, *, offer=None, **options):
    """Return the spec of an actor that writes down what it is told, at once if it may, with how it came to it."""

    def deal(inbox, item):
        if isinstance(item, Crash):
            raise item.error("at once")
        if offer is not None and not offer(inbox, item):
            return False
        diary.append((inbox.incarnation, "at once", item))
        return True

    async def run(inbox):
        while True:
            async for item in inbox.batch(10, lambda item: deal(inbox, item)):
                diary.append((inbox.incarnation, "queued", item))
                if heed(item, inbox):
                    return

    return role(name, run, **options)


async def test_an_idle_actor_deals_with_a_message_before_the_call_returns():
    diary = []
    async with stage() as here:
        ref = here.start(swift("swift", diary))
        await wait_all_tasks_blocked()

        assert ref.tell_at_once("one")
        assert ref.tell_at_once("two")

        assert diary == [(1, "at once", "one"), (1, "at once", "two")]


async def test_an_actor_that_has_not_begun_to_wait_is_queued_for():
    diary = []
    async with stage() as here:
        ref = here.start(swift("swift", diary))

        assert ref.tell_at_once("early")
        assert diary == []
        await wait_all_tasks_blocked()

        assert diary == [(1, "queued", "early")]


async def test_an_actor_that_offers_nothing_is_queued_for():
    diary = []
    async with stage() as here:
        ref = here.start(player("slow", diary))
        await wait_all_tasks_blocked()

        assert ref.tell_at_once("one")
        assert diary == []
        await wait_all_tasks_blocked()

        assert diary == ["one"]


async def test_nothing_overtakes_what_is_queued():
    diary = []
    async with stage() as here:
        ref = here.start(swift("swift", diary))
        await wait_all_tasks_blocked()

        ref.tell("first")
        ref.tell_at_once("second")
        await wait_all_tasks_blocked()
        ref.tell_at_once("third")

        assert [item for _, _, item in diary] == ["first", "second", "third"]
        assert [how for _, how, _ in diary] == ["queued", "queued", "at once"]


async def test_what_the_actor_does_not_want_at_once_is_queued():
    diary = []
    async with stage() as here:
        ref = here.start(swift("swift", diary, offer=lambda _, item: item != "large"))
        await wait_all_tasks_blocked()

        for item in ("large", "small"):
            assert ref.tell_at_once(item)
        await wait_all_tasks_blocked()

        assert diary == [(1, "queued", "large"), (1, "queued", "small")]


async def test_what_an_actor_tells_itself_meanwhile_comes_next():
    diary = []

    def offer(inbox, item):
        if item == "outer":
            inbox.ref.tell_at_once("inner")
        return True

    async with stage() as here:
        ref = here.start(swift("swift", diary, offer=offer))
        await wait_all_tasks_blocked()

        ref.tell_at_once("outer")
        ref.tell_at_once("after")
        await wait_all_tasks_blocked()

        assert diary == [
            (1, "at once", "outer"),
            (1, "queued", "inner"),
            (1, "queued", "after"),
        ]


async def test_an_error_is_the_actors_crash_and_not_the_callers():
    diary, watching = [], []
    async with stage() as here:
        ref = here.start(swift("swift", diary))
        watcher = here.start(player("watcher", watching))
        watcher.tell(Watch(ref))
        await wait_all_tasks_blocked()

        assert ref.tell_at_once(Crash(ZeroDivisionError))
        assert ref.tell_at_once("behind it")
        assert diary == []
        await wait_all_tasks_blocked()

        (report,) = here.reported(CrashReport)
        assert (report.name, report.incarnation) == ("swift", 1)
        assert (report.error, report.message) == ("ZeroDivisionError", "Crash")
        assert any("deal" in place for place in report.stack)
        assert diary == [(2, "queued", "behind it")]
        assert Restarted(ref, 2) in watching


async def test_the_next_incarnation_deals_with_messages_at_once_again():
    diary = []
    async with stage() as here:
        ref = here.start(swift("swift", diary))
        await wait_all_tasks_blocked()

        ref.tell_at_once(Crash())
        await wait_all_tasks_blocked()
        ref.tell_at_once("again")

        assert diary == [(2, "at once", "again")]


async def test_poison_is_not_overtaken():
    diary = []
    async with stage() as here:
        ref = here.start(swift("swift", diary))
        await wait_all_tasks_blocked()

        assert here.supervisor.poison(ref)
        ref.tell_at_once("behind it")
        await wait_all_tasks_blocked()

        assert [report.error for report in here.reported(CrashReport)] == ["Poisoned"]
        assert diary == [(2, "queued", "behind it")]


async def test_an_actor_that_is_told_to_stop_deals_with_nothing_at_once_any_more():
    diary = []
    async with stage() as here:
        ref = here.start(swift("swift", diary))
        await wait_all_tasks_blocked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.supervisor.stop_child, ref)
            await wait_all_tasks_blocked()
            assert not ref.tell_at_once("late")

        assert "late" not in [item for _, _, item in diary]


async def test_an_actor_that_is_failed_while_it_deals_with_a_message_crashes_once():
    diary = []

    def offer(inbox, item):
        if item == "failing":
            here.supervisor.fail(inbox.ref, RuntimeError("charged"))
            raise ZeroDivisionError
        return True

    async with stage() as here:
        ref = here.start(swift("swift", diary, offer=offer))
        await wait_all_tasks_blocked()

        ref.tell_at_once("failing")
        ref.tell_at_once("behind it")
        await wait_all_tasks_blocked()

        assert [report.error for report in here.reported(CrashReport)] == ["RuntimeError"]
        assert diary == [(2, "queued", "behind it")]


async def test_the_actors_task_takes_no_step_for_what_is_dealt_with_at_once():
    class Steps(trio.abc.Instrument):
        def __init__(self):
            self.of = Counter()

        def after_task_step(self, task):
            self.of[task.name] += 1

    diary, steps = [], Steps()
    async with stage() as here:
        ref = here.start(swift("swift", diary))
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        for number in range(100):
            ref.tell_at_once(number)
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)

        assert len(diary) == 100
        assert steps.of["'swift'"] == 0


async def test_crashes_at_once_count_for_the_restart_limit(autojump_clock):
    async with stage() as here:
        ref = here.start(swift("swift", [], backoff=Backoff(base=0)))
        for _ in range(4):
            await wait_all_tasks_blocked()
            ref.tell_at_once(Crash())
        await wait_all_tasks_blocked()

        assert len(here.reported(GiveUpReport)) == 1
        assert not ref.tell_at_once("too late")


def librarian(name, **options):
    """Return the spec of an actor that answers questions, at once if it may; `keep` is answered with the next one."""

    def deal(inbox, kept, item):
        question, reply = item
        if question == "crash":
            raise ZeroDivisionError
        if question == "keep":
            kept.append(reply)
            return
        for one in (*kept, reply):
            one.set((inbox.incarnation, question))

    async def run(inbox):
        kept = []

        def deal_at_once(item):
            if item[0] == "later":
                return False
            deal(inbox, kept, item)
            return True

        while True:
            async for item in inbox.batch(10, deal_at_once):
                deal(inbox, kept, item)

    return role(name, run, **options)


async def ask(ref, question, outcomes):
    try:
        answer = await ref.ask_at_once(lambda reply: (question, reply), within=1)
    except Exception as error:  # noqa: BLE001  # the outcome is what is asked for
        outcomes.append(type(error))
    else:
        outcomes.append(answer)


async def test_an_idle_actor_answers_within_the_call_again_and_again():
    outcomes = []
    async with stage() as here:
        ref = here.start(librarian("swift"))
        await wait_all_tasks_blocked()

        for question in ("one", "two"):
            with assert_no_checkpoints():
                await ask(ref, question, outcomes)

        assert outcomes == [(1, "one"), (1, "two")]


async def test_what_is_not_answered_at_once_is_waited_for(autojump_clock):
    outcomes = []
    async with stage() as here:
        ref = here.start(librarian("slow"))

        await ask(ref, "before it waits", outcomes)
        await wait_all_tasks_blocked()
        await ask(ref, "later", outcomes)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, ref, "keep", outcomes)
            await wait_all_tasks_blocked()
            await ask(ref, "last", outcomes)

        answers = ["before it waits", "later", "last", "last"]
        assert outcomes == [(1, answer) for answer in answers]


async def test_who_is_not_answered_in_time_hears_of_that(autojump_clock):
    outcomes = []
    async with stage() as here:
        ref = here.start(librarian("forgetful"))
        await wait_all_tasks_blocked()
        start = trio.current_time()

        await ask(ref, "keep", outcomes)

        assert (outcomes, trio.current_time() - start) == ([AskTimeout], 1)


async def test_a_crash_fails_all_questions_that_were_taken_at_once(autojump_clock):
    outcomes = []
    async with stage() as here:
        ref = here.start(librarian("brittle"))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, ref, "keep", outcomes)
            await wait_all_tasks_blocked()
            await ask(ref, "crash", outcomes)
        await ask(ref, "again", outcomes)

        assert outcomes == [ActorCrashed, ActorCrashed, (2, "again")]
