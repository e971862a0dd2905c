"""The change feed: what the listener, the relay and all rows actors of a tenant share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from actors.realtime.backlog import Backlog
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.predicate_pool import PredicatePool
from actors.realtime.router import Router
from actors.realtime.table_rules import TableRules
from protocol.changes.render import ChangeRenderer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.core.ref import Ref
    from actors.realtime.change_ports import (
        ChangeSource,
        Extent,
        FilterRequest,
        Filters,
        Question,
        Scope,
        Sight,
        Subscriptions,
        TableAccess,
        Undecided,
        Visibility,
    )
    from actors.realtime.changelog import ChangeLog
    from actors.realtime.messages import RelayMessage
    from protocol.changes.model import Change, Lsn, Value
    from protocol.changes.predicates import Predicate

NO_DATABASE = "This server runs without a database: row changes are not available"


class NobodySees:
    """The visibility of a server without a database: nothing may be seen."""

    async def check(self, questions: Sequence[Question]) -> Sequence[Mapping[Change, Sight]]:
        """Withhold every change."""
        await trio.lowlevel.checkpoint()
        return [{}] * len(questions)


class NoSubscriptions:
    """The subscriptions of a server without a database: there is nobody to ask."""

    async def resolve(self, scopes: Sequence[Scope]) -> Sequence[Extent]:  # noqa: ARG002  # the port's name
        raise DatabaseUnavailable(NO_DATABASE)

    async def published(self) -> str:
        raise DatabaseUnavailable(NO_DATABASE)

    async def access(self, _role: str, _schema: str, _table: str) -> TableAccess:
        raise DatabaseUnavailable(NO_DATABASE)


class NoFilters:
    """The filters of a server without a database: there is nobody to ask."""

    async def compile(self, requests: Sequence[FilterRequest]) -> Sequence[Predicate | str]:  # noqa: ARG002  # dito
        raise DatabaseUnavailable(NO_DATABASE)

    async def judge(
        self,
        questions: Sequence[tuple[Predicate, Sequence[Value]]],  # noqa: ARG002  # dito
    ) -> Sequence[bool | Undecided]:
        raise DatabaseUnavailable(NO_DATABASE)


@define
class SourceState:
    """Whether row changes flow; written by the listener alone, who wakes the rows actors when it changes.

    `advice` is one sentence that says why they do not and what to change.
    """

    is_live: bool = False
    advice: str = NO_DATABASE
    connects: int = 0
    #: Grows with each connect, and when other tables are published: what was resolved before is to be looked at again.
    epoch: int = 0
    #: Whether the database keeps so much for us that no more subscribers are taken.
    is_pressed: bool = False
    _arrival: trio.Event = field(factory=trio.Event, init=False)

    def come(self) -> None:
        """Note that the stream is live."""
        self.is_live = True
        self.connects += 1
        self.epoch += 1
        self._arrival.set()

    def go(self, advice: str) -> None:
        """Note that the stream is not live, and why."""
        self.is_live, self.advice = False, advice
        if self._arrival.is_set():
            self._arrival = trio.Event()

    async def wait_live(self) -> None:
        """Wait until the stream is live."""
        await self._arrival.wait()


@define(eq=False)
class Activity:
    """How many row changes were sent in one room, each recipient counted, and when the last one was (trio clock)."""

    messages: int = 0
    last_at: float | None = None

    def count(self, messages: int) -> None:
        """Note that so many are sent now."""
        if messages:
            self.messages += messages
            self.last_at = trio.current_time()


@define(eq=False)
class StoredBroadcasts(Backlog):
    """The backlog of the relay: references to stored broadcasts that it has not delivered yet."""

    #: None until the relay lives.
    relay: Ref[RelayMessage] | None = None
    #: From which commit on they are live: what was stored before this server listened is history.
    begins_at: Lsn | None = None


@frozen(eq=False)
class ChangeFeed:
    """Tables that outlive their actors, whom to ask who may see what, and where changes come from, if from anywhere."""

    log: ChangeLog
    visibility: Visibility
    source: ChangeSource | None = None
    subscriptions: Subscriptions = field(factory=NoSubscriptions)
    filters: Filters = field(factory=NoFilters)
    router: Router = field(factory=Router)
    state: SourceState = field(factory=SourceState)
    renderer: ChangeRenderer = field(factory=ChangeRenderer)
    predicates: PredicatePool = field(factory=PredicatePool)
    broadcasts: StoredBroadcasts = field(factory=StoredBroadcasts)
    tables: TableRules = field(factory=TableRules)
    #: What was delivered in the rooms where somebody counts.
    activity: dict[str, Activity] = field(factory=dict[str, "Activity"])
