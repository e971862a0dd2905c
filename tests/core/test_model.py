"""Random sequences of everything one can do to actors, against the model of `model.py`.

Hypothesis makes trio's scheduling deterministic, so a failing sequence shrinks.
"""

from __future__ import annotations

from random import Random

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.core.errors import ActorError
from actors.core.ref import cell_of
from actors.core.signals import Restarted, Stopping, Terminated
from actors.core.spec import Backoff, Intensity
from actors.core.supervisor import Supervisor
from tests.core.model import ASK_WITHIN, CAPACITY, RESTARTS, STOP_WITHIN, Model
from tests.support.stage import role

NAMES = st.sampled_from("ab")
MESSAGES = st.sampled_from(["note", "hold", "crash", "retire", "return", "answer kept"])
STEPS = st.one_of(
    st.tuples(st.just("tell"), NAMES, MESSAGES),
    st.tuples(st.sampled_from(["send", "ask", "keep", "poison", "release"]), NAMES),
    st.tuples(st.sampled_from(["stop", "fail", "start", "give up sending"]), NAMES),
    st.tuples(st.sampled_from(["watch", "unwatch"]), NAMES, NAMES),
    st.just(("advance",)),
)


class Real:
    """One real actor under test, through all its incarnations."""

    def __init__(self, supervisor, name):
        self.log = []
        self.inbox = None
        self.gate = trio.Event()
        self.ref = supervisor.start_child(
            role(
                name,
                self.run,
                capacity=CAPACITY,
                backoff=Backoff(first=0, base=0),
                stop_within=STOP_WITHIN,
            )
        )

    async def run(self, inbox):
        self.inbox = inbox
        kept = []
        async for item in inbox:
            self.log.append(plain(item))
            match item:
                case ("hold",):
                    self.gate = trio.Event()
                    await self.gate.wait()
                case ("crash",):
                    raise RuntimeError("told to")
                case ("return",) | Stopping():
                    return
                case ("retire",):
                    if inbox.retire():
                        return
                case _:
                    answer(item, kept, inbox.incarnation)


def answer(item, kept, incarnation):
    match item:
        case ("ask", _, reply):
            reply.set(("answer", incarnation))
        case ("keep", _, reply):
            kept.append(reply)
        case ("answer kept",):
            for reply in kept:
                reply.set(("answer", incarnation))
            kept.clear()


def plain(item):
    """Return what the model writes into its log for this."""
    match item:
        case Restarted(ref, incarnation):
            return ("restarted", ref.name, incarnation)
        case Terminated(ref, reason):
            return ("terminated", ref.name, reason.value)
        case Stopping():
            return ("stopping",)
        case (("ask" | "keep") as kind, number, _):
            return (kind, number)
    return item


class Play:
    """Does each step to the model and to real actors, and compares them."""

    def __init__(self, nursery, supervisor):
        self.model = Model()
        self.real = {}
        self.outcomes = {}
        self.scopes = {}
        self.number = 0
        self.nursery = nursery
        self.supervisor = supervisor
        for name in "ab":
            self.do("start", name)

    def do(self, step, *arguments):
        self.number += 1
        if step == "advance":
            self.model.advance()
            return
        name, *rest = arguments
        if step == "start":
            self.model.start(name)
            if name not in self.real or not self.real[name].ref.alive:
                self.real[name] = Real(self.supervisor, name)
            return
        getattr(self, step.replace(" ", "_"))(self.model.actors[name], self.real[name], *rest)

    def tell(self, model, real, kind):
        message = (kind, self.number) if kind == "note" else (kind,)
        assert real.ref.tell(message) == self.model.tell(model, message)

    def poison(self, model, real):
        assert self.supervisor.poison(real.ref) == self.model.tell(model, ("poison",))

    def send(self, model, real):
        message = ("note", self.number)
        self.model.send(model, message)

        async def send():
            await real.ref.send(message)
            return "sent"

        self.nursery.start_soon(self.note_outcome, self.number, send)

    def ask(self, model, real, kind="ask"):
        self.model.send(model, (kind, self.number))
        number = self.number

        async def ask():
            return await real.ref.ask(lambda reply: (kind, number, reply), within=ASK_WITHIN)

        self.nursery.start_soon(self.note_outcome, number, ask)

    def keep(self, model, real):
        self.ask(model, real, "keep")

    async def note_outcome(self, number, act):
        outcome = "cancelled"
        with trio.CancelScope() as self.scopes[number]:
            try:
                outcome = await act()
            except ActorError as error:
                outcome = type(error).__name__
        self.outcomes[number] = outcome

    def give_up_sending(self, model, real):
        for _, number in model.senders:
            self.scopes[number].cancel()
        self.model.give_up_sending(model)

    def release(self, model, real):
        self.model.release(model)
        real.gate.set()

    def stop(self, model, real):
        self.model.stop(model)
        self.nursery.start_soon(self.supervisor.stop_child, real.ref)

    def fail(self, model, real):
        self.model.fail(model)
        self.supervisor.fail(real.ref, RuntimeError("charged"))

    def watch(self, model, real, other):
        self.model.watch(model, self.model.actors[other])
        real.inbox.watch(self.real[other].ref)

    def unwatch(self, model, real, other):
        self.model.unwatch(model, self.model.actors[other])
        real.inbox.unwatch(self.real[other].ref)

    def compare(self):
        assert self.outcomes == self.model.outcomes
        for name, model in self.model.actors.items():
            real = self.real[name]
            cell = cell_of(real.ref)
            assert real.log == model.log
            assert real.ref.alive == (model.end is None)
            assert cell.mailbox.statistics().queued == len(model.queue)
            assert [watcher.spec.name for watcher in cell.watchers] == [
                watcher.name for watcher in model.watchers
            ]
            assert cell.incarnation == model.incarnation


async def play(steps):
    supervisor = Supervisor(
        random=Random(1),
        observe=lambda report: None,
        intensity=Intensity(restarts=RESTARTS, period=float("inf")),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        play = Play(nursery, supervisor)
        await wait_all_tasks_blocked()
        for step in steps:
            play.do(*step)
            if step == ("advance",):
                await trio.sleep(10)
            await wait_all_tasks_blocked()
            play.compare()
        nursery.cancel_scope.cancel()
    assert supervisor.children() == ()


class Machine(RuleBasedStateMachine):
    """Collects steps and plays them at the end, so that all of them happen in one trio loop."""

    def __init__(self):
        super().__init__()
        self.steps = []

    @rule(step=STEPS)
    def do(self, step):
        self.steps.append(step)

    @rule(name=NAMES, kinds=st.lists(MESSAGES, min_size=CAPACITY, max_size=CAPACITY))
    def fill(self, name, kinds):
        """Hold an actor and fill its mailbox: what is sent from here on waits."""
        self.steps += [("tell", name, kind) for kind in ("hold", *kinds)]

    def teardown(self):
        trio.run(play, self.steps, clock=MockClock(autojump_threshold=0))


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
test_actors_do_what_the_model_says = pytest.mark.slow(Machine.TestCase)
