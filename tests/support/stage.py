"""Actors out of plain functions, and a supervisor to run them under."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import trio
from attrs import frozen

from actors.core.signals import Stopping
from actors.core.spec import ChildSpec
from actors.core.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from actors.core.inbox import Inbox
    from actors.core.ref import Ref, Reply
    from actors.core.reports import Report


@frozen
class Crash:
    """A message that makes a player fail with a fresh error (one raised twice would keep both tracebacks)."""

    error: type[BaseException] = RuntimeError


@frozen
class Question:
    """A message that wants an answer; a player answers with its incarnation."""

    reply: Reply[Any]


@frozen
class Watch:
    """A message that makes a player watch somebody."""

    ref: Ref[Any]


@frozen
class Unwatch:
    """A message that makes a player watch somebody no more."""

    ref: Ref[Any]


@frozen
class Retire:
    """A message that makes a player retire if it can."""


@frozen
class Return:
    """A message that makes a player return."""


@frozen
class Role:
    """An actor made of one coroutine function."""

    run: Callable[[Inbox[Any]], Awaitable[None]]


def role(
    name: Any, run: Callable[[Inbox[Any]], Awaitable[None]], **options: Any
) -> ChildSpec[Any]:
    """Return the spec of an actor that does `run`."""
    return ChildSpec(name=name, factory=lambda: Role(run), rank=1, **options)


def player(name: Any, diary: list[Any] | None = None, **options: Any) -> ChildSpec[Any]:
    """Return the spec of an actor that writes what it takes into a diary and does what the messages say."""

    async def play(inbox: Inbox[Any]) -> None:
        inbox.ready()
        async for item in inbox:
            if diary is not None:
                diary.append(item)
            if heed(item, inbox):
                return

    return role(name, play, **options)


def heed(item: Any, inbox: Inbox[Any]) -> bool:
    """Do what a message says, and return whether the actor is to return."""
    match item:
        case Crash(error):
            raise error
        case Question(reply):
            reply.set(inbox.incarnation)
        case Watch(ref):
            inbox.watch(ref)
        case Unwatch(ref):
            inbox.unwatch(ref)
        case Retire():
            return inbox.retire()
        case Return() | Stopping():
            return True
    return False


@frozen
class Stage:
    """A running supervisor and what it reported."""

    supervisor: Supervisor
    reports: list[Report]

    def start(self, spec: ChildSpec[Any]) -> Ref[Any]:
        return self.supervisor.start_child(spec)

    def reported(self, kind: type) -> list[Any]:
        return [report for report in self.reports if isinstance(report, kind)]


@asynccontextmanager
async def stage(*specs: ChildSpec[Any], **options: Any) -> AsyncIterator[Stage]:
    """Run a supervisor with these static children around the block."""
    reports: list[Report] = []
    supervisor = Supervisor(random=Random(1), observe=reports.append, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run, *specs)
        yield Stage(supervisor, reports)
        nursery.cancel_scope.cancel()
