"""Actors out of plain functions, and a supervisor to run them under."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import trio
from attrs import Factory, frozen

from actors.core.spec import ChildSpec
from actors.core.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from actors.core.inbox import Inbox
    from actors.core.ref import Reply
    from actors.core.reports import Report


@frozen
class Crash:
    """A message that makes whoever heeds it fail."""

    error: Exception = Factory(lambda: RuntimeError("told to crash"))


@frozen
class Question:
    """A message that wants an answer."""

    reply: Reply[Any]
    text: str = ""


@frozen
class Role:
    """An actor made of one coroutine function."""

    run: Callable[[Inbox[Any]], Awaitable[None]]


def role(
    name: str, run: Callable[[Inbox[Any]], Awaitable[None]], **options: Any
) -> ChildSpec[Any]:
    """Return the spec of an actor that does `run`."""
    return ChildSpec(name=name, factory=lambda: Role(run), rank=1, **options)


@frozen
class Stage:
    """A running supervisor and what it reported."""

    supervisor: Supervisor
    reports: list[Report]

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
