"""Whatever crashes, restarts or breaks off behind the stage, every client hears each committed row once and in order.

A writer inserts 1, 2, 3, … without pause while faults come in random order: listener, rows actors and channels crash,
the walsender is ended, Postgres is restarted and killed, the network to it is cut.
With one of the three means against loss and repetition taken away, the same play fails.
`TROUPE_TESTS=long` plays 200 faults under three seeds.
"""

from __future__ import annotations

import math
import random

import pytest
import trio
from attrs import evolve, frozen
from psycopg.conninfo import make_conninfo

from actors.core.spec import Intensity
from actors.db.slots import SlotMode
from actors.db.visibility import DatabaseVisibility
from actors.realtime.announcing import SUBSCRIBED
from actors.realtime.channels import Channels
from tests.support.extent import is_long
from tests.support.faults import CRASHES, BreakableLog, Fault, Faults, plan
from tests.support.numbers import SCHEMA, Follower, NumberWriter
from tests.support.postgres import fresh_database
from tests.support.proxy import running_proxy
from tests.support.running_node import running_node

TOPICS = tuple(f"room{number}" for number in range(5))
SUBSCRIBERS = 4
FAULTS, SEEDS, CUT_S = (200, (1, 2, 3), (1.0, 5.0)) if is_long() else (34, (1,), (0.5, 4.0))
#: Rows of one transaction: mostly one, now and then more than a chunk of the stream holds.
SIZES = (*[1] * 150, 5, 20, 20, 600)
PAUSE_S = 0.01
#: Slow consumers are no subject here, and all clients share one processor with the server.
OUTBOX_BYTES = 64 * 1024 * 1024
#: In seconds, for a whole play (`tests/conftest.py`).
DEADLINE_S = 1200.0 if is_long() else 240.0
#: How long the stream may take to come back after an outage, and the last rows to arrive.
RECOVERY_S = 60.0

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@frozen
class Outcome:
    """What a play has shown."""

    faults: Faults
    followers: list[Follower]
    writer: NumberWriter
    crashes: dict[str, float]

    @property
    def wrong(self) -> list[str]:
        return [follower.wrong for follower in self.followers if follower.wrong is not None]

    def explain(self) -> str:
        done = ", ".join(" ".join(fault) for fault in self.faults.done)
        return f"committed {self.writer.committed}; {self.wrong}; after: {done}"


@pytest.fixture
def numbers(durable_server):
    """The server with an empty table of numbers, and nothing of earlier plays."""
    with fresh_database(durable_server, "numbers") as database:
        database.execute(*SCHEMA)
        yield database


async def play(numbers, monkeypatch, seed: int, log_type=BreakableLog, **settings) -> Outcome:
    """Play until all faults are through and every client has heard every number, or one of them something wrong."""
    rng = random.Random(seed)
    logs: list[BreakableLog] = []

    def make_log(*args, **kwargs) -> BreakableLog:
        logs.append(log_type(*args, **kwargs))
        return logs[0]

    monkeypatch.setattr("actors.node.ChangeLog", make_log)
    # With the usual minute, a listener that crashes so often would soon rest for half a minute each time.
    monkeypatch.setattr("actors.node.ENDLESS", Intensity(math.inf, period=2.0))
    writer = NumberWriter(numbers.conninfo, rng, SIZES)
    async with trio.open_nursery() as nursery, running_proxy(numbers.server.port) as proxy:
        conninfo = make_conninfo(numbers.conninfo, port=proxy.port)
        followers = [
            Follower(
                TOPICS[number % len(TOPICS)],
                "2.0.0" if number % 3 else "1.0.0",
                nursery.cancel_scope.cancel,
            )
            for number in range(len(TOPICS) * SUBSCRIBERS)
        ]
        async with running_node(
            conninfo, outbox_bytes=OUTBOX_BYTES, idle_timeout_s=DEADLINE_S, **settings
        ) as node:
            faults = Faults(node, logs[0], numbers.server, proxy, SUBSCRIBERS, CUT_S, rng)
            with trio.fail_after(RECOVERY_S):
                for follower in followers:
                    nursery.start_soon(follower.follow, node.port)
                for follower in followers:
                    await follower.is_subscribed.wait()
            await disturb(faults, writer, followers)
            nursery.cancel_scope.cancel()
    writer.close()
    counters = node._metrics.actor_crashes
    crashes = {kind: counter._value.get() for kind, counter in counters.items()}
    return Outcome(faults, followers, writer, crashes)


async def disturb(faults: Faults, writer: NumberWriter, followers: list[Follower]) -> None:
    """Inflict all faults while the writer writes; crashes come during outages, outages one after the other."""
    rng = faults.rng
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, PAUSE_S)
        one_outage = trio.Lock()

        # An outage holds the lock until it is over, and mostly until its rows have come through.
        async def suffer(outage: Fault, is_waited_for: bool) -> None:
            async with one_outage:
                await faults.inflict(outage)
                if is_waited_for:
                    await caught_up(followers[:1], writer.committed)

        async with trio.open_nursery() as outages:
            for fault in plan(rng, FAULTS):
                await trio.sleep(rng.uniform(0.0, 0.2))
                if fault in CRASHES:
                    await faults.inflict(fault)
                else:
                    async with one_outage:
                        pass
                    outages.start_soon(suffer, fault, rng.random() < 0.7)
        nursery.cancel_scope.cancel()
    await writer.commit(1)
    await caught_up(followers, writer.committed)


async def caught_up(followers: list[Follower], number: int) -> None:
    """Wait until these clients have heard the number; one that does not in time is wrong."""
    for follower in followers:
        with trio.move_on_after(RECOVERY_S):
            await follower.wait_heard(number)
        if follower.last < number:
            follower.complain(f"has heard {follower.last}, and nothing since, of {number}")


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_client_hears_every_row_once_and_in_order(numbers, monkeypatch, seed):
    outcome = await play(numbers, monkeypatch, seed)

    assert outcome.wrong == [], outcome.explain()
    assert {follower.last for follower in outcome.followers} == {outcome.writer.committed}
    assert {notice for follower in outcome.followers for notice in follower.notices} == {
        SUBSCRIBED
    }
    assert len(outcome.faults.done) == FAULTS
    assert min(outcome.crashes[kind] for kind in ("listener", "rows", "channel")) > 0


class PositionlessLog(BreakableLog):
    """A change log that takes every change for a new one: what positions are good for."""

    __slots__ = ()

    def append(self, *args, **kwargs):
        self.last_position = None
        return super().append(*args, **kwargs)


class ForgetfulRows(Channels):
    """Rows actors that start with nothing pending: what their heir is good for."""

    def rows_spec(self, key, channel, roster, pending):
        spec = super().rows_spec(key, channel, roster, pending)

        def make():
            pending.references.clear()
            pending.begun = ()
            return spec.factory()

        return evolve(spec, factory=make)


async def test_without_the_durable_position_the_same_play_loses_rows(numbers, monkeypatch):
    outcome = await play(numbers, monkeypatch, SEEDS[0], change_source=SlotMode.TEMPORARY.value)

    assert any("misses" in wrong for wrong in outcome.wrong), outcome.explain()


class SlowVisibility(DatabaseVisibility):
    """Answers late, so that rows are pending most of the time."""

    async def check(self, questions):
        await trio.sleep(0.05)
        return await super().check(questions)


async def test_without_the_heir_the_same_play_loses_rows(numbers, monkeypatch):
    monkeypatch.setattr("actors.node.Channels", ForgetfulRows)
    monkeypatch.setattr("actors.database.DatabaseVisibility", SlowVisibility)

    outcome = await play(numbers, monkeypatch, SEEDS[0])

    assert any("misses" in wrong for wrong in outcome.wrong), outcome.explain()


async def test_without_positions_the_same_play_repeats_rows(numbers, monkeypatch):
    outcome = await play(numbers, monkeypatch, SEEDS[0], PositionlessLog)

    assert any("repeats" in wrong for wrong in outcome.wrong), outcome.explain()
