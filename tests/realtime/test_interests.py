"""Who is found for a change, and then judged, against judging everybody."""

from __future__ import annotations

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.realtime.change_ports import FilterRequest
from actors.realtime.interests import CrowdKey, Granted, Interest, Interests, Moved
from actors.realtime.messages import JoinKey
from actors.realtime.pending_rows import PendingRows
from actors.realtime.router import Router
from protocol.changes.entries import Entry
from protocol.changes.filters import parse_filter
from protocol.changes.model import Absent, Kind, Lsn
from protocol.changes.predicates import Verdict
from protocol.commands import ChangeBinding
from protocol.dialect import EncodeKey
from protocol.phoenix import PhoenixDialect
from tests.support.changes import INT4, TEXT, make_change, make_table
from tests.support.memory_database import MemoryDatabase

NOTES = make_table({"id": INT4, "body": TEXT}, oid=1)
OTHERS = make_table({"body": TEXT, "id": INT4}, oid=2, name="others")
DIALECT = PhoenixDialect("2.0.0")
DATABASE = MemoryDatabase([NOTES, OTHERS])
VALUES = ["1", "2", "a"]
CONDITIONS = st.builds(
    "{}={}{}".format,
    st.sampled_from(["id", "body"]),
    st.sampled_from(["", "not."]),
    st.one_of(
        st.builds("eq.{}".format, st.sampled_from(VALUES)),
        st.builds("neq.{}".format, st.sampled_from(VALUES)),
        st.builds("like.{}%".format, st.sampled_from(VALUES)),
        st.just("is.null"),
        st.builds(
            "in.({})".format, st.lists(st.sampled_from(VALUES), min_size=1).map(",".join)
        ),
    ),
)
ENTRIES = st.builds(
    Entry,
    st.sampled_from(["*", "INSERT", "UPDATE", "DELETE"]),
    st.sampled_from(["public", "*", "other"]),
    st.sampled_from(["notes", "others", "%o%", "*"]),
    st.lists(CONDITIONS, max_size=2).map(",".join).map(parse_filter),
)
ROWS = st.tuples(*[st.sampled_from([*VALUES, None, Absent.UNCHANGED])] * 2)


@st.composite
def changes(draw):
    kind = draw(st.sampled_from(Kind))
    new = draw(ROWS) if kind is not Kind.DELETE else None
    old = draw(ROWS) if kind is not Kind.INSERT else None
    return make_change(kind, draw(st.sampled_from([NOTES, OTHERS])), new=new, old=old)


@define(eq=False)
class Member:
    """One subscription with one entry, as `subscribing` would grant it; equal entries make one crowd."""

    number: int
    interest: Interest

    @property
    def join(self) -> JoinKey:
        return JoinKey("conn_1", self.number)

    @property
    def crowd(self) -> CrowdKey:
        return CrowdKey((self.interest.binding,), "anon", EncodeKey(DIALECT, "realtime:room"))


def member(number: int, entry: Entry) -> Member:
    binding = ChangeBinding(1, repr(entry).encode(), entry.kind, entry.schema, None, None)
    made = Interest(binding, entry)
    if entry.conditions:
        for table in DATABASE.tables:
            if made.route.covers(table.relation):
                request = FilterRequest(table.relation.oid, "anon", entry.conditions)
                made.predicates[table.relation.oid] = DATABASE._predicate(request)
        made.route = made.make_route()
    return Member(number, made)


def wants(one: Interest, change) -> bool:
    relation = change.table.relation
    if one.entry.kind not in ("*", change.kind.value) or not one.route.covers(relation):
        return False
    if not one.entry.conditions:
        return True
    row = change.old if change.new is None else change.new
    return one.predicates[relation.oid].on(change.table).judge(row) is Verdict.YES


class BothLevels:
    """A router and the interests of its only channel."""

    def __init__(self) -> None:
        self._router, self._pending, self._interests = Router(), PendingRows(), Interests()

    def enter(self, some: list[Member]) -> None:
        for one in some:
            granted = Granted((one.interest,))
            moved = self._interests.grant(one.join, one.crowd, granted, Lsn(0))
            self._router.move(moved, self._pending)

    def leave(self, some: list[Member]) -> None:
        for one in some:
            moved = Moved(removed=self._interests.remove(one.join))
            self._router.move(moved, self._pending)

    def find(self, change) -> set[int]:
        """Return who is found and wants the change; the channel must be found if anybody in it is."""
        wanted = [one for one in self._interests.match(change) if wants(one, change)]
        found = [join.number for one in wanted for join in one.crowd.starts]
        assert len(found) == len(set(found))
        assert self._router.match(change) or not found
        return set(found)


@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=6).flatmap(
        lambda some: st.lists(st.sampled_from(some), max_size=12)
    ),
    stay=st.sets(st.integers(0, 11)),
    batch=st.lists(changes(), min_size=1, max_size=6),
    first=st.integers(0, 3),
)
@settings(max_examples=300, deadline=None)
def test_nobody_who_wants_a_change_is_left_out(entries, stay, batch, first):
    levels = BothLevels()
    made = [member(number, entry) for number, entry in enumerate(entries)]
    staying = [one for one in made if one.number in stay]

    def check(present):
        for change in batch:
            expected = {one.number for one in present if wants(one.interest, change)}
            assert levels.find(change) == expected

    levels.enter(made[:first])
    check(made[:first])
    levels.enter(made[first:])
    check(made)
    levels.leave([one for one in made if one not in staying])
    check(staying)
    levels.enter(staying)
    check(staying)
    levels.leave(staying)
    check([])
