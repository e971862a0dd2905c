"""Telling, sending and asking: what a sender gets to know, and when."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.errors import ActorCrashed, ActorStopped, AskTimeout
from actors.core.ref import Reply
from actors.core.signals import Stopping
from actors.core.spec import Backoff, Restart
from tests.support.stage import Crash, Question, Return, player, role, stage


async def outcome_of(ref, within=10.0):
    """Return what a question to that actor comes to: the answer, or the class of what it raises."""
    try:
        return await ref.ask(Question, within=within)
    except Exception as error:  # noqa: BLE001  # the outcome is what is asked for
        return type(error)


class Asker:
    """Asks in tasks of a nursery and notes each outcome with the time it took."""

    def __init__(self, nursery):
        self.outcomes = []
        self._nursery = nursery

    def ask_soon(self, ref, within=10.0):
        self._nursery.start_soon(self._ask, ref, within)

    async def _ask(self, ref, within):
        began = trio.current_time()
        outcome = await outcome_of(ref, within)
        self.outcomes.append((outcome, trio.current_time() - began))


async def deaf(inbox):
    await trio.sleep_forever()


async def hoard(inbox):
    """Take questions and never answer; crash or stop when told."""
    async for item in inbox:
        match item:
            case Crash(error):
                raise error
            case Return() | Stopping():
                return


async def test_question_is_answered():
    async with stage() as here:
        assert await outcome_of(here.start(player("one"))) == 1


async def test_messages_of_one_sender_arrive_in_order_across_restarts():
    diary = []
    async with stage() as here:
        ref = here.start(player("one", diary, capacity=3))
        for number in range(20):
            await ref.send(number)
            if number in (5, 12):
                await ref.send(Crash())
        await wait_all_tasks_blocked()

        assert [item for item in diary if isinstance(item, int)] == list(range(20))


async def test_tell_to_the_dead_is_not_delivered():
    async with stage() as here:
        ref = here.start(player("one"))
        await here.supervisor.stop_child(ref)

        assert not ref.tell("anything")
        assert not ref.alive


async def test_restarting_actor_is_alive():
    async with stage() as here:
        ref = here.start(player("one", backoff=Backoff(first=10)))
        ref.tell(Crash())
        await wait_all_tasks_blocked()

        assert ref.alive
        assert ref.tell("kept")


async def test_send_to_the_dead_raises():
    async with stage() as here:
        ref = here.start(player("one"))
        await here.supervisor.stop_child(ref)

        with pytest.raises(ActorStopped):
            await ref.send("anything")


async def test_question_to_the_dead_fails_at_once():
    async with stage() as here:
        ref = here.start(player("one"))
        await here.supervisor.stop_child(ref)
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref)

        assert asker.outcomes == [(ActorStopped, 0)]


async def test_question_in_hand_fails_at_once():
    async with stage() as here:
        ref = here.start(role("hoarder", hoard))
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref)
            await wait_all_tasks_blocked()
            ref.tell(Crash())

        assert asker.outcomes == [(ActorCrashed, 0)]


async def test_question_whose_handling_crashes_fails_at_once():
    async def stumble(inbox):
        async for _ in inbox:
            raise RuntimeError("cannot answer")

    async with stage() as here:
        ref = here.start(role("stumbling", stumble, restart=Restart.TEMPORARY))
        assert await outcome_of(ref) is ActorCrashed


async def test_queued_question_is_answered_after_restart():
    async with stage() as here:
        ref = here.start(player("one", backoff=Backoff(first=2)))
        ref.tell(Crash())
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref)

        assert asker.outcomes == [(2, 2)]


@pytest.mark.parametrize(
    ("ending", "options"),
    [(Return(), {}), (Crash(), {"restart": Restart.TEMPORARY})],
    ids=["return", "crash"],
)
async def test_queued_question_fails_when_the_actor_is_gone_for_good(ending, options):
    async with stage() as here:
        gate = trio.Event()

        async def run(inbox):
            await gate.wait()
            await hoard(inbox)

        ref = here.start(role("one", run, **options))
        ref.tell(ending)
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref)
            await wait_all_tasks_blocked()
            gate.set()

        assert asker.outcomes == [(ActorStopped, 0)]


async def test_question_that_a_stopping_actor_holds_fails_as_stopped():
    async with stage() as here:
        ref = here.start(role("hoarder", hoard))
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref)
            await wait_all_tasks_blocked()
            await here.supervisor.stop_child(ref)

        assert asker.outcomes == [(ActorStopped, 0)]


async def test_no_question_outlives_its_time():
    async with stage() as here:
        ref = here.start(role("hoarder", hoard))
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref, within=3)

        assert asker.outcomes == [(AskTimeout, 3)]


async def test_the_wait_for_room_counts_towards_a_questions_time():
    async with stage() as here:
        ref = here.start(role("deaf", deaf, capacity=1, stop_within=0))
        ref.tell("fills it")
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref, within=3)
        [info] = here.supervisor.children()

        assert asker.outcomes == [(AskTimeout, 3)]
        assert info.mailbox.queued == 1


async def test_question_may_be_answered_after_the_handler_returned():
    held = []

    async def run(inbox):
        async for item in inbox:
            match item:
                case Question(reply):
                    held.append(reply)
                case "answer":
                    for reply in held:
                        assert reply.set("late")
                case Stopping():
                    return

    async with stage() as here:
        ref = here.start(role("slow", run))
        async with trio.open_nursery() as nursery:
            asker = Asker(nursery)
            asker.ask_soon(ref)
            asker.ask_soon(ref)
            await trio.sleep(2)
            ref.tell("answer")

        assert asker.outcomes == [("late", 2), ("late", 2)]


async def test_question_may_be_handed_on_to_another_actor():
    async def hand_on(inbox):
        async for item in inbox:
            if isinstance(item, Stopping):
                return
            expert.tell(item)

    async with stage() as here:
        expert = here.start(player("expert"))
        assert await outcome_of(here.start(role("desk", hand_on))) == 1


async def test_answer_of_a_dead_incarnation_counts_for_nothing():
    held = []
    async with stage() as here:

        async def run(inbox):
            async for item in inbox:
                held.append(item.reply)
                await trio.sleep(1)
                raise RuntimeError("before the answer")

        ref = here.start(role("one", run, stop_within=0))

        assert await outcome_of(ref) is ActorCrashed
        assert not held[0].set("too late")


async def test_answer_to_an_asker_that_went_away_counts_for_nothing():
    held = []

    async def run(inbox):
        async for item in inbox:
            if isinstance(item, Stopping):
                return
            held.append(item.reply)

    async with stage() as here:
        ref = here.start(role("slow", run))
        with trio.move_on_after(1):
            await ref.ask(Question, within=10)

        assert held[0].is_settled
        assert not held[0].set("too late")


async def test_cancelled_question_raises_nothing_else():
    async with stage() as here:
        ref = here.start(role("hoarder", hoard))
        with trio.move_on_after(1) as scope:
            await ref.ask(Question, within=10)

        assert scope.cancelled_caught


async def test_first_answer_counts():
    reply = Reply()

    assert reply.set("first")
    assert not reply.set("second")
    assert not reply.fail(RuntimeError("third"))
    assert await reply.wait() == "first"


async def test_actor_can_refuse_a_question():
    async def refuse(inbox):
        async for item in inbox:
            if isinstance(item, Stopping):
                return
            item.reply.fail(LookupError("no such thing"))

    async with stage() as here:
        assert await outcome_of(here.start(role("strict", refuse))) is LookupError
        assert here.reports == []


async def test_question_that_cannot_be_built_is_the_askers_error():
    async with stage() as here:
        ref = here.start(player("one"))
        with pytest.raises(ZeroDivisionError):
            await ref.ask(lambda reply: 1 / 0, within=1)

        assert here.reports == []


async def test_actor_that_asks_itself_is_answered_by_the_clock():
    outcomes = []

    async def run(inbox):
        async for item in inbox:
            if isinstance(item, Stopping):
                return
            if item == "ask yourself":
                outcomes.append(await outcome_of(inbox.ref, within=2))

    async with stage() as here:
        here.start(role("lonely", run)).tell("ask yourself")
        await trio.sleep(3)

        assert outcomes == [AskTimeout]


async def test_answered_questions_are_not_kept():
    async with stage() as here:
        ref = here.start(player("one"))
        for _ in range(100):
            await ref.ask(Question, within=1)

        assert len(ref._cell._taken) <= 1


async def test_ref_shows_its_name():
    async with stage() as here:
        ref = here.start(player("one"))

        assert ref.name == "one"
        assert repr(ref) == "<Ref 'one'>"
