"""Subscribing: what becomes of the `postgres_changes` entries of a join, asked of Postgres.

Called by the rows actor for the new subscriptions of its topic, and by a join that wants to wait for the outcome.
All entries of a join are granted, or none.

**Source**: spec 6.1 and 6.2; that the first fault in the order of the entries is told is upstream's way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from actors.realtime.change_ports import FilterRequest, Scope
from actors.realtime.interests import Denied, Granted, Interest
from protocol.changes.entries import read_entry
from protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.change_ports import Extent, PublishedTable
    from actors.realtime.interests import Outcome
    from protocol.changes.entries import Entry
    from protocol.changes.predicates import Predicate
    from protocol.commands import ChangeBinding

#: A filter is made ready for each table it is for, so one filter is for this many at most.
MAX_FILTERED_TABLES = 256
_TOO_MANY_TABLES = (
    "ERROR 54000 (program_limit_exceeded) too many tables for one filter."
    f" Maximum {MAX_FILTERED_TABLES}"
)
_FORBIDDEN = "ERROR 42501 (insufficient_privilege) permission denied for table"


@frozen
class Applicant:
    """Who wants to subscribe to what; one that `waits` for the verdict is told if it may read none of the tables.

    Others hear of that with each change.
    """

    role: str
    bindings: tuple[ChangeBinding, ...]
    waits: bool = False

    def scope(self, entry: Entry) -> Scope:
        """Return which tables an entry of theirs is for."""
        is_listed = self.waits or bool(entry.conditions)
        return Scope(self.role, entry.schema, entry.table, entry.select, is_listed)

    def request(self, entry: Entry, relation_oid: int) -> FilterRequest:
        """Return what is to be made ready for a table."""
        return FilterRequest(relation_oid, self.role, entry.conditions)


@frozen
class _Answers:
    """What Postgres said."""

    extents: Mapping[Scope, Extent]
    predicates: Mapping[FilterRequest, Predicate | str]


async def resolve(applicants: Sequence[Applicant], feed: ChangeFeed) -> list[Outcome]:
    """Return what becomes of each applicant, in two questions to the database at most.

    Raises:
        Unavailable: the database could not be asked.
    """
    read = [_read(applicant.bindings) for applicant in applicants]
    understood = [
        (applicant, entry)
        for applicant, entries in zip(applicants, read, strict=True)
        if not isinstance(entries, Denied)
        for entry in entries
    ]
    scopes = list(dict.fromkeys(applicant.scope(entry) for applicant, entry in understood))
    extents = dict(zip(scopes, await feed.subscriptions.resolve(scopes), strict=True))
    requests = (
        applicant.request(entry, table.relation_oid)
        for applicant, entry in understood
        for table in _filtered(entry, extents[applicant.scope(entry)])
    )
    answers = _Answers(extents, await prepare(requests, feed))
    return [
        entries if isinstance(entries, Denied) else _outcome(applicant, entries, answers)
        for applicant, entries in zip(applicants, read, strict=True)
    ]


async def prepare(
    requests: Iterable[FilterRequest], feed: ChangeFeed
) -> dict[FilterRequest, Predicate | str]:
    """Return what judges rows for each request, or its fault, in one question to the database.

    Raises:
        Unavailable: the database could not be asked.
    """
    distinct = list(dict.fromkeys(requests))
    if not distinct:
        return {}
    answers = await feed.filters.compile(distinct)
    return {
        request: answer if isinstance(answer, str) else feed.predicates.share(answer)
        for request, answer in zip(distinct, answers, strict=True)
    }


def _read(bindings: Iterable[ChangeBinding]) -> list[Entry] | Denied:
    try:
        return [read_entry(binding) for binding in bindings]
    except ProtocolError as error:
        return Denied(error.reason)


def _outcome(applicant: Applicant, entries: list[Entry], answers: _Answers) -> Outcome:
    interests = []
    for binding, entry in zip(applicant.bindings, entries, strict=True):
        extent = answers.extents[applicant.scope(entry)]
        predicates = {
            table.relation_oid: answers.predicates[applicant.request(entry, table.relation_oid)]
            for table in _filtered(entry, extent)
        }
        fault = _fault(entry, extent, predicates)
        if applicant.waits and fault is None and _is_forbidden(extent):
            fault = entry.failed(_FORBIDDEN)
        if fault is not None:
            return Denied(fault)
        unreadable = frozenset(
            table.relation_oid for table in extent.tables if not table.reads_key
        )
        interests.append(Interest(binding, entry, predicates, unreadable))
    return Granted(tuple(interests))


def _filtered(entry: Entry, extent: Extent) -> Sequence[PublishedTable]:
    """Return the tables for which filters are to be made ready."""
    return extent.tables[:MAX_FILTERED_TABLES] if entry.conditions else ()


def _is_forbidden(extent: Extent) -> bool:
    return bool(extent.tables) and not any(table.reads_key for table in extent.tables)


def _fault(
    entry: Entry, extent: Extent, predicates: Mapping[int, Predicate | str]
) -> str | None:
    """Return what the client is told if an entry cannot be granted."""
    if not extent.is_published:
        return entry.unpublished()
    if entry.conditions and len(extent.tables) > MAX_FILTERED_TABLES:
        return entry.failed(_TOO_MANY_TABLES)
    faults = (answer for answer in predicates.values() if isinstance(answer, str))
    fault = next(faults, extent.fault)
    return None if fault is None else entry.failed(fault)
