"""The interests of a channel: what its subscriptions ask of Postgres' changes, once Postgres has accepted it.

Part of the rows actor's heir; entered by it when a subscription was resolved (`subscribing.py`),
taken out by the channel in the block that takes the subscription out of the roster.

**Invariants**
- A subscription has interests or a fault, never both; as long as it is not resolved, it has neither.
- Routes of interests are in the channel's own index and in the router, or in neither: the callers see to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from actors.realtime.change_index import ChangeIndex, Route
from protocol.changes.patterns import NamePattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.realtime.messages import JoinKey
    from protocol.changes.entries import Entry
    from protocol.changes.model import Change, Table
    from protocol.changes.predicates import Equality, Predicate
    from protocol.commands import ChangeBinding


@define(eq=False)
class Interest:
    """One entry of one subscription.

    `predicates` are by the OIDs of the tables they were made for; a text is the fault of a filter.
    `unreadable` are the tables whose primary key the role may not read: there every change is an error.
    `made_for` says for which description of a table its predicate was made, if rows of it had come by then.
    """

    join: JoinKey
    binding: ChangeBinding
    entry: Entry
    predicates: dict[int, Predicate | str] = field(factory=dict["int", "Predicate | str"])
    unreadable: frozenset[int] = frozenset()
    made_for: dict[int, Table] = field(factory=dict["int", "Table"])
    route: Route = field(init=False)

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


@define(eq=False)
class Interests:
    """Outcomes by join, and the interests of those granted by the changes they may want."""

    _outcomes: dict[JoinKey, Outcome] = field(factory=dict["JoinKey", "Outcome"])
    _index: ChangeIndex[Interest] = field(factory=ChangeIndex["Interest"])

    def outcome(self, join: JoinKey) -> Outcome | None:
        """Return how a join was resolved, None if it is not yet."""
        return self._outcomes.get(join)

    def has(self, interest: Interest) -> bool:
        """Whether an interest is entered."""
        outcome = self._outcomes.get(interest.join)
        return isinstance(outcome, Granted) and interest in outcome.interests

    def match(self, change: Change) -> tuple[Interest, ...]:
        """Return the interests that may want a change, each once."""
        return self._index.match(change)

    def enter(self, join: JoinKey, outcome: Outcome) -> tuple[Route, ...]:
        """Note how a join was resolved; return the routes that came with that."""
        self._outcomes[join] = outcome
        interests = outcome.interests if isinstance(outcome, Granted) else ()
        for interest in interests:
            self._index.add(interest.route, interest)
        return tuple(interest.route for interest in interests)

    def remove(self, join: JoinKey) -> tuple[Route, ...]:
        """Forget a join; return the routes that went with it."""
        outcome = self._outcomes.pop(join, None)
        interests = outcome.interests if isinstance(outcome, Granted) else ()
        for interest in interests:
            self._index.remove(interest.route, interest)
        return tuple(interest.route for interest in interests)

    def reroute(self, interest: Interest) -> tuple[Route, Route]:
        """Let an interest be found by what its predicates say now; return its earlier and its new route."""
        earlier = interest.route
        interest.route = interest.make_route()
        self._index.remove(earlier, interest)
        self._index.add(interest.route, interest)
        return earlier, interest.route

    def clear(self) -> tuple[Route, ...]:
        """Forget every join; return the routes there were."""
        return tuple(route for join in tuple(self._outcomes) for route in self.remove(join))
