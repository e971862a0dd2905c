"""What a role's privileges mean for changes: shown, refused, or to be judged by the policies of the table.

Called by `visibility`; pure, no waiting.

**Source**: spec 6.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from attrs import define, field, frozen

from actors.db.row_query import RowQuery, current_row_query, old_row_query, row_text
from actors.realtime.change_ports import Sight
from protocol.changes.model import Absent, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.db.privileges import Access
    from protocol.changes.model import Change, Value

    #: The values that a query wants of a row.
    QueryValues = tuple[str | None, ...]

ERROR_NO_KEY = "Error 400: Bad Request, no primary key"
ERROR_UNAUTHORIZED = "Error 401: Unauthorized"


@frozen
class Strictness:
    """What is asked beyond spec 6.5.

    `rows`: an inserted or updated row must still be there as it was written, and of its old form the key is shown.
    `deletes`: the policies must have let the deleted row be seen, which needs a full replica identity.
    """

    rows: bool = False
    deletes: bool = False


@frozen
class JudgedRows:
    """Rows that one query decides about: what it wants of them, and what is shown of those it lets through."""

    values: dict[Change, QueryValues] = field(factory=dict["Change", "QueryValues"])
    sights: dict[Change, Sight] = field(factory=dict["Change", Sight])


@frozen(eq=False)
class Sights:
    """`shown` holds whatever the claims are, `judged` depends on them; the rest is withheld."""

    shown: dict[Change, Sight] = field(factory=dict["Change", Sight])
    judged: dict[RowQuery, JudgedRows] = field(factory=dict[RowQuery, JudgedRows])


@frozen
class _Decision:
    """About one change: the sight, and under row security the query that decides about it and what it wants.

    Without a sight the change is withheld.
    """

    sight: Sight | None = None
    query: RowQuery | None = None
    values: QueryValues = ()


@frozen(eq=False)
class _Known:
    """What was decided and made for one access, which is given up with it."""

    decisions: WeakKeyDictionary[Change, _Decision] = field(factory=WeakKeyDictionary)
    queries: dict[tuple[object, ...], RowQuery] = field(
        factory=dict[tuple[object, ...], RowQuery]
    )


_WITHHELD = _Decision()


@define(eq=False)
class Decider:
    """Decides about each change once for each role, however many channels ask."""

    _strictness: Strictness
    _known: WeakKeyDictionary[Access, _Known] = field(factory=WeakKeyDictionary, init=False)
    #: What is in use at the moment: many channels ask about the same changes.
    _sights: WeakValueDictionary[tuple[tuple[Change, ...], frozenset[Access]], Sights] = field(
        factory=WeakValueDictionary, init=False
    )

    def decide(self, changes: tuple[Change, ...], accesses: Mapping[int, Access]) -> Sights:
        """Return what one role is shown of the changes; its accesses come by the OID of the table."""
        key = (changes, frozenset(accesses.values()))
        sights = self._sights.get(key)
        if sights is None:
            sights = self._sights[key] = self._collect(changes, accesses)
        return sights

    def _collect(self, changes: tuple[Change, ...], accesses: Mapping[int, Access]) -> Sights:
        sights = Sights()
        for change in changes:
            access = accesses.get(change.table.relation.oid)
            # Without one the table is gone.
            decision = _WITHHELD if access is None else self._decision(change, access)
            if decision.sight is None:
                continue
            if decision.query is None:
                sights.shown[change] = decision.sight
                continue
            rows = sights.judged.get(decision.query)
            if rows is None:
                rows = sights.judged[decision.query] = JudgedRows()
            rows.values[change] = decision.values
            rows.sights[change] = decision.sight
        return sights

    def _decision(self, change: Change, access: Access) -> _Decision:
        known = self._known.get(access)
        if known is None:
            known = self._known[access] = _Known()
        decision = known.decisions.get(change)
        if decision is None:
            decision = known.decisions[change] = self._decide(change, access, known)
        return decision

    def _decide(self, change: Change, access: Access, known: _Known) -> _Decision:
        columns = access.columns(change.table)
        is_delete = change.kind is Kind.DELETE
        # Either may be the newer one: the table's facts came with its relation message.
        row_security = access.row_security or change.table.row_security
        if not is_delete and not access.has_key:
            return _refusal(ERROR_NO_KEY)
        if not columns or not (is_delete or access.is_key_readable):
            return _refusal(ERROR_UNAUTHORIZED)
        if is_delete and not self._strictness.deletes:
            return _Decision(Sight(columns, key_only=row_security))
        if not row_security or access.is_exempt:
            return _Decision(Sight(columns))
        if is_delete:
            return _judged_as_it_was(change, access, Sight(columns), known)
        # An old row may be one that could not be seen.
        sight = Sight(columns, key_only=self._strictness.rows)
        return self._judged_now(change, access, sight, known)

    def _judged_now(
        self, change: Change, access: Access, sight: Sight, known: _Known
    ) -> _Decision:
        values = _by_number(change, change.new)
        compared = []
        if self._strictness.rows:
            compared = [
                number
                for number in access.names
                if number in access.readable
                and not isinstance(values.get(number, Absent.UNCHANGED), Absent)
            ]
        wanted = _texts(values, [*(column.number for column in access.key), *compared])
        if not access.key or wanted is None:
            return _WITHHELD
        query = known.queries.get((Kind.UPDATE, *compared))
        if query is None:
            query = current_row_query(access, compared)
            known.queries[Kind.UPDATE, *compared] = query
        return _Decision(sight, query, wanted)


def _judged_as_it_was(change: Change, access: Access, sight: Sight, known: _Known) -> _Decision:
    image = _texts(_by_number(change, change.old), access.names)
    if image is None:
        return _WITHHELD
    query = known.queries.get((Kind.DELETE,))
    if query is None:
        query = known.queries[Kind.DELETE,] = old_row_query(access)
    return _Decision(sight, query, (row_text(image),))


def _refusal(fault: str) -> _Decision:
    return _Decision(Sight(frozenset(), fault=fault))


def _by_number(change: Change, row: tuple[Value, ...] | None) -> dict[int, Value]:
    """Return the values of a row by the numbers of their columns, as far as these are known."""
    pairs = zip(change.table.column_numbers, row or (), strict=False)
    return {number: value for number, value in pairs if number is not None}


def _texts(values: Mapping[int, Value], numbers: Iterable[int]) -> QueryValues | None:
    """Return the values of these columns, if the log carried all of them."""
    texts: list[str | None] = []
    for number in numbers:
        value = values.get(number, Absent.NOT_LOGGED)
        if isinstance(value, Absent):
            return None
        texts.append(value)
    return tuple(texts)
