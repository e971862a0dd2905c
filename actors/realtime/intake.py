"""What one client sends, dealt with in the turn that read it.

Called by the connection's socket, whose `Receiver` this is; turns frames into commands by the dialect's session.
A command that has nothing to wait for is carried out at once. With the first one that has, the rest of its frame goes
into a task, and the socket hands out nothing until that is done: only this client waits, and its order holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog
from attrs import define

from protocol.errors import ProtocolError
from protocol.frames import CloseCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trio

    from actors.realtime.joins import Joins
    from actors.realtime.ports import Socket
    from actors.realtime.seat import Seat
    from actors.telemetry.metrics import Metrics
    from protocol.commands import Command
    from protocol.dialect import Session


class Handler(Protocol):
    """Who carries out the commands: the connection."""

    def carry_out_nowait(self, command: Command) -> bool:
        """Carry out a command that has nothing to wait for; False if it has, and nothing was done."""
        ...

    async def carry_out(self, command: Command) -> None:
        """Carry out a command."""
        ...

    async def end(self, code: CloseCode, reason: str) -> None:
        """Close the socket, and end."""
        ...

    def note_end(self, code: int) -> None:
        """Note that the socket has ended."""
        ...


@define(eq=False)
class Intake:
    """A `ports.Receiver`; `nursery` is the connection's, and an error in it is the connection's crash."""

    _seat: Seat
    _socket: Socket
    _session: Session
    _joins: Joins
    _handler: Handler
    _metrics: Metrics
    _nursery: trio.Nursery

    def take(self, message: str | bytes) -> bool:
        self._metrics.frames_received.count += 1
        if self._joins.turn is not None:
            self._nursery.start_soon(self._take_in_turn, message)
            return False
        commands = self._read(message)
        if commands is None:
            return False
        for at, command in enumerate(commands):
            if not self._handler.carry_out_nowait(command):
                self._nursery.start_soon(self._finish, commands[at:])
                return False
        if self._joins.is_idle:
            # Who has joined nothing hears nothing, and may not stay for ever.
            self._joins.limit_idleness()
        return True

    def note_end(self, code: int) -> None:
        self._handler.note_end(code)

    def fail(self, error: Exception) -> None:
        if self._nursery.cancel_scope.cancel_called:
            # The connection ends, and may have come so far that it starts no task: that would be the reader's crash.
            structlog.get_logger().debug(
                "frame.dropped", conn=self._seat.name, error=type(error).__name__
            )
            return
        self._nursery.start_soon(self._crash, error)

    async def begin(self) -> None:
        """Carry out what the dialect begins with, in a task if there is any; then take what the client sends."""
        commands = self._session.begin()
        if commands:
            self._nursery.start_soon(self._begin_with, commands)
        else:
            await self._socket.hand_to(self)

    async def _begin_with(self, commands: Sequence[Command]) -> None:
        for command in commands:
            await self._handler.carry_out(command)
        await self._socket.hand_to(self)

    async def _take_in_turn(self, message: str | bytes) -> None:
        await self._joins.wait_for_turn()
        await self._finish(self._read(message))

    async def _finish(self, commands: Sequence[Command] | None) -> None:
        if commands is None:
            return
        for command in commands:
            await self._handler.carry_out(command)
        if self._joins.is_idle:
            # Who has joined nothing hears nothing, and may not stay for ever.
            self._joins.limit_idleness()
        await self._socket.resume()

    async def _crash(self, error: Exception) -> None:
        raise error

    def _read(self, message: str | bytes) -> Sequence[Command] | None:
        """Return what a frame asks for, None if it ends the connection."""
        try:
            return self._session.receive(message)
        except ProtocolError as error:
            self._metrics.frames_malformed[error.code].inc()
            structlog.get_logger().debug(
                "frame.dropped", conn=self._seat.name, code=error.code, reason=error.reason
            )
            if not error.ends_connection:
                return ()
            self._nursery.start_soon(self._handler.end, CloseCode.POLICY, error.reason)
            return None
