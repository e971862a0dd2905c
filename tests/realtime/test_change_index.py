"""The change index against a scan of everything that was entered."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.realtime.change_index import ChangeIndex, Route
from protocol.changes.model import Absent, Kind
from protocol.changes.patterns import NamePattern
from protocol.changes.predicates import Equality
from tests.support.changes import INT4, TEXT, make_change, make_table

KINDS = st.sampled_from(["*", "INSERT", "UPDATE", "DELETE"])
NAMES = ["notes", "my_notes", "myXnotes", "other"]
#: The same columns, another type, without one, another order, no key, the same under another OID.
TABLES = [
    table
    for oid, name in [*enumerate(NAMES), (0, "renamed"), (9, "notes")]
    for table in (
        make_table({"id": INT4, "body": TEXT}, name=name, oid=oid),
        make_table({"id": TEXT, "body": TEXT}, name=name, oid=oid),
        make_table({"id": INT4}, name=name, oid=oid),
        make_table({"body": TEXT, "id": INT4}, name=name, oid=oid),
        make_table({"id": INT4, "body": TEXT}, key=(), name=name, oid=oid),
    )
]
TEXTS = ["1", "2", "3"]
VALUES = st.sampled_from([*TEXTS, None, Absent.UNCHANGED])
EQUALITIES = st.builds(
    Equality,
    st.just("a column"),
    st.sampled_from([1, 2]),
    st.sampled_from([INT4.oid, TEXT.oid]),
    st.frozensets(st.sampled_from(TEXTS), max_size=2),
)
ROUTES = st.builds(
    Route,
    kind=KINDS,
    schema=st.sampled_from(["public", "*", "private", "publi_"]).map(NamePattern),
    table=st.sampled_from([*NAMES, "*", "my%"]).map(NamePattern),
    is_filtered=st.booleans(),
    equalities=st.dictionaries(st.sampled_from(range(5)), EQUALITIES, max_size=3),
)


@st.composite
def changes(draw):
    table = draw(st.sampled_from(TABLES))
    kind = draw(st.sampled_from(Kind))
    row = tuple(draw(VALUES) for _ in table.relation.columns)
    other = tuple(draw(VALUES) for _ in table.relation.columns)
    if kind is Kind.DELETE:
        return make_change(kind, table, old=row)
    return make_change(kind, table, new=row, old=other if kind is Kind.UPDATE else None)


def may_want(route, change) -> bool:
    """Whether a change has to be offered, by the definition."""
    relation = change.table.relation
    if route.kind not in ("*", change.kind.value):
        return False
    if not route.covers(relation):
        return False
    equality = route.equalities.get(relation.oid)
    if not route.is_filtered or equality is None or not equality.texts:
        return True
    if not change.table.primary_key and change.kind is not Kind.DELETE:
        return True
    for place, column in enumerate(relation.columns):
        number = change.table.column_numbers[place]
        if (number, column.type_oid) == (equality.column_number, equality.type_oid):
            return (change.new or change.old)[place] in equality.texts
    return True


class IndexAgainstScan(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.index = ChangeIndex()
        self.entered = []

    @rule(route=ROUTES, who=st.integers(0, 5), times=st.integers(1, 2))
    def subscribe(self, route, who, times):
        for _ in range(times):
            self.index.add(route, who)
            self.entered.append((route, who))

    @rule(data=st.data())
    def unsubscribe(self, data):
        if self.entered:
            entry = data.draw(st.sampled_from(self.entered))
            self.entered.remove(entry)
            self.index.remove(*entry)

    @rule(change=changes())
    def change(self, change):
        found = self.index.match(change)

        assert Counter(found) == Counter(
            {target for route, target in self.entered if may_want(route, change)}
        )

    @invariant()
    def nothing_is_left_when_everybody_is_gone(self):
        if not self.entered:
            assert not self.index._groups
            for view in self.index._views.values():
                assert not any((view.groups, view.hashed, view.scanned))


IndexAgainstScan.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None
)
TestIndexAgainstScan = IndexAgainstScan.TestCase


def wanting(text):
    """Return a route for the rows of `notes` whose first column has that value."""
    equality = Equality("id", 1, INT4.oid, frozenset({text}))
    names = NamePattern("public"), NamePattern("notes")
    return Route("*", *names, is_filtered=True, equalities={NOTES.relation.oid: equality})


NOTES = make_table({"id": INT4, "body": TEXT})


def test_a_route_is_found_by_the_value_that_its_filter_wants():
    index = ChangeIndex()
    for number in range(100):
        index.add(wanting(str(number)), number)

    assert index.match(make_change(Kind.INSERT, NOTES, new=("7", "x"))) == (7,)
    assert index.match(make_change(Kind.INSERT, NOTES, new=(None, "x"))) == ()
    assert index.match(make_change(Kind.DELETE, NOTES, old=("9", Absent.NOT_LOGGED))) == (9,)


def test_after_a_column_got_another_type_everybody_is_found():
    index = ChangeIndex()
    index.add(wanting("1"), "somebody")

    changed = make_table({"id": TEXT, "body": TEXT})

    assert index.match(make_change(Kind.INSERT, changed, new=("2", "x"))) == ("somebody",)


def test_a_table_that_was_made_again_is_another_one():
    index = ChangeIndex()
    index.add(wanting("1"), "somebody")

    anew = make_table({"id": INT4, "body": TEXT}, oid=NOTES.relation.oid + 1)

    assert index.match(make_change(Kind.INSERT, anew, new=("2", "x"))) == ("somebody",)
