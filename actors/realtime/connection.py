"""ConnectionActor: one client's socket, its dialect session, and its joins.

Carries out what the client's frames ask for (`intake.py`), in the turn that read them if there is nothing to wait for.
What waits (a join) runs in a task of its own; what the client is to hear goes straight to the outbox.
Neighbours: started by `connections.py`; joins channels through `joins.py`, leaves them through
`memberships.py`; publishes through `publisher.py`; presence and what has to wait go through `pushes.py`.

Truth: its joins. Rank 3. Overflow: STOP. Restart: never. Recovery: rung 3, the socket closes and the client comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from actors.core.signals import Reason, Restarted, Stopping, Terminated
from actors.realtime import farewells
from actors.realtime.alarm import Alarm
from actors.realtime.credentials import Credentials
from actors.realtime.errors import SocketClosed
from actors.realtime.heartbeat import beat
from actors.realtime.intake import Intake
from actors.realtime.joins import Joins
from actors.realtime.managed_pushes import is_free
from actors.realtime.messages import AlarmRang, SharedChangesMoved, StateSet, SubscriptionEnded
from actors.realtime.open_connections import describe
from actors.realtime.publisher import Publisher
from actors.realtime.pushes import carry_out_push
from actors.realtime.seat import Seat
from actors.realtime.tracker import Tracker
from protocol import frames
from protocol.commands import (
    AccessToken,
    Answer,
    Broadcast,
    Heartbeat,
    Join,
    Leave,
    PresencePush,
    UnknownPush,
)
from protocol.events import Reply

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.core.signals import Signal
    from actors.realtime.departures import Departures
    from actors.realtime.messages import ConnectionMessage
    from actors.realtime.ports import Opening
    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import Metrics
    from protocol.commands import Command

#: What a connection has and is known to; see `_let_go`.
RINGS = (
    "_joins",
    "_made_credentials",
    "_memberships",
    "_publisher",
    "_seat",
    "_socket",
    "_tracker",
)


class ConnectionActor:
    """The actor of one WebSocket; see the module's text."""

    __slots__ = (
        "_close_code",
        "_departures",
        "_joins",
        "_made_credentials",
        "_memberships",
        "_metrics",
        "_name",
        "_nursery",
        "_opening",
        "_publisher",
        "_seat",
        "_session",
        "_socket",
        "_tenant",
        "_tracker",
    )

    def __init__(
        self,
        name: str,
        opening: Opening,
        tenant: Tenant,
        metrics: Metrics,
        departures: Departures,
    ) -> None:
        self._name = name
        self._opening = opening
        self._tenant = tenant
        self._metrics = metrics
        self._departures = departures
        self._session = opening.dialect.session(opening.identity.user_id)
        self._close_code: int = frames.CloseCode.NORMAL
        self._made_credentials: Credentials | None = None

    @property
    def _log(self) -> BoundLogger:
        logger: BoundLogger = structlog.get_logger().bind(conn=self._name)
        return logger

    async def run(self, inbox: Inbox[ConnectionMessage]) -> None:
        """Serve the client until the socket ends or the node stops.

        All that waits as long as the client is there does so in this coroutine: each takes a quarter of a kilobyte.
        """
        try:
            async with self._opening.open_socket() as self._socket:
                self._enter(inbox)
                try:
                    async with trio.open_nursery() as self._nursery:
                        await self._begin()
                        while not isinstance(message := await inbox.take(), Stopping):
                            self._take_note(message)
                        await self._say_goodbye(message.deadline)
                        self._nursery.cancel_scope.cancel()
                except Exception:
                    self._close_code = frames.CloseCode.INTERNAL_ERROR
                    self._socket.outbox.push(frames.close(self._close_code))
                    raise
                finally:
                    self._part()
        except SocketClosed as closed:
            self._log.debug("connection.refused", code=closed.code)
        finally:
            self._let_go()

    def _enter(self, inbox: Inbox[ConnectionMessage]) -> None:
        """Count among the connections that are open, until `_part`."""
        self._metrics.count_open()
        self._departures.open_connections += 1
        self._seat = Seat(
            self._name,
            self._opening,
            self._tenant,
            inbox,
            self._socket.outbox,
            Alarm(self._tenant.alarms, inbox.ref),
            self.end,
        )
        self._tracker = Tracker(self._seat, self._metrics)

    async def _begin(self) -> None:
        """Make what serves the client, and begin to."""
        self._publisher = Publisher(self._seat, self._metrics)
        self._joins = Joins(
            self._seat,
            self._session,
            self._nursery,
            self.carry_out,
            self._tracker.forget,
            self._metrics,
        )
        self._memberships = self._joins.memberships
        by_topic = self._memberships.by_topic
        self._tenant.open_connections.enter(describe(self._name, self._opening, by_topic))
        self._socket.tell_if_slow(self._farewell_to_slow_consumer)
        heartbeat = self._opening.dialect.heartbeat
        if heartbeat is not None:
            self._nursery.start_soon(beat, heartbeat, self._socket.outbox)
        intake = Intake(
            self._seat,
            self._socket,
            self._session,
            self._joins,
            self,
            self._metrics,
            self._nursery,
        )
        await intake.begin()

    def _part(self) -> None:
        """Leave no trace of this connection in the tables that others read."""
        self._seat.alarm.stop()
        self._tracker.untrack_all()
        self._tenant.quota.users.forget(self._name)
        self._tenant.open_connections.forget(self._name)
        self._departures.open_connections -= 1
        self._metrics.count_close(self._close_code)

    def _let_go(self) -> None:
        """Drop what serves the client, which knows this actor: in a ring all of it would outlive the connection."""
        for name in RINGS:
            if hasattr(self, name):
                delattr(self, name)

    @property
    def _credentials(self) -> Credentials:
        """What looks after its tokens; made when there is something to do."""
        if self._made_credentials is None:
            self._made_credentials = Credentials(self._seat, self._memberships)
        return self._made_credentials

    def _look_after_times(self) -> None:
        if self._joins.is_idle_too_long:
            self._nursery.start_soon(self.end, frames.CloseCode.NORMAL, farewells.NO_CHANNEL)
        else:
            self._nursery.start_soon(self._credentials.verify_again)

    def note_end(self, code: int) -> None:
        """Note that the socket has ended: nothing more can be said."""
        self._close_code = code
        self._log.debug("connection.closed", code=code)
        self._nursery.cancel_scope.cancel()

    async def end(self, code: frames.CloseCode, reason: str = "") -> None:
        """Close the socket by our own will and end the connection."""
        self._close_code = code
        with trio.move_on_after(farewells.CLOSE_WITHIN_S):
            await self._socket.close(code, reason)
        self._nursery.cancel_scope.cancel()

    def carry_out_nowait(self, command: Command) -> bool:
        """Carry out a command that has nothing to wait for; False if it has, and nothing was done."""
        match command:
            case Broadcast():
                membership = self._memberships.find(command.topic, command.number)
                if membership is None:
                    return True
                may = is_free(command, membership, self._tenant)
                return may and self._publisher.publish_nowait(command, membership)
            case UnknownPush():
                self._tenant.quota.events.count()
            case Heartbeat(topic, ref):
                self._seat.push(Reply(ref, None, ok=True), topic)
            case Answer(topic, reply):
                self._seat.push(reply, topic)
            case Join():
                return self._joins.start_nowait(command)
            case _:
                return False
        return True

    async def carry_out(self, command: Command) -> None:
        """Carry out a command."""
        if self.carry_out_nowait(command):
            return
        match command:
            case Broadcast() | PresencePush():
                await carry_out_push(
                    command,
                    self._memberships,
                    self._publisher,
                    self._tracker,
                    self._seat,
                    self._metrics,
                )
            case Join():
                await self._joins.start(command)
            case Leave():
                await self._joins.leave(command)
            case AccessToken():
                await self._credentials.refresh(command)
            case UnknownPush() | Heartbeat() | Answer():
                pass

    def _take_note(self, message: ConnectionMessage | Signal) -> None:
        match message:
            case AlarmRang():
                self._look_after_times()
            case SubscriptionEnded():
                self._joins.note_end(message)
            case SharedChangesMoved(sub_topic):
                self._nursery.start_soon(self._joins.share, sub_topic)
            case StateSet(topic, number, payload):
                membership = self._memberships.find(topic, number)
                if membership is not None:
                    self._tracker.show(payload, membership)
            case Terminated(_, Reason.RETURNED):
                # A channel ends by itself when nobody is subscribed: it has told us so, and signals overtake messages.
                pass
            case Terminated(ref):
                self._memberships.fail_all_in(ref)
            case Restarted() | Stopping():
                pass

    async def _say_goodbye(self, deadline: float) -> None:
        """Send the client home when it is its turn; it is served until then."""
        await trio.sleep_until(self._departures.next_at(deadline))
        farewells.tell_of_restart(self._memberships, self._seat)
        self._close_code = frames.CloseCode.SERVICE_RESTART
        with trio.move_on_at(deadline):
            await self._socket.close(frames.CloseCode.SERVICE_RESTART)

    def _farewell_to_slow_consumer(self) -> bytes:
        """Return what a client is told that is cut because it reads too slowly."""
        self._metrics.slow_consumers.inc()
        self._log.warning("connection.slow", topics=len(self._memberships.by_topic))
        return farewells.farewell_to_slow_consumer(self._memberships)
