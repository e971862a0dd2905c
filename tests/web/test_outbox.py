"""The outbox over sinks that take what the script says."""

from __future__ import annotations

import pytest
import trio
import wsproto
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked
from wsproto import events

from actors.web.options import OutboxOptions
from actors.web.outbox import Outbox
from actors.web.outbox_cap import OutboxCap
from protocol.frames import CloseCode, close
from tests.support.memory import ScriptedSink
from tests.support.web import text

HELLO = text("hello")
GOODBYE = close(CloseCode.NORMAL)


def read(wire: bytes) -> list[str | int]:
    """Return texts and close codes as a client's WebSocket library reads them."""
    client = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
    client.receive_data(wire)
    seen = []
    message = ""
    for event in client.events():
        match event:
            case events.TextMessage():
                message += event.data
                if event.message_finished:
                    seen.append(message)
                    message = ""
            case events.CloseConnection():
                seen.append(int(event.code))
    assert not message, "a frame was cut"
    return seen


class Owner:
    """What an outbox needs of its owner, and what it was told."""

    def __init__(
        self, nursery: trio.Nursery, sink: ScriptedSink, cap: OutboxCap | None = None, **options
    ) -> None:
        self.ended: list[int] = []
        self.drains = 0
        self.cap = cap or OutboxCap(1 << 30)
        self._nursery = nursery
        self.outbox = Outbox(
            sink,
            evolve(OutboxOptions(), **options),
            self.cap,
            start=self._start,
            on_end=self.ended.append,
        )

    def _start(self, drain) -> None:
        self.drains += 1
        self._nursery.start_soon(drain)


@pytest.mark.capability("SB-139")
async def test_a_push_writes_at_once_and_starts_no_task(nursery):
    sink = ScriptedSink()
    owner = Owner(nursery, sink)

    assert owner.outbox.push(HELLO)

    assert sink.written == HELLO
    assert owner.drains == 0


@pytest.mark.capability("SB-139")
async def test_what_the_socket_does_not_take_follows_in_order(nursery):
    sink = ScriptedSink(3)
    owner = Owner(nursery, sink)

    assert owner.outbox.push(HELLO)
    assert owner.outbox.push(text("again"))
    assert sink.written == HELLO[:3]
    await owner.outbox.wait_drained()

    assert read(sink.written) == ["hello", "again"]
    assert owner.outbox.queued_bytes == 0
    assert owner.cap.queued_bytes == 0


async def test_a_drained_outbox_writes_at_once_again(nursery, autojump_clock):
    sink = ScriptedSink(3)
    owner = Owner(nursery, sink)
    owner.outbox.push(HELLO)
    await wait_all_tasks_blocked()

    owner.outbox.push(HELLO)

    assert sink.written == HELLO * 2
    assert owner.drains == 1


@pytest.mark.capability("SB-066", "SB-140")
async def test_nothing_is_written_after_a_close_frame(nursery):
    sink = ScriptedSink()
    owner = Owner(nursery, sink)

    assert owner.outbox.push(GOODBYE)

    assert not owner.outbox.push(HELLO)
    assert not owner.outbox.push(GOODBYE)
    assert sink.written == GOODBYE
    assert owner.ended == []


@pytest.mark.capability("SB-068")
async def test_a_close_frame_waits_behind_what_is_queued(nursery):
    sink = ScriptedSink(2)
    owner = Owner(nursery, sink)
    owner.outbox.push(HELLO)

    assert owner.outbox.push(GOODBYE)
    assert not owner.outbox.push(HELLO)
    await owner.outbox.wait_drained()

    assert read(sink.written) == ["hello", 1000]


async def test_a_dead_socket_is_reported_once_and_never_raises(nursery):
    sink = ScriptedSink()
    sink.is_dead = True
    owner = Owner(nursery, sink)

    assert not owner.outbox.push(HELLO)
    assert not owner.outbox.push(HELLO)

    assert owner.ended == [1006]


async def test_a_socket_that_dies_while_draining_is_reported(nursery, autojump_clock):
    sink = ScriptedSink(1)
    owner = Owner(nursery, sink)
    owner.outbox.push(HELLO)

    sink.is_dead = True
    await wait_all_tasks_blocked()

    assert owner.ended == [1006]
    assert owner.cap.queued_bytes == 0


class TestSlowConsumer:
    async def test_is_told_after_the_frame_that_was_begun(self, nursery):
        sink = ScriptedSink(3, 0)
        owner = Owner(nursery, sink, budget_bytes=20)
        owner.outbox.tell_if_slow(lambda: text("system"))
        assert owner.outbox.push(HELLO + text("dropped with its neighbour"))
        assert not owner.outbox.push(text("dropped"))
        await owner.outbox.wait_drained()

        assert read(sink.written) == ["hello", "system", 1008]
        assert owner.ended == [1008]
        assert owner.cap.queued_bytes == 0
        assert owner.outbox.dropped_bytes == len(text("dropped with its neighbour"))

    async def test_loses_frames_that_were_not_begun(self, nursery):
        sink = ScriptedSink()
        sink.block()
        owner = Owner(nursery, sink, budget_bytes=1)
        owner.outbox.push(HELLO)

        assert not owner.outbox.push(HELLO)
        sink.unblock()
        await owner.outbox.wait_drained()

        assert read(sink.written) == [1008]

    async def test_is_aborted_when_it_takes_nothing_for_five_seconds(
        self, nursery, autojump_clock
    ):
        sink = ScriptedSink()
        sink.block()
        owner = Owner(nursery, sink, budget_bytes=1)
        owner.outbox.push(HELLO)
        start = trio.current_time()
        owner.outbox.push(HELLO)

        await owner.outbox.wait_drained()

        assert trio.current_time() - start == 5
        assert sink.is_aborted
        assert owner.ended == [1008]
        assert owner.cap.queued_bytes == 0

    async def test_may_exceed_the_budget_by_one_push(self, nursery):
        sink = ScriptedSink()
        sink.block()
        owner = Owner(nursery, sink, budget_bytes=len(HELLO) + 1)

        assert owner.outbox.push(HELLO)
        assert owner.outbox.push(HELLO)
        assert not owner.outbox.push(HELLO)


async def test_the_cap_is_shared_by_all_outboxes(nursery):
    blocked, other = ScriptedSink(), ScriptedSink(3)
    blocked.block()
    cap = OutboxCap(limit_bytes=100)
    first, second = Owner(nursery, blocked, cap), Owner(nursery, other, cap)
    assert first.outbox.push(text("x" * 90))

    assert not second.outbox.push(HELLO + HELLO)
    await second.outbox.wait_drained()

    assert read(other.written) == ["hello", 1008]
    assert first.ended == []
    assert cap.queued_bytes == 92


async def test_leaving_gives_the_queued_bytes_back(nursery):
    sink = ScriptedSink(0)
    owner = Owner(nursery, sink)
    owner.outbox.push(HELLO)

    owner.outbox.leave()

    assert owner.cap.queued_bytes == 0
    assert not owner.outbox.push(HELLO)


texts = st.text(max_size=12).flatmap(
    lambda seed: st.sampled_from([seed, seed * 12, seed * 6000])
)


@given(
    pushes=st.lists(st.lists(texts, min_size=1, max_size=4), max_size=12),
    sizes=st.lists(st.integers(0, 400), max_size=40),
    budget=st.integers(1, 3000),
)
async def test_whatever_the_socket_takes_the_peer_sees_whole_frames_in_order(
    pushes, sizes, budget
):
    sink = ScriptedSink(*sizes)
    accepted = []
    async with trio.open_nursery() as nursery:
        owner = Owner(nursery, sink, budget_bytes=budget)
        for frames in pushes:
            if owner.outbox.push(b"".join(map(text, frames))):
                accepted += frames
            await trio.lowlevel.checkpoint()
        await owner.outbox.wait_drained()

    seen = read(sink.written)
    if owner.ended:
        assert seen.pop() == 1008
        assert seen == accepted[: len(seen)]
    else:
        assert seen == accepted


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
async def test_a_tail_is_cut_at_the_end_of_its_frame(nursery, size):
    sink = ScriptedSink(1, 0)
    owner = Owner(nursery, sink, budget_bytes=1)
    owner.outbox.push(text("x" * size) + HELLO)

    owner.outbox.push(HELLO)
    await owner.outbox.wait_drained()

    assert read(sink.written) == ["x" * size, 1008]


async def test_pushing_to_many_is_to_each_what_a_push_is(autojump_clock, nursery):
    def owners() -> list[Owner]:
        """One that takes all, one that takes a part, a full, a corked, an ended and a dead one."""
        sinks = [ScriptedSink(), ScriptedSink(3), *(ScriptedSink() for _ in range(4))]
        made = [Owner(nursery, sink) for sink in sinks]
        sinks[2].block()
        made[3].outbox.cork()
        made[4].outbox.push(GOODBYE)
        sinks[5].is_dead = True
        for owner, sink in zip(made, sinks, strict=True):
            owner.sink = sink
        return made

    many, each = owners(), owners()
    taken = Outbox.push_all([(owner.outbox, HELLO) for owner in many])
    answers = [owner.outbox.push(HELLO) for owner in each]

    assert (taken, answers) == (4, [True, True, True, True, False, False])
    for owner in (*many, *each):
        owner.outbox.uncork()
        owner.sink.unblock()
        await owner.outbox.wait_drained()
    outcomes = [[(owner.sink.written, owner.ended) for owner in some] for some in (many, each)]
    assert outcomes[0] == outcomes[1]


class TestCorked:
    async def test_what_is_pushed_leaves_in_one_piece(self, autojump_clock, nursery):
        # The sink takes its first send whole, and would cut a second one.
        sink = ScriptedSink(3 * len(HELLO), 1)
        outbox = Owner(nursery, sink).outbox
        outbox.cork()
        for _ in range(3):
            assert outbox.push(HELLO)
        assert not sink.written
        outbox.uncork()

        assert read(bytes(sink.written)) == ["hello"] * 3
        assert outbox.queued_bytes == 0

    async def test_a_close_frame_does_not_wait(self, autojump_clock, nursery):
        sink = ScriptedSink()
        outbox = Owner(nursery, sink).outbox
        outbox.cork()
        outbox.push(HELLO)
        outbox.push(GOODBYE)
        assert not outbox.push(HELLO)
        outbox.uncork()

        assert read(bytes(sink.written)) == ["hello", 1000]

    async def test_nothing_comes_behind_the_end_of_a_slow_consumer(
        self, autojump_clock, nursery
    ):
        sink = ScriptedSink()
        sink.block()
        owner = Owner(nursery, sink, budget_bytes=100)
        outbox = owner.outbox
        outbox.push(text("x" * 100))
        outbox.cork()
        outbox.push(HELLO)
        assert not outbox.push(GOODBYE)
        assert owner.ended == [1008]
        sink.unblock()
        await outbox.wait_drained()

        assert bytes(sink.written).count(close(CloseCode.POLICY)[:1]) == 1
        assert read(bytes(sink.written)) == [1008]

    async def test_what_was_queued_before_goes_first(self, autojump_clock, nursery):
        sink = ScriptedSink()
        sink.block()
        outbox = Owner(nursery, sink).outbox
        outbox.push(text("first"))
        outbox.cork()
        outbox.push(text("second"))
        outbox.uncork()
        outbox.push(text("third"))
        sink.unblock()
        await outbox.wait_drained()

        assert read(bytes(sink.written)) == ["first", "second", "third"]

    async def test_a_socket_that_dies_meanwhile_is_reported_once(self, autojump_clock, nursery):
        sink = ScriptedSink()
        owner = Owner(nursery, sink)
        owner.outbox.cork()
        owner.outbox.push(HELLO)
        sink.is_dead = True
        owner.outbox.uncork()

        assert owner.ended == [1006]
        assert not owner.outbox.push(HELLO)


async def test_a_socket_whose_drain_is_cancelled_from_outside_is_dead(autojump_clock):
    sink = ScriptedSink()
    sink.block()
    async with trio.open_nursery() as nursery:
        owner = Owner(nursery, sink)
        owner.outbox.push(HELLO)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert owner.ended == [1006]
    assert owner.cap.queued_bytes == 0
    await owner.outbox.wait_drained()


async def test_leaving_ends_the_drain(autojump_clock, nursery):
    sink = ScriptedSink()
    sink.block()
    owner = Owner(nursery, sink)
    owner.outbox.push(HELLO)
    await wait_all_tasks_blocked()
    owner.outbox.leave()
    await wait_all_tasks_blocked()

    assert nursery.child_tasks == frozenset()
    assert owner.ended == []
