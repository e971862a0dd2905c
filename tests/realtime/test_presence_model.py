"""Random lives of clients that are present on two topics, while any actor may crash, against who is really there.

Every client folds what it is told as phoenix.js does. Once everything has settled, all that asked for presence
must see exactly who is tracked, and two witnesses per topic, who are there all evening, must have heard the same.
Hypothesis seeds trio's scheduling, so it draws the order of tasks as well, and a failing sequence shrinks.
"""

from __future__ import annotations

from collections import Counter

import trio
import trio.testing
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.core.errors import Poisoned
from tests.support.memory_tenant import Client, open_stage
from tests.support.presence import Folded

TOPICS = ("a", "b")
GUESTS = range(4)
#: One crash more within a minute, and the actor is given up.
CRASHES = 5
WHATS = ["join", "join", "track", "track", "track", "untrack", "leave", "go"]
CRASHED = ["crash connection", "crash channel", "crash presence"]
STEPS = st.tuples(
    st.sampled_from(WHATS + CRASHED),
    st.sampled_from(GUESTS),
    st.sampled_from(TOPICS),
    st.integers(0, 3),
    st.integers(0, 4),
)


@define
class View:
    """One client's membership in one topic, as the client knows it."""

    folded: Folded = field(factory=Folded)
    joins: list[str] = field(factory=list)
    is_answered: bool = False
    asked_for_state: bool = True

    def take(self, message) -> None:
        if message.event == "phx_reply" and message.ref in self.joins:
            self.folded.begin()
            self.is_answered = message.ref == self.joins[-1]
        elif message.event.startswith("presence") and not self.joins:
            self.folded.faults.append("heard of presence before joining")
        else:
            self.folded.take(message)


@define
class Guest:
    """A client and what it does; `tracks` is what it is present with once everything has settled.

    What was pushed for a join that was not answered yet is carried out for the join that replaces it, if that
    overtakes the answer: these tracks are in doubt.
    """

    client: Client
    name: str
    views: dict[str, View] = field(factory=lambda: {topic: View() for topic in TOPICS})
    tracks: dict[str, dict] = field(factory=dict)
    in_doubt: dict[str, dict] = field(factory=dict)
    members: set[str] = field(factory=set)

    def join(self, topic: str, *, enabled: bool = True) -> None:
        config = {"presence": {"key": f"key of {topic}", "enabled": enabled}}
        self.listen_nowait()
        view = self.views[topic]
        waiting = self.settle(topic)
        if waiting is not None and not view.is_answered:
            self.in_doubt[topic] = waiting
        view.is_answered = False
        view.joins.append(self.client.join(f"realtime:{topic}", **config))
        view.asked_for_state = enabled
        self.members.add(topic)

    def settle(self, topic: str) -> dict | None:
        """Be absent from a topic, and return what was tracked there, for sure or not."""
        return self.tracks.pop(topic, None) or self.in_doubt.pop(topic, None)

    def track(self, topic: str, number: int) -> None:
        self.client.track({"n": number, "by": self.name}, f"realtime:{topic}")
        self.in_doubt.pop(topic, None)
        if topic in self.members:
            self.tracks[topic] = {"n": number, "by": self.name}

    def untrack(self, topic: str) -> None:
        self.client.untrack(f"realtime:{topic}")
        self.settle(topic)

    def leave(self, topic: str) -> None:
        self.client.push("phx_leave", topic=f"realtime:{topic}")
        self.members.discard(topic)
        self.settle(topic)

    def listen_nowait(self) -> None:
        for message in self.client.received_nowait():
            topic = message.topic.removeprefix("realtime:")
            if topic in self.views:
                self.views[topic].take(message)


class Evening:
    """The guests, who come and go, and the witnesses, who stay."""

    def __init__(self, stage) -> None:
        self.stage = stage
        self.connected = 0
        self.crashes: Counter = Counter()
        self.guests = [self.arrive(number) for number in GUESTS]
        self.witnesses = [self.arrive(number) for number in range(2)]

    def arrive(self, number: int) -> Guest:
        self.connected += 1
        client = self.stage.connect(("1.0.0", "2.0.0")[number % 2])
        return Guest(client, f"conn_{self.connected}")

    def step(self, what: str, number: int, topic: str, detail: int) -> None:
        guest = self.guests[number]
        match what:
            case "join":
                guest.join(topic, enabled=detail > 0)
            case "track":
                guest.track(topic, detail)
            case "untrack" | "leave":
                getattr(guest, what)(topic)
            case "go":
                guest.client.leave_socket()
                self.guests[number] = self.arrive(number)
            case "crash connection":
                self.crash(self.stage.connections_supervisor, guest.name, detail)
                self.guests[number] = self.arrive(number)
            case "crash channel" | "crash presence":
                find = self.stage.channel if what == "crash channel" else self.stage.presence
                ref = find(topic)
                if ref is not None and self.crashes[ref.name] < CRASHES:
                    self.crashes[ref.name] += 1
                    self.crash(self.stage.channels_supervisor, ref.name, detail)

    def crash(self, supervisor, name, detail: int) -> None:
        """Crash an actor at its next waiting point, or when it comes to the poison."""
        ref = supervisor.find(name)
        if ref is None:
            return
        if detail % 2:
            supervisor.fail(ref, Poisoned("while it ran"))
        else:
            supervisor.poison(ref)

    async def check(self) -> None:
        await trio.sleep(60)
        for guest in (*self.guests, *self.witnesses):
            guest.listen_nowait()
        for topic in TOPICS:
            present = [g.tracks[topic] for g in self.guests if topic in g.tracks]
            in_doubt = [g.in_doubt[topic] for g in self.guests if topic in g.in_doubt]
            one, other = (witness.views[topic].folded for witness in self.witnesses)
            seen = list(one.payloads().values())
            assert [payload for payload in present if payload not in seen] == []
            assert [p for p in seen if p not in present and p not in in_doubt] == []
            for guest in (*self.guests, *self.witnesses):
                view = guest.views[topic]
                assert view.folded.faults == []
                if topic in guest.members and view.asked_for_state:
                    assert view.folded.payloads() == one.payloads()
            assert one.joined == other.joined
            assert one.left == other.left
            assert set(one.joined.values()) | set(one.left.values()) <= {1}
            assert one.joined.keys() - one.left.keys() == one.refs()

    async def go_home(self) -> None:
        for guest in (*self.guests, *self.witnesses):
            guest.client.leave_socket()
        await trio.sleep(60)


@given(steps=st.lists(STEPS, max_size=40), order=st.random_module())
def test_everybody_sees_who_is_there_whatever_crashed(steps, order):
    trio.run(play, steps, clock=MockClock(autojump_threshold=0))


async def play(steps) -> None:
    async with open_stage() as stage:
        evening = Evening(stage)
        for witness in evening.witnesses:
            for topic in TOPICS:
                witness.join(topic)
            await trio.testing.wait_all_tasks_blocked()
        for what, number, topic, detail, ticks in steps:
            evening.step(what, number, topic, detail)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
        await evening.check()
        await evening.go_home()

        assert stage.channels_supervisor.children() == ()
        assert stage.metrics.presences._value.get() == 0
