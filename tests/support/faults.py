"""Faults to be inflicted on a running node, its Postgres and the network between them, one by one, by their names."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import trio
from attrs import define, field

from actors.core.errors import Poisoned
from actors.realtime.changelog import ChangeLog
from actors.realtime.messages import ChannelKey, RowsKey
from tests.support.tripwire import lay_tripwire

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from actors.node import Node
    from tests.support.postgres import PostgresServer
    from tests.support.proxy import Proxy

#: A channel or rows actor is given up at the sixth crash within a minute, the listener never.
CRASHES_A_MINUTE = 5
#: Longer than a minute: a tripwire waits for the next row, and that for the end of an outage.
MINUTE_S = 90.0
RESTART_WITHIN_S = 30.0
TROUPE_BACKENDS = "from pg_stat_activity where application_name = 'troupe'"
WALSENDERS = "from pg_stat_replication"


class Fault(NamedTuple):
    """What is struck, and how."""

    what: str
    how: str


CRASHES = (
    *(
        Fault(what, how)
        for what in ("rows", "channel")
        for how in ("poison", "fail", "tripwire")
    ),
    *(Fault("listener", how) for how in ("poison", "fail", "mid-append")),
)
OUTAGES = (
    Fault("walsender", "terminate"),
    Fault("walsender", "kill"),
    Fault("backends", "terminate"),
    Fault("postgres", "restart"),
    Fault("postgres", "kill"),
    Fault("network", "cut"),
    Fault("network", "reset"),
    Fault("network", "cut and reset"),
)


def plan(rng: random.Random, count: int) -> list[Fault]:
    """Return `count` faults in random order, each kind as often as any other."""
    kinds = CRASHES + OUTAGES
    faults = [kinds[number % len(kinds)] for number in range(count)]
    rng.shuffle(faults)
    return faults


class BreakableLog(ChangeLog):
    """A change log that can make the listener crash in the middle of a chunk."""

    __slots__ = ("_appends_left",)

    def break_after(self, appends: int) -> None:
        """Let the append after so many others fail, before it has done anything."""
        self._appends_left = appends

    def append(self, *args, **kwargs):
        left = getattr(self, "_appends_left", math.inf)
        self._appends_left = math.inf if left <= 0 else left - 1
        if left <= 0:
            raise Poisoned("in the middle of a chunk")
        return super().append(*args, **kwargs)


@define
class Faults:
    """Inflicts faults; each channel has `subscribers`; `cut_s` are the seconds for which the network may be cut."""

    node: Node
    log: BreakableLog
    server: PostgresServer
    proxy: Proxy
    subscribers: int
    cut_s: Sequence[float]
    rng: random.Random
    #: What was done, newest last, for who reads a failure.
    done: list[Fault] = field(factory=list)
    _crashes: dict[object, deque[float]] = field(factory=lambda: defaultdict(deque))

    async def inflict(self, fault: Fault) -> None:
        """Inflict a fault, and return when what was taken away has been given back."""
        self.done.append(fault)
        match fault:
            case Fault("rows" | "channel" | "listener", how):
                await self._crash(fault.what, how)
            case Fault("walsender", "terminate"):
                await self._ask(
                    self.server.execute, f"select pg_terminate_backend(pid) {WALSENDERS}"
                )
            case Fault("walsender", "kill"):
                await self._ask(self.server.kill_backends, WALSENDERS)
            case Fault("backends", "terminate"):
                await self._ask(
                    self.server.execute, f"select pg_terminate_backend(pid) {TROUPE_BACKENDS}"
                )
            case Fault("postgres", how):
                stop = self.server.kill if how == "kill" else self.server.stop
                await trio.to_thread.run_sync(stop)
                await trio.to_thread.run_sync(self.server.start)
            case Fault("network", how):
                if "cut" in how:
                    self.proxy.cut()
                    await trio.sleep(self.rng.choice(self.cut_s))
                if "reset" in how:
                    self.proxy.reset()
                self.proxy.mend()

    async def _crash(self, what: str, how: str) -> None:
        name = await self._choose(what)
        supervisor, ref = await self._find_running(name)
        match how:
            case "poison":
                supervisor.poison(ref)
            case "fail":
                supervisor.fail(ref, Poisoned("at a waiting point"))
            case "tripwire":
                channel = name.rows_of if isinstance(name, RowsKey) else name
                passed_by = iter([False] * self.rng.randrange(self.subscribers))
                lay_tripwire(supervisor, channel, ref, at=lambda _: next(passed_by, True))
            case "mid-append":
                self.log.break_after(self.rng.randrange(20))

    async def _choose(self, what: str) -> object:
        """Return an actor that may crash once more, waiting for one if need be."""
        if what == "listener":
            return what
        names = list(self._names(what))
        self.rng.shuffle(names)
        while True:
            now = trio.current_time()
            for name in names:
                crashes = self._crashes[name]
                while crashes and crashes[0] < now - MINUTE_S:
                    crashes.popleft()
                if len(crashes) < CRASHES_A_MINUTE:
                    crashes.append(now)
                    return name
            await trio.sleep(0.1)

    def _names(self, what: str) -> Iterator[object]:
        kind = RowsKey if what == "rows" else ChannelKey
        for child in self.node.channels.children():
            if isinstance(child.name, kind):
                yield child.name

    async def _find_running(self, name: object):
        """Return the actor and its supervisor, once it runs."""
        with trio.fail_after(RESTART_WITHIN_S):
            while True:
                for supervisor in self.node.tree.supervisors():
                    for child in supervisor.children():
                        if child.name == name and child.is_running:
                            return supervisor, supervisor.find(name)
                await trio.sleep(0.01)

    async def _ask(self, do: Callable[[str], None], argument: str) -> None:
        """Do something that needs an answer of Postgres, once it gives one: an earlier fault may still be mending."""
        with trio.fail_after(RESTART_WITHIN_S):
            while True:
                try:
                    return await trio.to_thread.run_sync(do, argument)
                except psycopg.OperationalError:
                    await trio.sleep(0.1)
