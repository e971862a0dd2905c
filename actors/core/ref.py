"""Refs and replies: how everybody else talks to an actor.

A `Ref` is stable for the life of the name, not of the incarnation, so senders never notice a restart.
`tell` never waits, `send` waits for room, `ask` waits for an answer; the last two only downhill (invariant I17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from actors.core.errors import ActorError, AskTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from actors.core.cell import Cell

M = TypeVar("M")
R = TypeVar("R")


class Reply(Generic[R]):
    """The place for the answer to one question; the first `set` or `fail` counts.

    It may be handed on and answered later, as long as the incarnation that took the question lives.
    """

    __slots__ = ("_error", "_settled", "_value")

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._value: R | None = None
        self._error: Exception | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._settled.is_set()

    def set(self, value: R) -> bool:
        """Answer; False if the question was answered, failed or abandoned before."""
        if self.is_settled:
            return False
        self._value = value
        self._settled.set()
        return True

    def fail(self, error: Exception) -> bool:
        """Let the asker's `ask` raise `error`; False as for `set`."""
        if self.is_settled:
            return False
        self._error = error
        self._settled.set()
        return True

    async def wait(self) -> R:
        """Wait for the answer; no checkpoint if it is there."""
        if not self._settled.is_set():
            await self._settled.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # None only when R allows it


class Ref(Generic[M]):
    """Handle of an actor; equal only to itself.

    **Invariant** I3: messages of one sender to one receiver arrive in order, across restarts.
    """

    __slots__ = ("__weakref__", "_cell")

    def __init__(self, cell: Cell[M]) -> None:
        self._cell = cell

    def __repr__(self) -> str:
        return f"<Ref {self.name!r}>"

    @property
    def name(self) -> Hashable:
        """The name given in the child's spec."""
        return self._cell.spec.name

    @property
    def alive(self) -> bool:
        """Whether messages may still be delivered; a restarting actor is alive."""
        return not self._cell.mailbox.is_closed

    def tell(self, message: M) -> bool:
        """Deliver without waiting; never raises. None is no message.

        False means "not delivered" and has been counted, so ignoring it is safe (I2).
        """
        return self._cell.deliver_nowait(message)

    def tell_at_once(self, message: M) -> bool:
        """Deliver as `tell` does; an actor that is idle and offers it deals with the message within this call.

        For messages whose effect is short and synchronous; what that fails with is the actor's crash, not the caller's.
        """
        cell = self._cell
        return cell.deal_at_once(message) or cell.deliver_nowait(message)

    async def send(self, message: M) -> None:
        """Deliver, waiting for room behind those who wait already.

        Raises:
            ActorStopped: the target is gone, or went while waiting.
        """
        await self._cell.deliver(message)

    async def ask(self, make: Callable[[Reply[R]], M], *, within: float) -> R:
        """Send the message that `make` builds around a reply, and wait for the answer.

        `within` is in seconds and covers the wait for room.

        Raises:
            ActorStopped: the target is gone.
            ActorCrashed: it failed while it held the question.
            AskTimeout: there was no answer in time.
        """
        reply: Reply[R] = Reply()
        return await self._wait_for(reply, make(reply), within)

    async def ask_at_once(self, make: Callable[[Reply[R]], M], *, within: float) -> R:
        """Ask as `ask` does; an actor that is idle and offers it answers within this call, as for `tell_at_once`."""
        reply: Reply[R] = Reply()
        message = make(reply)
        is_taken = self._cell.deal_at_once(message, reply)
        if reply.is_settled:
            return await reply.wait()
        return await self._wait_for(reply, None if is_taken else message, within)

    async def _wait_for(self, reply: Reply[R], question: M | None, within: float) -> R:
        """Wait for the answer to a question; None if it was taken already."""
        try:
            with trio.move_on_after(within):
                if question is not None:
                    await self._cell.deliver(question, reply)
                return await reply.wait()
            if reply.is_settled:
                # The answer came in the moment in which the time was up.
                return await reply.wait()
        finally:
            reply.fail(ActorError("abandoned"))
        raise AskTimeout(f"{self.name!r} did not answer within {within} s")


def cell_of(ref: Ref[M]) -> Cell[M]:
    """Return what is behind a ref; for this folder only."""
    return ref._cell  # noqa: SLF001  # the one place that opens a ref
