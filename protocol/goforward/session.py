"""The state machine of one GoForward connection: joining its channel, in it, or done with it.

Made by `dialect`, fed by `actors.realtime.connection`; reads frames through `envelope`.
Who connects has joined: there is one channel per socket, and no message to join or leave.

**Invariants**
- Nothing a client sends has an effect before its channel let it in, or after that is over; what waits keeps its order.
- A frame that makes no sense is answered and changes nothing; of many in a row only the first are answered.
- The room of a subscription is joined as long as the channel has that subscription.
- What is kept for one connection is bounded.

**Source**: ledger GF-021…043, GF-134, C29, C34, C35, C43.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen
from msgspec import Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.commands import (
    Answer,
    Broadcast,
    Heartbeat,
    Join,
    JoinOptions,
    Leave,
    PresenceAction,
    PresencePush,
)
from protocol.errors import MalformedFrame, TooMuchPending
from protocol.events import EMPTY_OBJECT, Reply, UserBroadcast
from protocol.goforward import codes, refs
from protocol.goforward.envelope import decode
from protocol.goforward.topics import channel_topic, subscription_topic
from protocol.managed import room_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protocol.commands import Command, SharedChanges
    from protocol.goforward.envelope import Push, Stamp

#: Frames that may wait for the channel to let their sender in, and their bytes: a client sends its state at once.
PENDING_LIMIT: Final = 64
PENDING_LIMIT_BYTES: Final = 1024 * 1024
#: Frames that make no sense and are answered, until one comes that does.
FAULTS_ANSWERED: Final = 10
#: Subscriptions of a channel that one connection follows.
SUBSCRIPTIONS_LIMIT: Final = 1000

_NUMBER: Final = 1


class _Stage(Enum):
    JOINING = auto()
    JOINED = auto()
    OVER = auto()


@frozen
class _Waiting:
    commands: Sequence[Command]
    size: int


class _Update(Struct):
    state: Raw = Raw(b"null")


_update: Final = Decoder(_Update)


@define(eq=False)
class GoForwardSession:
    """Turns the frames of one connection into commands; implements `protocol.dialect.Session`."""

    _channel: str
    _user_id: str
    _stamp: Callable[[], Stamp]
    _stage: _Stage = field(default=_Stage.JOINING, init=False)
    _waiting: list[_Waiting] = field(factory=list[_Waiting], init=False)
    _subscriptions: dict[str, int] = field(factory=dict[str, int], init=False)
    _last_number: int = field(default=_NUMBER, init=False)
    _faults: int = field(default=0, init=False)

    @property
    def _topic(self) -> str:
        return channel_topic(self._channel)

    def begin(self) -> Sequence[Command]:
        """Return the join of the channel that the client connected to."""
        options = JoinOptions(
            echo=True, presence_enabled=True, presence_key=self._user_id, managed=True
        )
        return (self._join(self._topic, self._channel, _NUMBER, options),)

    def receive(self, data: str | bytes) -> Sequence[Command]:
        """Return what one frame asks for.

        Raises:
            MalformedFrame: the frame makes no sense, and so did many before it.
            TooMuchPending: the peer floods a channel that did not let it in yet.
        """
        if self._stage is _Stage.OVER:
            return ()
        try:
            commands = self._carry_out(decode(data))
            self._faults = 0
        except MalformedFrame as error:
            self._faults += 1
            if self._faults > FAULTS_ANSWERED:
                raise
            commands = (self._fault(error.reason),)
        if self._stage is _Stage.JOINED:
            return commands
        self._wait(_Waiting(commands, len(data)))
        return ()

    def settle(self, topic: str, number: int, *, joined: bool) -> Sequence[Command]:
        """Note how a join ended; of the channel's, return that the client is present, and what waited for that."""
        if topic != self._topic:
            if not joined:
                self.forget(topic, number)
            return ()
        waited, self._waiting = self._waiting, []
        if self._stage is _Stage.OVER or not joined:
            self._stage = _Stage.OVER
            return ()
        self._stage = _Stage.JOINED
        commands = [command for waiting in waited for command in waiting.commands]
        return [self._track(EMPTY_OBJECT, refs.ARRIVAL), *commands]

    def forget(self, topic: str, number: int) -> None:
        """Note that a membership ended by the server's will."""
        if topic == self._topic:
            self._stage = _Stage.OVER
            return
        kept = self._subscriptions.items()
        self._subscriptions = {
            id_: n for id_, n in kept if (subscription_topic(id_), n) != (topic, number)
        }

    def share(self, topic: str, changes: Sequence[SharedChanges]) -> Sequence[Command]:
        """Return what it takes to be in the rooms of the channel's subscriptions, and in no others."""
        if topic != self._topic or self._stage is not _Stage.JOINED:
            return ()
        wanted = {shared.id: shared for shared in changes[:SUBSCRIPTIONS_LIMIT]}
        gone = [id_ for id_ in self._subscriptions if id_ not in wanted]
        commands: list[Command] = [self._leave(id_) for id_ in gone]
        new = [shared for id_, shared in wanted.items() if id_ not in self._subscriptions]
        commands += [self._subscribe(shared) for shared in new]
        return commands

    def _carry_out(self, push: Push) -> Sequence[Command]:
        match push.type:
            case "broadcast" | "message":
                return (self._broadcast(push),)
            case "presence":
                if push.event != "update":
                    raise MalformedFrame("a presence event that clients send is update")
                return (self._track(self._seen_now(push.payload), refs.PRESENCE),)
            case "ping":
                return (Heartbeat(self._topic, refs.PING),)
            case _:
                raise MalformedFrame("a type that clients send is broadcast, presence or ping")

    def _broadcast(self, push: Push) -> Command:
        if not push.event:
            raise MalformedFrame("a broadcast has an event")
        message = UserBroadcast(push.event, push.payload, is_binary=False)
        return Broadcast(self._topic, _NUMBER, refs.BROADCAST, refs.CHANNEL, message)

    def _track(self, state: bytes, ref: str) -> Command:
        action = PresenceAction.TRACK
        return PresencePush(self._topic, _NUMBER, ref, refs.CHANNEL, action, state)

    def _seen_now(self, payload: bytes) -> bytes:
        """Return the state of an update with the time it came.

        **Source**: ledger GF-050, the server maintains `last_seen`.
        """
        state = bytes(jsontext.decode(_update, payload).state)
        if not state.startswith(b"{"):
            raise MalformedFrame("payload.state is not an object")
        members = jsontext.members(state)
        members["last_seen"] = jsontext.write(self._stamp().timestamp)
        return b"{%b}" % b",".join(
            b"%b:%b" % (jsontext.write(key), value) for key, value in members.items()
        )

    def _fault(self, reason: str) -> Command:
        response = codes.invalid_request(reason).body()
        reply = Reply(refs.FAULT, refs.CHANNEL, ok=False, response=response)
        return Answer(self._topic, reply)

    def _wait(self, waiting: _Waiting) -> None:
        held = sum(other.size for other in self._waiting)
        if len(self._waiting) >= PENDING_LIMIT or held + waiting.size > PENDING_LIMIT_BYTES:
            raise TooMuchPending("too much before the channel let the client in")
        self._waiting.append(waiting)

    def _subscribe(self, shared: SharedChanges) -> Command:
        self._last_number += 1
        self._subscriptions[shared.id] = self._last_number
        room = room_of(self._channel, shared.id)
        options = JoinOptions(changes=shared.changes, is_shared=True)
        return self._join(subscription_topic(shared.id), room, self._last_number, options)

    def _leave(self, subscription: str) -> Command:
        number = self._subscriptions.pop(subscription)
        return Leave(subscription_topic(subscription), number, None, refs.SUBSCRIPTION)

    def _join(self, topic: str, sub_topic: str, number: int, options: JoinOptions) -> Join:
        is_channel = number == _NUMBER
        join_ref = refs.CHANNEL if is_channel else refs.SUBSCRIPTION
        return Join(topic, sub_topic, number, None, join_ref, options)
