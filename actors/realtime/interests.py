"""The interests of a channel: what its subscriptions ask of Postgres' changes, once Postgres has accepted it.

Part of the rows actor's heir; entered by it when a subscription was resolved (`subscribing.py`),
taken out by the channel in the block that takes the subscription out of the roster.
Subscriptions that want the same are one crowd: what a change means to them is found out once.

**Invariants**
- A subscription is in a crowd or has a fault, never both; as long as it is not resolved, it is neither.
- Routes of interests are in the channel's own index and in the router, or in neither: the callers see to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attrs import define, field, frozen

from actors.realtime.change_index import ChangeIndex, Route
from protocol.changes.patterns import NamePattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.realtime.messages import JoinKey
    from protocol.changes.entries import Entry
    from protocol.changes.model import Change, Lsn, Table
    from protocol.changes.predicates import Equality, Predicate
    from protocol.commands import ChangeBinding
    from protocol.dialect import EncodeKey


@define(eq=False)
class Interest:
    """One entry of the subscriptions of a crowd.

    `predicates` are by the OIDs of the tables they were made for; a text is the fault of a filter.
    `unreadable` are the tables whose primary key the role may not read: there every change is an error.
    `made_for` says for which description of a table its predicate was made, if rows of it had come by then.
    """

    binding: ChangeBinding
    entry: Entry
    predicates: dict[int, Predicate | str] = field(factory=dict["int", "Predicate | str"])
    unreadable: frozenset[int] = frozenset()
    made_for: dict[int, Table] = field(factory=dict["int", "Table"])
    route: Route = field(init=False)
    crowd: Crowd | None = field(default=None, init=False, repr=False)

    @route.default
    def _first_route(self) -> Route:
        return self.make_route()

    def make_route(self) -> Route:
        """Return the route that goes with the predicates of this moment."""
        entry = self.entry
        return Route(
            entry.kind,
            NamePattern(entry.schema),
            NamePattern(entry.table),
            is_filtered=bool(entry.conditions),
            equalities=dict(self._equalities()),
        )

    def copy(self) -> Interest:
        """Return one of the same meaning for another crowd."""
        return Interest(self.binding, self.entry, dict(self.predicates), self.unreadable)

    def means_the_same(self, other: Interest) -> bool:
        """Whether Postgres says the same of both; their entries are known to be equal."""
        return self.predicates == other.predicates and self.unreadable == other.unreadable

    def _equalities(self) -> Iterable[tuple[int, Equality]]:
        for oid, predicate in self.predicates.items():
            if not isinstance(predicate, str) and oid not in self.unreadable:
                equality = predicate.equalities
                if equality is not None:
                    yield oid, equality


@frozen
class Granted:
    """A subscription that Postgres accepted."""

    interests: tuple[Interest, ...]


@frozen
class Denied:
    """A subscription that was refused as a whole, for one entry of it; `fault` is for the client."""

    fault: str


Outcome = Granted | Denied


class CrowdKey(NamedTuple):
    """What subscriptions have in common that want the same: entries, role, and how they are sent to."""

    bindings: tuple[ChangeBinding, ...]
    role: str
    encode_key: EncodeKey


@define(eq=False)
class Crowd:
    """Subscriptions that want the same; `starts` says from which commit on each gets changes."""

    key: CrowdKey
    interests: tuple[Interest, ...] = ()
    starts: dict[JoinKey, Lsn] = field(factory=dict["JoinKey", "Lsn"])


class Moved(NamedTuple):
    """Routes that came and routes that went, to be told to the router."""

    added: tuple[Route, ...] = ()
    removed: tuple[Route, ...] = ()


@define(eq=False)
class Interests:
    """The crowds of a channel, its refused subscriptions, and the index of what is wanted."""

    _places: dict[JoinKey, Crowd | Denied] = field(factory=dict["JoinKey", "Crowd | Denied"])
    _crowds: dict[CrowdKey, Crowd] = field(factory=dict["CrowdKey", "Crowd"])
    _index: ChangeIndex[Interest] = field(factory=ChangeIndex["Interest"])

    def fault(self, join: JoinKey) -> str | None:
        """Return why a join was refused, None if it was not."""
        place = self._places.get(join)
        return place.fault if isinstance(place, Denied) else None

    def has(self, interest: Interest) -> bool:
        """Whether an interest is entered."""
        crowd = interest.crowd
        return crowd is not None and interest in crowd.interests

    def match(self, change: Change) -> tuple[Interest, ...]:
        """Return the interests that may want a change, each once."""
        return self._index.match(change)

    def deny(self, join: JoinKey, denied: Denied) -> Moved:
        """Note that a join was refused, in place of what it had."""
        removed = self.remove(join)
        self._places[join] = denied
        return Moved(removed=removed)

    def grant(self, join: JoinKey, key: CrowdKey, granted: Granted, start: Lsn) -> Moved:
        """Let a join get changes from a commit on, in place of what it had."""
        crowd = self._crowds.get(key)
        added: tuple[Route, ...] = ()
        removed: tuple[Route, ...] = ()
        if crowd is None:
            crowd = self._crowds[key] = Crowd(key)
        if not _same(crowd.interests, granted.interests):
            removed = self._put_in(crowd, ())
            self._put_in(crowd, tuple(interest.copy() for interest in granted.interests))
            added = tuple(interest.route for interest in crowd.interests)
        if self._places.get(join) is not crowd:
            removed += self.remove(join)
        self._places[join] = crowd
        crowd.starts[join] = start
        return Moved(added, removed)

    def remove(self, join: JoinKey) -> tuple[Route, ...]:
        """Forget a join; return the routes that went with it."""
        place = self._places.pop(join, None)
        if not isinstance(place, Crowd):
            return ()
        del place.starts[join]
        if place.starts:
            return ()
        del self._crowds[place.key]
        return self._put_in(place, ())

    def reroute(self, interest: Interest) -> Moved:
        """Let an interest be found by what its predicates say now."""
        earlier = interest.route
        interest.route = interest.make_route()
        self._index.remove(earlier, interest)
        self._index.add(interest.route, interest)
        return Moved((interest.route,), (earlier,))

    def clear(self) -> tuple[Route, ...]:
        """Forget every join; return the routes there were."""
        return tuple(route for join in tuple(self._places) for route in self.remove(join))

    def _put_in(self, crowd: Crowd, interests: tuple[Interest, ...]) -> tuple[Route, ...]:
        """Let a crowd have these interests; return the routes of those it had."""
        earlier = crowd.interests
        for interest in earlier:
            interest.crowd = None
            self._index.remove(interest.route, interest)
        crowd.interests = interests
        for interest in interests:
            interest.crowd = crowd
            self._index.add(interest.route, interest)
        return tuple(interest.route for interest in earlier)


def _same(some: tuple[Interest, ...], others: tuple[Interest, ...]) -> bool:
    return len(some) == len(others) and all(
        one.means_the_same(other) for one, other in zip(some, others, strict=True)
    )
