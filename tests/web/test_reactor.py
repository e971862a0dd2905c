"""The reactor over real sockets: who is read when, what a bug of one socket costs, and what a crash of its own does."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from attrs import define, field

from actors.core.reports import CrashReport
from actors.core.spec import Intensity
from actors.core.supervisor import Supervisor
from actors.web.reactor import Sockets, has_reactor, reactor_spec
from actors.web.tcp import SocketTransport
from protocol.frames import CloseCode

pytestmark = pytest.mark.skipif(not has_reactor(), reason="this system has no epoll")

WITHIN_S = 10.0


@define(eq=False)
class Consumer:
    """Notes what it is told; has `turns` more to do after each read, and can fail.

    `on_consume` is called with it, and `log` is where several write what they are told.
    """

    turns: int = 0
    error: Exception | None = None
    flush_error: Exception | None = None
    received: list[bytes] = field(factory=list)
    refused: list[CloseCode] = field(factory=list)
    failures: list[Exception] = field(factory=list)
    went_on: int = 0
    reading: object = None
    on_consume: object = None
    log: list[str] = field(factory=list)
    _changed: trio.Event = field(factory=trio.Event)

    def consume(self, data: bytes) -> bool:
        self.received.append(data)
        self.log.append(f"dealt with {data.decode()}")
        if self.on_consume is not None:
            self.on_consume()
        self._note()
        if self.error is not None:
            raise self.error
        return not self.turns

    def go_on(self) -> bool:
        self.went_on += 1
        self._note()
        return self.went_on >= self.turns

    def flush(self) -> None:
        self.log.append(f"flushed {b''.join(self.received[-1:]).decode()}")
        self._note()
        if self.flush_error is not None:
            raise self.flush_error

    def refuse(self, code: CloseCode) -> None:
        self.refused.append(code)
        self.reading.stop()
        self._note()

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self._note()

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_until(self, is_so) -> None:
        while not is_so():
            await self._changed.wait()


@define
class Stage:
    sockets: Sockets
    supervisor: Supervisor
    reports: list
    _open: list = field(factory=list)

    def read(self, consumer: Consumer, *, idle_s: float = 60.0) -> socket.socket:
        """Let the reactor read one end of a pair for `consumer`, and return the other."""
        ours, theirs = socket.socketpair()
        transport = UnixTransport(ours, self.sockets)
        self._open += [transport, theirs]
        consumer.reading = transport.start_reading(
            consumer, idle_s=idle_s, start=self.sockets.start_soon
        )
        return theirs

    def close(self) -> None:
        for one in self._open:
            one.close()


class UnixTransport(SocketTransport):
    """A transport over a pair of sockets, which has no options of TCP."""

    def __init__(self, connected: socket.socket, sockets: Sockets) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._sockets = sockets
        self._on_close = lambda: None
        self._is_closed = False


@asynccontextmanager
async def running_reactor():
    reports: list = []
    supervisor = Supervisor(
        random=Random(0), observe=reports.append, intensity=Intensity(100, 1.0)
    )
    sockets = Sockets()
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:

            async def run(task_status):
                await supervisor.run(reactor_spec(sockets), task_status=task_status)

            await nursery.start(run)
            stage = Stage(sockets, supervisor, reports)
            yield stage
            for reading in sockets.all():
                reading.stop()
            stage.close()
            nursery.cancel_scope.cancel()


async def test_everybody_is_read_and_the_end_is_told_once():
    async with running_reactor() as stage:
        consumers = [Consumer() for _ in range(3)]
        peers = [stage.read(consumer) for consumer in consumers]
        for number, peer in enumerate(peers):
            peer.send(b"%d" % number)
        for consumer in consumers:
            await consumer.wait_until(lambda one=consumer: one.received)
        peers[1].close()
        await consumers[1].wait_until(lambda: len(consumers[1].received) == 2)
        peers[0].send(b"again")
        await consumers[0].wait_until(lambda: len(consumers[0].received) == 2)

        received = [consumer.received for consumer in consumers]

    assert received == [[b"0", b"again"], [b"1", b""], [b"2"]]


async def test_a_turn_deals_with_everybody_before_anything_is_sent():
    async with running_reactor() as stage:
        log: list[str] = []
        consumers = [Consumer(log=log) for _ in range(2)]
        for consumer, text in zip(consumers, (b"a", b"b"), strict=True):
            stage.read(consumer).send(text)
        await consumers[1].wait_until(lambda: len(log) == 4)

    assert sorted(log[:2]) == ["dealt with a", "dealt with b"]
    assert sorted(log[2:]) == ["flushed a", "flushed b"]


async def test_what_is_answered_does_not_wait_while_others_have_a_turn(monkeypatch):
    monkeypatch.setattr("actors.web.reactor.SLICE_S", 0.0)
    async with running_reactor() as stage:
        log: list[str] = []
        consumers = [Consumer(log=log) for _ in range(2)]
        for consumer in consumers:
            stage.read(consumer).send(b"a")
        await consumers[1].wait_until(lambda: len(log) == 4)

    assert log == ["dealt with a", "flushed a"] * 2


async def test_an_answer_is_sent_although_its_client_met_a_bug():
    async with running_reactor() as stage:
        consumer = Consumer(error=ZeroDivisionError())
        stage.read(consumer).send(b"boom")
        await consumer.wait_until(lambda: len(consumer.log) == 2)

    assert consumer.log == ["dealt with boom", "flushed boom"]


async def test_who_is_stopped_by_another_one_in_its_turn_hears_nothing():
    async with running_reactor() as stage:
        one, other = Consumer(), Consumer()
        for consumer in (one, other):
            stage.read(consumer).send(b"x")
        one.on_consume, other.on_consume = other.reading.stop, one.reading.stop
        first = await _first_of(one, other)
        third = Consumer()
        stage.read(third).send(b"y")
        await third.wait_until(lambda: third.received)

    assert first.received == [b"x"]
    assert (one.received, other.received).count([]) == 1


async def _first_of(*consumers: Consumer) -> Consumer:
    """Wait until one of them received something, and return that."""
    while True:
        for consumer in consumers:
            if consumer.received:
                return consumer
        await trio.lowlevel.checkpoint()


async def test_a_bug_costs_the_socket_that_meets_it_and_nobody_else():
    async with running_reactor() as stage:
        error = ZeroDivisionError()
        bad, good = Consumer(error=error), Consumer()
        first, second = stage.read(bad), stage.read(good)
        first.send(b"boom")
        await bad.wait_until(lambda: bad.failures)
        first.send(b"more")
        second.send(b"hello")
        await good.wait_until(lambda: good.received)

        assert bad.failures == [error]
        assert bad.received == [b"boom"]
        assert stage.reports == []


async def test_a_bug_in_what_is_sent_costs_nobody_else():
    async with running_reactor() as stage:
        error = ZeroDivisionError()
        log: list[str] = []
        bad, good = Consumer(log=log, flush_error=error), Consumer(log=log)
        first, second = stage.read(bad), stage.read(good)
        first.send(b"a")
        second.send(b"b")
        await good.wait_until(lambda: "flushed b" in log and bad.failures)

        assert bad.failures == [error]
        assert (bad.refused, good.refused) == ([], [])
        assert stage.reports == []


async def test_who_is_paused_is_not_read_and_not_silent():
    async with running_reactor() as stage:
        paused, other = Consumer(), Consumer()
        first, second = stage.read(paused, idle_s=0.5), stage.read(other)
        paused.reading.pause()
        first.send(b"later")
        first.shutdown(socket.SHUT_WR)
        await trio.sleep(1.6)
        second.send(b"now")
        await other.wait_until(lambda: other.received)
        assert (paused.received, paused.refused) == ([], [])

        paused.reading.resume()
        await paused.wait_until(lambda: len(paused.received) == 2)

    assert paused.received == [b"later", b""]


async def test_who_has_much_to_do_goes_on_between_the_others():
    async with running_reactor() as stage:
        busy, other = Consumer(turns=1000), Consumer()
        first, second = stage.read(busy), stage.read(other)
        first.send(b"much")
        await busy.wait_until(lambda: busy.went_on)
        first.send(b"more")
        second.send(b"little")
        await other.wait_until(lambda: other.received)
        assert busy.went_on < busy.turns
        assert busy.received == [b"much"]

        await busy.wait_until(lambda: len(busy.received) == 2)

    assert busy.went_on >= busy.turns


@pytest.mark.slow
async def test_who_is_silent_is_refused_with_1000():
    async with running_reactor() as stage:
        silent, other = Consumer(), Consumer()
        stage.read(silent, idle_s=0.2)
        stage.read(other)
        await silent.wait_until(lambda: silent.refused)

        assert silent.refused == [CloseCode.NORMAL]
        assert other.refused == []


async def test_a_crash_ends_its_sockets_and_the_next_incarnation_reads_new_ones():
    async with running_reactor() as stage:
        old = Consumer()
        stage.read(old)
        stage.supervisor.poison(stage.supervisor.find("reactor"))
        await old.wait_until(lambda: old.refused)
        new = Consumer()
        stage.read(new).send(b"hello")
        await new.wait_until(lambda: new.received)

        assert old.refused == [CloseCode.SERVICE_RESTART]
        assert new.received == [b"hello"]
        assert [type(report) for report in stage.reports].count(CrashReport) == 1


async def test_tasks_of_sockets_end_with_the_reactor_and_new_ones_wait_for_the_next():
    ended, began = trio.Event(), trio.Event()

    async def work_on() -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with running_reactor() as stage:
        consumer = Consumer()
        stage.read(consumer)
        stage.sockets.start_soon(work_on)
        await began.wait()
        began = trio.Event()
        stage.supervisor.poison(stage.supervisor.find("reactor"))
        await consumer.wait_until(lambda: consumer.refused)
        assert ended.is_set()
        stage.sockets.start_soon(work_on)
        await began.wait()


async def test_a_descriptor_that_is_used_again_belongs_to_its_new_owner():
    async with running_reactor() as stage:
        old, new = Consumer(), Consumer()
        stage.read(old)
        descriptor = old.reading.descriptor
        old.reading.stop()
        stage.close()
        peer = stage.read(new)
        assert new.reading.descriptor == descriptor
        old.reading.stop()
        peer.send(b"mine")
        await new.wait_until(lambda: new.received)

    assert (old.received, new.received) == ([], [b"mine"])
