"""Random lives of several clients on two topics, against what each of them must hear.

Hypothesis seeds trio's scheduling, so it draws the order of tasks as well, and a failing sequence shrinks.
After each step the tasks run a few ticks only, so that the next one overtakes what it set off.
"""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.core.errors import Poisoned
from tests.support.memory_tenant import open_stage

TOPICS = ("a", "b")
CLIENTS = range(3)
STEPS = st.tuples(
    st.sampled_from(["join", "join", "leave", "broadcast", "crash", "go"]),
    st.sampled_from(CLIENTS),
    st.sampled_from(TOPICS),
    st.integers(0, 4),
)


class Evening:
    """Clients, and which topics each is a member of once everything has settled."""

    def __init__(self, stage) -> None:
        self.stage = stage
        self.clients = [stage.connect(("1.0.0", "2.0.0")[number % 2]) for number in CLIENTS]
        self.members: dict[tuple[int, str], str] = {}
        self.crashes = 0

    def step(self, what: str, number: int, topic: str) -> None:
        client, name = self.clients[number], f"realtime:{topic}"
        match what:
            case "join":
                ref = client.join(name, broadcast={"self": True})
                self.members[number, topic] = ref
            case "leave":
                client.push("phx_leave", topic=name, join_ref=self.members.get((number, topic)))
                self.members.pop((number, topic), None)
            case "broadcast":
                client.broadcast("in between", name)
            case "crash" if self.crashes < 5:
                ref = self.stage.channel(topic)
                if ref is not None:
                    self.crashes += 1
                    self.stage.channels_supervisor.fail(ref, Poisoned("while it ran"))
            case "go":
                client.leave_socket()
                self.clients[number] = self.stage.connect(client.version)
                for other in TOPICS:
                    self.members.pop((number, other), None)

    async def check(self) -> None:
        """Publish numbers on each topic: members hear all of them in order, the others nothing."""
        await trio.sleep(60)
        for client in self.clients:
            await client.received()
        for topic in TOPICS:
            publisher = self.stage.connect()
            await publisher.joined(f"realtime:{topic}")
            for number in range(3):
                publisher.broadcast(number, f"realtime:{topic}")
            for number, client in enumerate(self.clients):
                heard = [m.payload["payload"] for m in await client.received()]
                assert heard == ([0, 1, 2] if (number, topic) in self.members else [])
            publisher.leave_socket()

    async def go_home(self) -> None:
        for client in self.clients:
            client.leave_socket()
        await trio.testing.wait_all_tasks_blocked()


@given(steps=st.lists(STEPS, max_size=30), order=st.random_module())
def test_members_hear_everything_once_and_the_others_nothing(steps, order):
    trio.run(play, steps, clock=MockClock(autojump_threshold=0))


async def play(steps) -> None:
    async with open_stage() as stage:
        evening = Evening(stage)
        for what, number, topic, ticks in steps:
            evening.step(what, number, topic)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
        await evening.check()
        await evening.go_home()

        assert stage.channels_supervisor.children() == ()
