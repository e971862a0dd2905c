"""What one Fluxbase connection has joined or is joining, topic by topic, and what waits until it has.

Kept by `session`, which decides what a frame joins or leaves.

**Invariants**
- What waits for a join keeps its order.
- What is kept for one connection is bounded: joins, and what waits for all of them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from protocol.commands import AccessToken
from protocol.errors import MalformedFrame, TooMuchPending
from protocol.fluxbase.topics import TopicKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from protocol.commands import Command
    from protocol.fluxbase.topics import Topic

#: Joins of one connection: a page listens to a handful of tables and rooms.
JOINS_LIMIT: Final = 1000
#: Frames that may wait for the joins of a connection, and their bytes.
PENDING_LIMIT: Final = 64
PENDING_LIMIT_BYTES: Final = 1024 * 1024


@frozen
class _Waiting:
    command: Command
    size: int


@define(eq=False)
class Joined:
    """What is joined or being joined under one topic."""

    topic: Topic
    number: int
    is_joined: bool = False
    waiting: list[_Waiting] = field(factory=list[_Waiting])


@define(eq=False)
class JoinedTopics:
    """See the module's text; topics are named by their text."""

    _joins: dict[str, Joined] = field(factory=dict[str, Joined], init=False)
    _subscriptions: dict[str, str] = field(factory=dict[str, str], init=False)
    _last_number: int = field(default=0, init=False)

    @property
    def next_number(self) -> int:
        """The number of the next join."""
        return self._last_number + 1

    def all(self) -> tuple[tuple[str, Joined], ...]:
        """Return all of them, oldest first."""
        return tuple(self._joins.items())

    def find(self, text: str) -> Joined | None:
        """Return what is joined or being joined under a topic."""
        return self._joins.get(text)

    def of_subscription(self, id_: str) -> str | None:
        """Return the topic of the subscription with that id."""
        return self._subscriptions.get(id_)

    def add(self, topic: Topic) -> Joined:
        """Note a join that begins.

        Raises:
            MalformedFrame: there are too many.
        """
        self.refuse_beyond_limit([topic])
        self._last_number += 1
        text = topic.text()
        joined = self._joins[text] = Joined(topic, self._last_number)
        if topic.kind is TopicKind.CHANGES:
            self._subscriptions[topic.detail] = text
        return joined

    def settle(self, text: str, number: int, *, joined: bool) -> Sequence[Command]:
        """Note how a join ended; return what waited for it, or nothing if it was refused."""
        found = self._current(text, number)
        if found is None:
            return ()
        if not joined:
            self.remove(text)
            return ()
        found.is_joined = True
        waited, found.waiting = found.waiting, []
        return [waiting.command for waiting in waited]

    def forget(self, text: str, number: int) -> None:
        """Note that what came of a join ended."""
        if self._current(text, number) is not None:
            self.remove(text)

    def remove(self, text: str) -> None:
        """Let go of a topic, and of what waited for it."""
        found = self._joins.pop(text)
        if found.topic.kind is TopicKind.CHANGES:
            self._subscriptions.pop(found.topic.detail, None)

    def when_joined(self, found: Joined, command: Command, size: int) -> Sequence[Command]:
        """Return the command if its topic is joined; else it waits, with the `size` bytes of its frame.

        Raises:
            TooMuchPending: the peer floods a channel that did not let it in yet.
        """
        if found.is_joined:
            return (command,)
        held = [
            waiting.size
            for joined in self._joins.values()
            for waiting in joined.waiting
            if not isinstance(waiting.command, AccessToken)
        ]
        if len(held) >= PENDING_LIMIT or sum(held) + size > PENDING_LIMIT_BYTES:
            raise TooMuchPending("too much before a channel let the client in")
        found.waiting.append(_Waiting(command, size))
        return ()

    def renew_when_joined(self, found: Joined, command: AccessToken) -> None:
        """Let a join that is under way speak with another token as soon as it can, in place of one that waits already.

        There is one token at most between two commands, so these need no limit of their own.
        """
        if found.waiting and isinstance(found.waiting[-1].command, AccessToken):
            found.waiting.pop()
        found.waiting.append(_Waiting(command, 0))

    def refuse_beyond_limit(self, topics: Iterable[Topic]) -> None:
        """Refuse what would join too much, before any of it is joined.

        Raises:
            MalformedFrame: there is no place for so many.
        """
        new = sum(topic.text() not in self._joins for topic in topics)
        if len(self._joins) + new > JOINS_LIMIT:
            raise MalformedFrame(f"a connection has at most {JOINS_LIMIT} subscriptions")

    def _current(self, text: str, number: int) -> Joined | None:
        found = self._joins.get(text)
        return found if found is not None and found.number == number else None
