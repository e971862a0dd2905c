"""ConnectionActor: one client's socket, its dialect session, and its joins.

Reads frames, lets the session turn them into commands, and carries these out in the turn that read them.
What waits (a join) runs in a task of its own beside the reader; what the client is to hear goes straight to the outbox.
Neighbours: started by `connections.py`; joins channels through `join.py`, which tell it when a subscription ends.

Truth: its joins. Rank 3. Overflow: STOP. Restart: never. Recovery: rung 3, the socket closes and the client comes back.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field

from actors.core.errors import ActorStopped
from actors.core.signals import Restarted, Stopping, Terminated
from actors.realtime.errors import Refused, SocketClosed
from actors.realtime.join import attach, authorise, channel_key, identify, start_of_changes
from actors.realtime.membership import Membership
from actors.realtime.messages import JoinKey, Publish, SubscriptionEnded
from actors.realtime.roster import Subscription
from protocol import frames, jsontext
from protocol.commands import AccessToken, Answer, Broadcast, Heartbeat, Join, Leave
from protocol.dialect import EncodeKey
from protocol.errors import ProtocolError
from protocol.events import (
    EMPTY_OBJECT,
    Closed,
    Failed,
    Joined,
    JoinRefused,
    Replaced,
    Reply,
    System,
    TextBroadcast,
)

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from actors.core.inbox import Inbox
    from actors.core.ref import Ref
    from actors.core.signals import Signal
    from actors.realtime.messages import ChannelMessage, ConnectionMessage
    from actors.realtime.ports import Identity, Opening, Socket
    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import DropReason, Metrics
    from protocol.changes.model import Lsn
    from protocol.commands import Command
    from protocol.events import Event, UserBroadcast

SLOW_CONSUMER = "This client reads too slowly and is disconnected"
RESTARTING = "Server requested disconnect"
#: A client that reads too slowly is told on no more topics than this: the farewell is bounded.
TOPICS_TOLD = 16
#: Seconds that a client has to answer the CLOSE frame which ends it for what it sent.
CLOSE_WITHIN_S = 5.0


@define
class PendingJoin:
    """A join under way: what cancels it, and what is set once it has ended one way or the other.

    `farewell` is for the join it replaced, to be sent behind its own answer.
    """

    scope: trio.CancelScope = field(factory=trio.CancelScope)
    ended: trio.Event = field(factory=trio.Event)
    farewell: bytes = b""


class ConnectionActor:
    """The actor of one WebSocket; see the module's text."""

    def __init__(self, name: str, opening: Opening, tenant: Tenant, metrics: Metrics) -> None:
        self._name = name
        self._opening = opening
        self._tenant = tenant
        self._metrics = metrics
        self._session = opening.dialect.session()
        self._memberships: dict[str, Membership] = {}
        self._joining: dict[int, PendingJoin] = {}
        self._close_code: int = frames.CloseCode.NORMAL
        self._log: BoundLogger = structlog.get_logger().bind(conn=name)

    async def run(self, inbox: Inbox[ConnectionMessage]) -> None:
        """Serve the client until the socket ends or the node stops."""
        try:
            async with self._opening.open_socket() as socket:
                await self._serve(socket, inbox)
        except SocketClosed as closed:
            self._log.debug("connection.refused", code=closed.code)

    async def _serve(self, socket: Socket, inbox: Inbox[ConnectionMessage]) -> None:
        self._socket = socket
        self._inbox = inbox
        socket.tell_if_slow(self._farewell_to_slow_consumer)
        self._metrics.connections_opened.inc()
        self._metrics.connections_open.inc()
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._read)
                async for message in inbox:
                    if isinstance(message, Stopping):
                        await self._say_goodbye(message.deadline)
                        break
                    self._take_note(message)
                self._nursery.cancel_scope.cancel()
        except Exception:
            self._close_code = frames.CloseCode.INTERNAL_ERROR
            socket.outbox.push(frames.close(self._close_code))
            raise
        finally:
            self._metrics.connections_open.dec()
            self._metrics.count_close(self._close_code)

    async def _read(self) -> None:
        try:
            while True:
                data = await self._socket.receive()
                self._metrics.frames_received.inc()
                await self._receive(data)
        except SocketClosed as closed:
            self._close_code = int(closed.code)
            self._log.debug("connection.closed", code=self._close_code)
        self._nursery.cancel_scope.cancel()

    async def _receive(self, data: str | bytes) -> None:
        try:
            commands = self._session.receive(data)
        except ProtocolError as error:
            self._metrics.frames_malformed[error.code].inc()
            self._log.debug("frame.dropped", code=error.code, reason=error.reason)
            if error.ends_connection:
                with trio.move_on_after(CLOSE_WITHIN_S):
                    await self._socket.close(frames.CloseCode.POLICY, error.reason)
                raise SocketClosed(frames.CloseCode.POLICY) from None
            return
        for command in commands:
            await self._carry_out(command)

    async def _carry_out(self, command: Command) -> None:
        match command:
            case Broadcast():
                await self._publish(command)
            case Heartbeat(topic, ref):
                self._push(Reply(ref, None, ok=True), topic)
            case Answer(topic, reply):
                self._push(reply, topic)
            case Join():
                self._start_join(command)
            case Leave():
                await self._leave(command)
            case AccessToken():
                # Identities are fixed at the join until tokens can be refreshed.
                pass

    async def _publish(self, command: Broadcast) -> None:
        membership = self._memberships.get(command.topic)
        if membership is None or membership.number != command.number:
            return
        fault = self._fault(command.message)
        if fault is None:
            skip = None if membership.echo else membership.key
            message = Publish(command.message, skip)
            channel = membership.channel
            if not channel.tell(message) and not await self._park(channel, message):
                fault = "channel_busy"
        if fault is None:
            self._metrics.broadcasts_accepted.inc()
        else:
            self._metrics.broadcasts_dropped[fault].inc()
        if membership.ack:
            response = EMPTY_OBJECT if fault is None else jsontext.write(fault)
            reply = Reply(command.ref, command.join_ref, ok=fault is None, response=response)
            self._push(reply, command.topic)

    def _fault(self, message: TextBroadcast | UserBroadcast) -> DropReason | None:
        """Return why a broadcast cannot be delivered to anybody, in the word its sender is told."""
        if len(message.payload) > self._tenant.limits.payload_bytes:
            return "payload_size_exceeded"
        # Clients look into the payload of every message without asking first whether it is an object.
        if isinstance(message, TextBroadcast) and not message.payload.startswith(b"{"):
            return "payload_not_an_object"
        return None

    async def _park(self, channel: Ref[ChannelMessage], message: Publish) -> bool:
        """Do not read on until the channel has room; say whether it took the message in time."""
        with trio.move_on_after(self._tenant.limits.park_s):
            try:
                await channel.send(message)
            except ActorStopped:
                return False
            return True
        return False

    def _start_join(self, join: Join) -> None:
        if join.warnings:
            self._log.debug("join.adjusted", topic=join.topic, warnings=join.warnings)
        pending = self._joining[join.number] = PendingJoin()
        self._nursery.start_soon(self._join, join, pending)

    async def _join(self, join: Join, pending: PendingJoin) -> None:
        """Carry out a join, then what waited for it; a leave or a further join cancels it."""
        if join.replaces is not None:
            await self._call_off(join.replaces)
        joined = False
        with pending.scope:
            try:
                await self._enter(join, pending)
                joined = True
            except Refused as refused:
                self._log.info("join.refused", topic=join.topic, code=refused.code)
                await trio.sleep(self._tenant.limits.join_error_delay_s)
                answer = JoinRefused(join.ref, join.join_ref, refused.code, refused.reason)
                self._push(answer, join.topic)
                self._socket.outbox.push(pending.farewell)
        del self._joining[join.number]
        pending.ended.set()
        for command in self._session.settle(join.topic, join.number, joined=joined):
            await self._carry_out(command)

    async def _call_off(self, number: int) -> None:
        """Cancel a join if it is under way, and wait until it has ended.

        It may be too late: the channel accepted it in this very moment, and it ends as a membership.
        """
        pending = self._joining.get(number)
        if pending is not None:
            pending.scope.cancel()
            await pending.ended.wait()

    async def _enter(self, join: Join, pending: PendingJoin) -> None:
        """Become a member of the topic's channel, in place of an earlier join of it.

        Raises:
            Refused: the client may not; an earlier join has ended all the same.
        """
        try:
            identity = identify(join.options, self._opening.identity, self._tenant)
            authorise(join, identity)
            from_lsn = await start_of_changes(join.options, self._tenant)
        except Refused:
            await self._end_earlier(join.topic, pending)
            raise
        await self._end_earlier(join.topic, pending)
        subscription = self._subscription(join, identity, from_lsn)
        greeting = subscription.encode(Joined(join.ref, join.join_ref, join.options.changes))
        key = channel_key(join, self._tenant)
        channel = await attach(key, subscription, greeting + pending.farewell, self._tenant)
        self._inbox.watch(channel)
        self._memberships[join.topic] = Membership(
            subscription, channel, join.sub_topic, join.options.ack, join.options.echo
        )

    async def _end_earlier(self, topic: str, pending: PendingJoin) -> None:
        """End the membership that a join replaces; its client hears of that behind the answer to the new one."""
        old = self._memberships.get(topic)
        if old is not None:
            await self._detach(topic, old, b"")
            pending.farewell = old.encode(Replaced(old.join_ref))

    def _subscription(
        self, join: Join, identity: Identity, from_lsn: Lsn | None
    ) -> Subscription:
        return Subscription(
            key=JoinKey(self._name, join.number),
            connection=self._inbox.ref,
            outbox=self._socket.outbox,
            encode_key=EncodeKey(self._opening.dialect, join.topic),
            join_ref=join.join_ref,
            identity=identity,
            changes=join.options.changes,
            from_lsn=from_lsn,
        )

    async def _leave(self, leave: Leave) -> None:
        farewell: tuple[Event, ...] = (
            Reply(leave.ref, leave.join_ref, ok=True),
            Closed(leave.join_ref),
        )
        await self._call_off(leave.number)
        # A pending join that is cancelled may not have ended the one it was to replace.
        membership = self._memberships.get(leave.topic)
        if membership is not None:
            data = b"".join(membership.encode(event) for event in farewell)
            await self._detach(leave.topic, membership, data)
            return
        for event in farewell:
            self._push(event, leave.topic)

    async def _detach(self, topic: str, membership: Membership, farewell: bytes) -> None:
        """End a membership; if this is cancelled, it has not ended."""
        del self._memberships[topic]
        self._inbox.unwatch(membership.channel)
        try:
            await membership.detach(farewell)
        except trio.Cancelled:
            self._memberships[topic] = membership
            self._inbox.watch(membership.channel)
            raise

    def _take_note(self, message: ConnectionMessage | Signal) -> None:
        match message:
            case SubscriptionEnded(topic, number):
                membership = self._memberships.get(topic)
                if membership is not None and membership.number == number:
                    self._fail(topic, membership)
            case Terminated(ref):
                for topic, membership in tuple(self._memberships.items()):
                    if membership.channel is ref:
                        self._fail(topic, membership)
            case Restarted() | Stopping():
                pass

    def _fail(self, topic: str, membership: Membership) -> None:
        """Tell the client that a subscription is over by no will of its own."""
        self._push(Failed(membership.join_ref), topic)
        del self._memberships[topic]
        self._inbox.unwatch(membership.channel)
        self._session.forget(topic, membership.number)

    async def _say_goodbye(self, deadline: float) -> None:
        for topic in self._memberships:
            self._push(System(None, "system", ok=True, message=RESTARTING, channel=None), topic)
        self._close_code = frames.CloseCode.SERVICE_RESTART
        with trio.move_on_at(deadline):
            await self._socket.close(frames.CloseCode.SERVICE_RESTART)

    def _farewell_to_slow_consumer(self) -> bytes:
        """Return what a client is told that is cut because it reads too slowly."""
        self._metrics.slow_consumers.inc()
        self._log.warning("connection.slow", topics=len(self._memberships))
        told = islice(self._memberships.values(), TOPICS_TOLD)
        return b"".join(
            member.encode(
                System(member.join_ref, "system", False, SLOW_CONSUMER, member.sub_topic)
            )
            for member in told
        )

    def _push(self, event: Event, topic: str) -> None:
        frame = self._opening.dialect.encode(event, topic)
        if frame is not None:
            self._socket.outbox.push(frame.wire())
