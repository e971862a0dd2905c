"""The state machine of one Fluxbase connection: what its frames ask for.

Made by `dialect`, fed by `actors.realtime.connection`; reads frames through `envelope`,
and keeps in `joined` which channels and subscriptions are joining or joined.
A client subscribes to tables and rooms; who says something in a room joins it by that.

**Invariants**
- What is said in a channel waits until it is joined, and keeps its order.
- A frame that makes no sense is answered and changes nothing; of many in a row only the first are answered.

**Source**: ledger FB-003…018, FB-044, FB-063…067, C14, C40.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from protocol.commands import (
    AccessToken,
    Answer,
    Broadcast,
    Join,
    JoinOptions,
    Leave,
    PresenceAction,
    PresencePush,
)
from protocol.errors import MalformedFrame
from protocol.events import Reply, UserBroadcast
from protocol.fluxbase import refs
from protocol.fluxbase.envelope import NULL, decode, decode_presence
from protocol.fluxbase.joined import JoinedTopics
from protocol.fluxbase.subscriptions import SubscribedChanges, read_changes, rows_of
from protocol.fluxbase.topics import Topic, TopicKind, named_table
from protocol.jsontext import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.commands import Command, SharedChanges
    from protocol.events import ClientRef
    from protocol.fluxbase.envelope import Push
    from protocol.fluxbase.joined import Joined

#: Names go into tables and logs.
CHANNEL_LIMIT: Final = 255
#: Frames that make no sense and are answered, until one comes that does.
FAULTS_ANSWERED: Final = 10

_NOWHERE: Final = Topic(TopicKind.ROOM, "").text()


@define(eq=False)
class FluxbaseSession:
    """Turns the frames of one connection into commands; implements `protocol.dialect.Session`.

    `wait_s` is how long a subscription waits for the database's verdict.
    """

    _user_id: str
    _wait_s: float
    _joined: JoinedTopics = field(factory=JoinedTopics, init=False)
    _token: str | None = field(default=None, init=False)
    _faults: int = field(default=0, init=False)

    def begin(self) -> Sequence[Command]:
        """Return nothing: who connects has subscribed to nothing yet."""
        return ()

    def receive(self, data: str | bytes) -> Sequence[Command]:
        """Return what one frame asks for.

        Raises:
            MalformedFrame: the frame makes no sense, and so did many before it.
            TooMuchPending: the peer floods a channel that did not let it in yet.
        """
        try:
            commands = self._carry_out(decode(data), len(data))
        except MalformedFrame as error:
            self._faults += 1
            if self._faults > FAULTS_ANSWERED:
                raise
            return (_answer(_NOWHERE, refs.FAULT, write(error.reason), ok=False),)
        self._faults = 0
        return commands

    def settle(self, topic: str, number: int, *, joined: bool) -> Sequence[Command]:
        """Note how a join ended; return what waited for it, or nothing if it was refused: its client was told."""
        return self._joined.settle(topic, number, joined=joined)

    def forget(self, topic: str, number: int) -> None:
        """Note that a membership ended by the server's will."""
        self._joined.forget(topic, number)

    def share(self, topic: str, changes: Sequence[SharedChanges]) -> Sequence[Command]:  # noqa: ARG002
        """Return nothing: every client says itself which rows it wants."""
        return ()

    def _carry_out(self, push: Push, size: int) -> Sequence[Command]:
        if len(push.channel) > CHANNEL_LIMIT:
            raise MalformedFrame(f"a channel has at most {CHANNEL_LIMIT} characters")
        match push.type:
            case "subscribe":
                return self._subscribe(push, size)
            case "unsubscribe":
                return self._unsubscribe(push)
            case "broadcast":
                return self._broadcast(push, size)
            case "presence":
                return self._present(push, size)
            case "access_token":
                return self._renew(push)
            case "heartbeat":
                # Nothing to say: the server has a heartbeat of its own.
                return ()
            case _:
                raise MalformedFrame("unknown message type")

    def _subscribe(self, push: Push, size: int) -> Sequence[Command]:
        changes = read_changes(push)
        if changes is not None:
            return (self._follow(changes),)
        rows = rows_of(push.channel)
        topic = _room(push.channel) if rows is None else rows.topic
        text = topic.text()
        found = self._joined.find(text)
        if found is None:
            options = self._options(rows)
            return (_join(self._joined.add(topic), refs.SUBSCRIBE, options),)
        # It is subscribed already, or is about to be, of which it is told once more.
        return self._joined.when_joined(found, _answer(text, refs.SUBSCRIBE, ok=True), size)

    def _follow(self, changes: SubscribedChanges) -> Command:
        topic = changes.topic_of(f"sub_{self._joined.next_number}")
        return _join(self._joined.add(topic), refs.SUBSCRIBE, self._options(changes))

    def _unsubscribe(self, push: Push) -> Sequence[Command]:
        if push.subscription_id:
            # What is not known is over already, which is what the client wants.
            text = self._joined.of_subscription(push.subscription_id)
            unknown = Topic(TopicKind.CHANGES, push.channel, push.subscription_id).text()
            return (self._leave(text or unknown, refs.UNSUBSCRIBE),)
        if not push.channel:
            leaves = [self._leave(text, None) for text, _ in self._joined.all()]
            return (*leaves, _answer(_NOWHERE, refs.UNSUBSCRIBE_ALL, ok=True))
        rows = rows_of(push.channel)
        topic = _room(push.channel) if rows is None else rows.topic
        others = [
            text
            for text, found in self._joined.all()
            if found.topic.kind in (TopicKind.PRESENCE, TopicKind.CHANGES)
            and found.topic.channel == push.channel
        ]
        # The channel first: its client need not hear that it is not present any more.
        left = self._leave(topic.text(), refs.UNSUBSCRIBE)
        return (left, *(self._leave(text, None) for text in others))

    def _broadcast(self, push: Push, size: int) -> Sequence[Command]:
        payload = bytes(push.payload)
        message = UserBroadcast(push.event, b"{}" if payload == NULL else payload, False)
        joins, found = self._enter(_room(push.channel))
        ref = refs.broadcast(push.message_id)
        said = Broadcast(found.topic.text(), found.number, ref, None, message)
        return (*joins, *self._joined.when_joined(found, said, size))

    def _present(self, push: Push, size: int) -> Sequence[Command]:
        presence = decode_presence(bytes(push.payload))
        room = _room(push.channel)
        key = presence.key or self._user_id
        if not key or len(key) > CHANNEL_LIMIT:
            raise MalformedFrame("key is required for presence")
        topic = Topic(TopicKind.PRESENCE, push.channel, key)
        match presence.event:
            case "track":
                return self._track(room, topic, bytes(presence.state), size)
            case "untrack" if self._joined.find(topic.text()) is not None:
                return (self._leave(topic.text(), None),)
            case "untrack":
                return ()
            case _:
                raise MalformedFrame("unknown presence event")

    def _track(self, room: Topic, topic: Topic, state: bytes, size: int) -> Sequence[Command]:
        if not state.startswith(b"{"):
            raise MalformedFrame("the state of a presence is an object")
        self._joined.refuse_beyond_limit((room, topic))
        first, _ = self._enter(room)
        joins, found = self._enter(topic)
        text = topic.text()
        track = PresencePush(
            text, found.number, refs.PRESENCE, None, PresenceAction.TRACK, state
        )
        return (*first, *joins, *self._joined.when_joined(found, track, size))

    def _renew(self, push: Push) -> Sequence[Command]:
        """Let every channel speak with another token from now on; the last one to do so acknowledges."""
        if not push.token:
            raise MalformedFrame("token is required for access_token message")
        self._token = push.token
        joined = [(text, found) for text, found in self._joined.all() if found.is_joined]
        for text, found in self._joined.all():
            if not found.is_joined:
                renewal = AccessToken(text, found.number, push.token)
                self._joined.renew_when_joined(found, renewal)
        if not joined:
            # There is nothing that it could be checked for yet; who joins with it is refused if it is no good.
            return (_answer(_NOWHERE, refs.TOKEN, ok=True),)
        return [
            AccessToken(text, found.number, push.token, refs.TOKEN if last else None)
            for last, (text, found) in zip(_lasts(len(joined)), joined, strict=True)
        ]

    def _enter(self, topic: Topic) -> tuple[Sequence[Command], Joined]:
        """Return what it takes to be in a channel, and what is known of it."""
        found = self._joined.find(topic.text())
        if found is not None:
            return (), found
        joined = self._joined.add(topic)
        return (_join(joined, refs.IMPLICIT, self._options(None, topic)),), joined

    def _options(
        self, changes: SubscribedChanges | None, topic: Topic | None = None
    ) -> JoinOptions:
        if changes is not None:
            return JoinOptions(
                changes=(changes.binding,), wait_s=self._wait_s, access_token=self._token
            )
        is_presence = topic is not None and topic.kind is TopicKind.PRESENCE
        return JoinOptions(
            ack=not is_presence,
            echo=not is_presence,
            presence_enabled=not is_presence,
            presence_key=topic.detail if topic is not None and is_presence else self._user_id,
            access_token=self._token,
        )

    def _leave(self, text: str, ref: ClientRef) -> Command:
        found = self._joined.find(text)
        if found is None:
            return _answer(text, ref, ok=True)
        self._joined.remove(text)
        return Leave(text, found.number, ref, None)


def _join(joined: Joined, ref: str, options: JoinOptions) -> Join:
    topic = joined.topic
    return Join(topic.text(), topic.sub_topic, joined.number, ref, None, options)


def _room(channel: str) -> Topic:
    """Return the room of that name.

    Raises:
        MalformedFrame: it has none, or is the name of a table.
    """
    if not channel:
        raise MalformedFrame("channel is required")
    if named_table(channel) is not None:
        raise MalformedFrame("a channel of a table has rows, and nothing that clients say")
    return Topic(TopicKind.ROOM, channel)


def _lasts(count: int) -> list[bool]:
    return [number == count - 1 for number in range(count)]


def _answer(topic: str, ref: ClientRef, response: bytes = b"{}", *, ok: bool) -> Command:
    return Answer(topic, Reply(ref, None, ok, response))
