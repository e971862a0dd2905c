"""The roster: who is subscribed to a channel, grouped by what they are sent.

An heir table: written by the channel actor alone, and outliving its incarnations,
because a channel that forgot its subscribers would deliver what is queued to nobody.
The rows actor of the same topic reads it in synchronous blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from attrs import define, evolve, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.core.ref import Ref
    from actors.realtime.messages import ConnectionMessage, JoinKey
    from actors.realtime.ports import Identity, Outbox
    from protocol.changes.model import Lsn
    from protocol.commands import ChangeBinding
    from protocol.dialect import EncodeKey
    from protocol.events import ClientRef, Event

#: No rows; one for all, for each set takes 200 bytes.
NO_ROWS: Final = frozenset[str]()

K = TypeVar("K")
V = TypeVar("V")


class Audience(NamedTuple):
    """Those who are sent the same bytes."""

    encode_key: EncodeKey
    hears_presence: bool
    hears_broadcasts: bool


@frozen(eq=False)
class Subscription:
    """One connection's membership in one channel, with its options."""

    key: JoinKey
    connection: Ref[ConnectionMessage]
    outbox: Outbox
    encode_key: EncodeKey
    join_ref: ClientRef
    identity: Identity
    changes: tuple[ChangeBinding, ...] = ()
    #: Changes of commits before this are not for it; None if that could not be read when it joined.
    from_lsn: Lsn | None = None
    #: How often the client exchanged its token, and with it the identity.
    refreshes: int = 0
    #: It is sent who is present when it attaches, and from then on or from later on who comes and goes.
    gets_presence_state: bool = False
    hears_presence: bool = True
    #: In a private channel somebody may be there for presence alone.
    hears_broadcasts: bool = True
    #: The rows of stored broadcasts that it was sent when it joined.
    replayed: frozenset[str] = NO_ROWS
    #: What it is told when its row changes flow, and not before: the answer to a join that waited for them.
    greeting: bytes = field(default=b"", repr=False)
    #: It came for a managed channel, and has no use for the topic without that.
    is_managed: bool = False

    @property
    def audience(self) -> Audience:
        """With whom it shares its bytes."""
        return Audience(self.encode_key, self.hears_presence, self.hears_broadcasts)

    def encode(self, event: Event) -> bytes:
        """Return the WebSocket frames of an event for this subscription, empty if its dialect cannot carry it."""
        return self.encode_key.encode(event)


@define
class Roster:
    """Subscriptions by join, and by audience."""

    _entries: dict[JoinKey, Subscription] = field(factory=dict)
    #: The outboxes of each audience; others read them, and at once.
    outboxes_by_audience: dict[Audience, dict[JoinKey, Outbox]] = field(factory=dict)
    #: What each connection has here: nearly always one, for which a dict would take a quarter of a kilobyte.
    _by_connection: dict[Ref[Any], Subscription | dict[JoinKey, Subscription]] = field(
        factory=dict
    )
    _with_changes: dict[JoinKey, Subscription] = field(factory=dict)
    #: Who was sent which stored broadcast when it joined.
    _replayed: dict[str, dict[JoinKey, None]] = field(factory=dict)
    #: Who asked for row changes and was not looked at since; a dict, as it keeps its order.
    _fresh: dict[JoinKey, None] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._entries.values()))

    def get(self, key: JoinKey) -> Subscription | None:
        """Return the subscription of that join."""
        return self._entries.get(key)

    def add(self, subscription: Subscription) -> None:
        """Enter a subscription."""
        key = subscription.key
        self._entries[key] = subscription
        outboxes = self.outboxes_by_audience.setdefault(subscription.audience, {})
        outboxes[key] = subscription.outbox
        self._add_of_connection(subscription)
        for row_id in subscription.replayed:
            self._replayed.setdefault(row_id, {})[key] = None
        if subscription.changes:
            self._with_changes[key] = subscription
            self._fresh[key] = None

    def replace(self, subscription: Subscription) -> bool:
        """Put a subscription in the place of the one of its key; False if there is none.

        Connection, outbox and encode key must be the same, and changes must not appear or vanish.
        """
        old = self.remove(subscription.key)
        if old is None:
            return False
        # Its connection does not know whether it has come to hear of presence since.
        hears = old.hears_presence or subscription.hears_presence
        self.add(evolve(subscription, hears_presence=hears))
        return True

    def remove(self, key: JoinKey) -> Subscription | None:
        """Take a subscription out, if it is there."""
        subscription = self._entries.pop(key, None)
        if subscription is None:
            return None
        _drop(self.outboxes_by_audience, subscription.audience, key)
        self._drop_of_connection(subscription)
        for row_id in subscription.replayed:
            _drop(self._replayed, row_id, key)
        self._with_changes.pop(key, None)
        self._fresh.pop(key, None)
        return subscription

    def hear_presence(self, key: JoinKey) -> None:
        """Move a subscription, if it is there, to those who hear who comes and goes."""
        subscription = self._entries.get(key)
        if subscription is not None and not subscription.hears_presence:
            self.remove(key)
            self.add(evolve(subscription, hears_presence=True))

    def audiences(self) -> tuple[Audience, ...]:
        """Return the audiences there are subscriptions for."""
        return tuple(self.outboxes_by_audience)

    def outboxes(self, audience: Audience) -> dict[JoinKey, Outbox]:
        """Return a copy of the outboxes that are sent the same bytes; the caller may change it."""
        return self.outboxes_by_audience.get(audience, {}).copy()

    def replayed(self, row_id: str) -> tuple[JoinKey, ...]:
        """Return who was sent that stored broadcast when it joined."""
        return tuple(self._replayed.get(row_id, ()))

    @property
    def has_changes(self) -> bool:
        """Whether anybody asked for row changes."""
        return bool(self._with_changes)

    @property
    def changes_count(self) -> int:
        """How many subscriptions asked for row changes."""
        return len(self._with_changes)

    def take_fresh(self) -> tuple[JoinKey, ...]:
        """Return who asked for row changes, or speaks for somebody else, since this was called last."""
        fresh = tuple(self._fresh)
        self._fresh.clear()
        return fresh

    def with_changes(self) -> tuple[Subscription, ...]:
        """Return a snapshot of those who asked for row changes."""
        return tuple(self._with_changes.values())

    def of_connection(self, connection: Ref[Any]) -> tuple[Subscription, ...]:
        """Return what one connection has here."""
        held = self._by_connection.get(connection, {})
        return (held,) if isinstance(held, Subscription) else tuple(held.values())

    def _add_of_connection(self, subscription: Subscription) -> None:
        connection = subscription.connection
        held = self._by_connection.get(connection)
        if held is None:
            self._by_connection[connection] = subscription
            return
        if isinstance(held, Subscription):
            held = self._by_connection[connection] = {held.key: held}
        held[subscription.key] = subscription

    def _drop_of_connection(self, subscription: Subscription) -> None:
        held = self._by_connection[subscription.connection]
        if not isinstance(held, Subscription):
            del held[subscription.key]
            if held:
                return
        del self._by_connection[subscription.connection]


def _drop(index: dict[K, dict[JoinKey, V]], at: K, key: JoinKey) -> None:
    del index[at][key]
    if not index[at]:
        del index[at]
