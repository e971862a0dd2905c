"""One clock for the alarms of all connections: on time, once each, and after a crash as well."""

from __future__ import annotations

import gc
import math
import weakref
from contextlib import asynccontextmanager
from random import Random

import trio
import trio.testing
from attrs import define, field

from actors.core.signals import Stopping
from actors.core.spec import Backoff, ChildSpec, Intensity
from actors.core.supervisor import Supervisor
from actors.realtime.alarm import Alarm, Alarms
from actors.realtime.alarm_clock import AlarmClock, alarm_clock_spec
from actors.realtime.messages import AlarmRang
from tests.support.memory_tenant import fake_token, open_stage

CROWD = 10_000


@define(eq=False)
class Owner:
    """Notes when its alarm rings, in seconds since the clock was started."""

    rang_at: list[float] = field(factory=list)

    async def run(self, inbox) -> None:
        async for message in inbox:
            if isinstance(message, Stopping):
                return
            assert isinstance(message, AlarmRang)
            self.rang_at.append(trio.current_time())


class Bell:
    """An owner without an actor: counts how often it was told."""

    def __init__(self) -> None:
        self.rang = 0

    def tell(self, message) -> bool:
        assert isinstance(message, AlarmRang)
        self.rang += 1
        return True


@asynccontextmanager
async def running(*specs):
    """Run these children; give out their supervisor."""
    supervisor = Supervisor(
        random=Random(1), observe=lambda _: None, intensity=Intensity(math.inf, 60.0)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(*specs, task_status=task_status))
        yield supervisor
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_clock():
    alarms = Alarms()
    async with running(alarm_clock_spec(alarms)) as supervisor:
        yield alarms, supervisor


def start_owner(supervisor, alarms, name="owner"):
    owner = Owner()
    return owner, Alarm(alarms, supervisor.start_child(ChildSpec(name, lambda: owner, rank=3)))


async def test_an_alarm_rings_once_at_the_earliest_of_its_times(autojump_clock):
    async with running_clock() as (alarms, supervisor):
        owner, alarm = start_owner(supervisor, alarms)
        for seconds in (600, 300.5, 4000, 300.5):
            alarm.ring_within(seconds)
        await trio.sleep(5000)

        assert owner.rang_at == [300.5]
        assert len(alarms) == 0


async def test_one_that_rang_may_be_set_again(autojump_clock):
    async with running_clock() as (alarms, supervisor):
        owner, alarm = start_owner(supervisor, alarms)
        for _ in range(3):
            alarm.ring_within(10)
            await trio.sleep(100)

        assert owner.rang_at == [10, 110, 210]


async def test_a_time_that_has_come_already_rings_at_once(autojump_clock):
    async with running_clock() as (alarms, supervisor):
        owner, alarm = start_owner(supervisor, alarms)
        alarm.ring_within(0)
        await trio.testing.wait_all_tasks_blocked()

        assert owner.rang_at == [0]


async def test_each_rings_at_its_own_time_in_whatever_order_they_were_set(autojump_clock):
    random = Random(7)
    times = [float(random.randrange(1, 500)) for _ in range(300)]
    async with running_clock() as (alarms, supervisor):
        pairs = [start_owner(supervisor, alarms, n) for n in range(len(times))]
        for (_, alarm), seconds in zip(pairs, times, strict=True):
            alarm.ring_within(seconds)
            if seconds % 3 == 0:
                alarm.ring_within(seconds / 2)
        await trio.sleep(1000)

    expected = [[t / 2 if t % 3 == 0 else t] for t in times]
    assert [owner.rang_at for owner, _ in pairs] == expected


async def test_one_that_was_stopped_rings_no_more_and_lets_its_owner_go(autojump_clock):
    async with running_clock() as (alarms, _):
        bell = Bell()
        held = weakref.ref(bell)
        alarm = Alarm(alarms, bell)
        alarm.ring_within(10)
        alarm.stop()
        alarm.stop()
        alarm.ring_within(5)
        assert len(alarms) == 0
        await trio.sleep(100)
        assert bell.rang == 0

        del bell
        gc.collect()
        assert held() is None


async def test_a_crowd_that_is_due_at_once_does_not_keep_others_waiting(autojump_clock):
    async with running_clock() as (alarms, _):
        bells = [Bell() for _ in range(1000)]
        for bell in bells:
            Alarm(alarms, bell).ring_within(10)
        await trio.sleep(10)
        seen = set()
        while any(not bell.rang for bell in bells):
            seen.add(sum(bell.rang for bell in bells))
            await trio.lowlevel.checkpoint()

    assert len(seen) > 5
    assert all(bell.rang == 1 for bell in bells)


async def test_what_is_kept_is_bounded_by_the_alarms_that_are_set(autojump_clock):
    alarms = Alarms()
    living = [Alarm(alarms, Bell()) for _ in range(100)]
    for turn in range(CROWD):
        # Those who come and go, and those who stay and have their time moved.
        passing = Alarm(alarms, Bell())
        passing.ring_within(600)
        passing.stop()
        living[turn % 100].ring_within(1e6 - turn)

    assert len(alarms) == 100
    assert alarms.entries <= 250


async def test_setting_one_among_ten_thousand_compares_few(autojump_clock):
    alarms = Alarms()
    for seconds in range(CROWD):
        Alarm(alarms, Bell()).ring_within(1000 + seconds)
    comparisons = 0

    class Counted(float):
        def __lt__(self, other):
            nonlocal comparisons
            comparisons += 1
            return float(self) < float(other)

    alarms.enter(Alarm(alarms, Bell()), Counted(1.0))

    assert 0 < comparisons < 50


async def test_a_crash_while_ringing_silences_nobody(autojump_clock):
    class Broken(Bell):
        def tell(self, message) -> bool:
            super().tell(message)
            if self.rang == 1:
                raise RuntimeError("a bug")
            return True

    async with running_clock() as (alarms, supervisor):
        bells = [Bell(), Broken(), Bell()]
        for bell in bells:
            Alarm(alarms, bell).ring_within(10)
        await trio.sleep(11)

        assert [bell.rang for bell in bells] == [1, 2, 1]
        assert supervisor.children()[0].incarnation == 2


async def test_what_is_due_or_set_while_the_clock_is_down_rings_when_it_is_back(autojump_clock):
    alarms, bells = Alarms(), [Bell(), Bell()]
    spec = ChildSpec(
        "alarm_clock",
        lambda: AlarmClock(alarms),
        rank=3,
        heir=alarms,
        backoff=Backoff(first=60),
    )
    async with running() as supervisor:
        clock = supervisor.start_child(spec)
        Alarm(alarms, bells[0]).ring_within(30)
        await trio.testing.wait_all_tasks_blocked()
        supervisor.poison(clock)
        await trio.sleep(10)
        Alarm(alarms, bells[1]).ring_within(5)
        await trio.sleep(49)
        assert [bell.rang for bell in bells] == [0, 0]
        await trio.sleep(2)

        assert [bell.rang for bell in bells] == [1, 1]


async def test_tokens_are_verified_on_time_although_the_clock_has_crashed(autojump_clock):
    async with open_stage() as stage:
        token = fake_token("anon", expires_at=60)
        client = stage.connect()
        await client.joined(token=token)
        (clock,) = stage.clocks.children()
        stage.clocks.poison(stage.clocks.find(clock.name))
        await trio.sleep(59)
        assert await client.received() == []
        await trio.sleep(1.5)

        notice, close = await client.received()
        assert "expired" in notice.payload["message"]
        assert close.event == "phx_close"
        assert stage.clocks.children()[0].incarnation == 2


async def test_a_connection_that_ended_leaves_no_alarm(autojump_clock):
    async with open_stage() as stage:
        clients = [stage.connect() for _ in range(50)]
        for client in clients:
            await client.joined()
        assert len(stage.tenant.alarms) == 50
        for client in clients:
            client.leave_socket()
        await trio.sleep(1)

        assert len(stage.tenant.alarms) == 0
