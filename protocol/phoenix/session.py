"""The state machine of one Phoenix connection: which topics are joining, joined or unknown.

Made by `dialect`, fed by `actors.realtime.connection`; reads frames through `v1` or `v2`,
joins through `join`, and what else is asked for through `pushes`.

**Invariants**
- A topic is unknown, joining or joined; an unknown one yields no command but `Heartbeat`, `Join` and `Answer`.
- What is sent to a joining topic waits and keeps its order; a leave or a further join does not wait.
- A frame that raises has changed nothing.
- What is kept for one connection is bounded: topics, waiting pushes, and the bytes of both together.

**Source**: spec 1.5, 2.1, 2.7; an inbound join_ref matters for `phx_leave` only, because old SDKs send stale ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from protocol import jsontext
from protocol.commands import Join, JoinFault, JoinOptions, Leave
from protocol.errors import MalformedFrame, TooMuchPending
from protocol.phoenix import codes
from protocol.phoenix.envelope import Envelope
from protocol.phoenix.join import InvalidJoin, ParsedJoin, parse_join
from protocol.phoenix.pushes import answer_of_unknown, asked_of_joined, unmatched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protocol.commands import Command, SharedChanges
    from protocol.events import ClientRef
    from protocol.phoenix.envelope import Push

TOPIC_PREFIX: Final = "realtime:"

# Topics go into tables and logs. More than the 255 bytes of a binary frame is fine: text carries it.
TOPIC_LIMIT: Final = 1024
# Upstream's number; a tenant's real limit is lower and is kept by the connection.
CHANNELS_LIMIT: Final = 99_999
# supabase-js keeps pushes back until its join is answered, so only what overtakes an answer waits.
PENDING_LIMIT: Final = 64
# Joins (with bindings and tokens) and waiting pushes of one connection: room for the 3 MB of one broadcast
# and for more than ten thousand ordinary joins.
HELD_LIMIT_BYTES: Final = 16 * 1024 * 1024

HALF_A_PAIR: Final = JoinFault(
    InvalidJoin.code, "the join has half of a surrogate pair, which is no character"
)


@frozen
class _Waiting:
    push: Push
    size: int


@define(eq=False)
class _Subscription:
    """A joining or joined topic; `size` is what its join took, in bytes.

    `is_over` says that it ended before its join was settled; what waits for that is refused then.
    """

    number: int
    join_ref: ClientRef
    size: int
    is_joined: bool = False
    is_over: bool = False
    waiting: list[_Waiting] = field(factory=list[_Waiting])

    def held(self) -> int:
        return self.size + sum(waiting.size for waiting in self.waiting)


@define(eq=False)
class PhoenixSession:
    """Turns the frames of one connection into commands; implements `protocol.dialect.Session`."""

    _decode: Callable[[str | bytes], Push]
    _channels_limit: int = CHANNELS_LIMIT
    _held_limit_bytes: int = HELD_LIMIT_BYTES
    _subscriptions: dict[str, _Subscription] = field(
        factory=dict[str, _Subscription], init=False
    )
    _last_number: int = field(default=0, init=False)
    _held_bytes: int = field(default=0, init=False)

    def begin(self) -> Sequence[Command]:
        """Return nothing: who connects has joined nothing yet."""
        return ()

    def receive(self, data: str | bytes) -> Sequence[Command]:
        """Return what one frame asks for.

        Raises:
            MalformedFrame, UnknownFrame: the frame is to be dropped.
            TooMuchPending: the peer floods a topic whose join is not answered yet.
        """
        try:
            push = self._decode(data)
        except MalformedFrame:
            return (self._half_readable_join(data),)
        if push.event == "phx_join":
            return (self._join(push, len(data)),)
        subscription = self._subscriptions.get(push.topic)
        if subscription is None:
            return (answer_of_unknown(push),)
        if push.event == "phx_leave":
            return self._leave(push, subscription)
        if not subscription.is_joined:
            self._wait(subscription, _Waiting(push, len(data)))
            return ()
        return (asked_of_joined(push, subscription.number, subscription.join_ref),)

    def settle(self, topic: str, number: int, *, joined: bool) -> Sequence[Command]:
        """Note how join `number` ended; return what waited for it: its commands, or answers that refuse it."""
        subscription = self._current(topic, number)
        if subscription is None:
            return ()
        if subscription.is_over or not joined:
            self._remove(topic, subscription)
            return [answer_of_unknown(waiting.push) for waiting in subscription.waiting]
        subscription.is_joined = True
        waited, subscription.waiting = subscription.waiting, []
        self._held_bytes -= sum(waiting.size for waiting in waited)
        return [
            asked_of_joined(waiting.push, number, subscription.join_ref) for waiting in waited
        ]

    def forget(self, topic: str, number: int) -> None:
        """Note that the subscription of join `number` ended by the server's will."""
        subscription = self._current(topic, number)
        if subscription is None:
            return
        if subscription.is_joined:
            self._remove(topic, subscription)
        else:
            subscription.is_over = True

    def share(self, topic: str, changes: Sequence[SharedChanges]) -> Sequence[Command]:  # noqa: ARG002
        """Return nothing: every client says in its own join which row changes it wants."""
        return ()

    def _current(self, topic: str, number: int) -> _Subscription | None:
        subscription = self._subscriptions.get(topic)
        return subscription if subscription and subscription.number == number else None

    def _remove(self, topic: str, subscription: _Subscription) -> None:
        del self._subscriptions[topic]
        self._held_bytes -= subscription.held()

    def _half_readable_join(self, data: str | bytes) -> Command:
        """Return the faulty join that a frame is whose only fault is half of a surrogate pair.

        Raises:
            MalformedFrame: it is anything else.
        """
        repaired = jsontext.without_half_pairs(data) if isinstance(data, str) else data
        push = self._decode(repaired)
        if push.event != "phx_join":
            raise MalformedFrame("not the expected JSON")
        return self._join(push, len(data), HALF_A_PAIR)

    def _join(self, push: Push, size: int, fault: JoinFault | None = None) -> Command:
        """Return the `Join`, with a fault if that is known already; of a topic that cannot be one, the answer."""
        if not push.topic.startswith(TOPIC_PREFIX) or len(push.topic) > TOPIC_LIMIT:
            return unmatched(push)
        old = self._subscriptions.get(push.topic)
        fault = fault or self._fault(push.topic, size, old)
        parsed = ParsedJoin(JoinOptions(), ())
        if fault is None:
            try:
                parsed = _parse(push)
            except InvalidJoin as error:
                fault = JoinFault(error.code, error.reason)
        return Join(
            topic=push.topic,
            sub_topic=push.topic.removeprefix(TOPIC_PREFIX),
            # Nothing of a faulty join is kept but its refs.
            number=self._subscribe(push, 0 if fault else size, old),
            ref=push.ref,
            join_ref=push.join_ref,
            options=parsed.options,
            replaces=old.number if old else None,
            warnings=parsed.warnings,
            fault=fault,
        )

    def _fault(self, topic: str, size: int, old: _Subscription | None) -> JoinFault | None:
        if topic == TOPIC_PREFIX:
            return codes.TOPIC_NAME_REQUIRED
        freed = old.size if old else 0
        is_over_bytes = self._held_bytes - freed + size > self._held_limit_bytes
        return codes.TOO_MANY_CHANNELS if is_over_bytes or self._is_full(old) else None

    def _is_full(self, old: _Subscription | None) -> bool:
        return old is None and len(self._subscriptions) >= self._channels_limit

    def _subscribe(self, push: Push, size: int, old: _Subscription | None) -> int:
        """Note a new join and return its number; what waits for the one it replaces waits for it from now on.

        One that is refused because there are too many topics is not noted.
        """
        self._last_number += 1
        if self._is_full(old):
            return self._last_number
        waiting = old.waiting if old else []
        subscription = _Subscription(self._last_number, push.join_ref, size, waiting=waiting)
        self._subscriptions[push.topic] = subscription
        self._held_bytes += size - (old.size if old else 0)
        return self._last_number

    def _leave(self, push: Push, subscription: _Subscription) -> Sequence[Command]:
        """Return the `Leave` behind the refusals of what still waited; nothing if it is meant for an earlier join."""
        join_ref = subscription.join_ref
        if push.join_ref not in (None, join_ref) and join_ref is not None:
            return ()
        self._remove(push.topic, subscription)
        refused = [answer_of_unknown(waiting.push) for waiting in subscription.waiting]
        return [*refused, Leave(push.topic, subscription.number, push.ref, join_ref)]

    def _wait(self, subscription: _Subscription, waiting: _Waiting) -> None:
        if len(subscription.waiting) >= PENDING_LIMIT:
            raise TooMuchPending("too many pushes before the join was answered")
        if self._held_bytes + waiting.size > self._held_limit_bytes:
            raise TooMuchPending("too many bytes before the join was answered")
        subscription.waiting.append(waiting)
        self._held_bytes += waiting.size


def _parse(push: Push) -> ParsedJoin:
    # What comes in a binary frame is no object.
    payload = push.payload if isinstance(push, Envelope) else b"null"
    return parse_join(payload, push.topic.removeprefix(TOPIC_PREFIX))
