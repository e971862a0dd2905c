from __future__ import annotations

import pytest

from protocol.changes.model import Absent, Kind, Lsn, ReplicaIdentity
from protocol.changes.pgoutput import Begin, Commit, Delete, Insert, Truncate, Update
from protocol.changes.transactions import TransactionReader
from protocol.errors import MalformedChange
from tests.support.changes import INT4, TEXT, make_table

COLUMNS = {"id": INT4, "body": TEXT}
NOT_LOGGED = Absent.NOT_LOGGED


def reading(identity=ReplicaIdentity.DEFAULT, **options):
    """Return a reader inside a transaction, with a table of two columns."""
    reader = TransactionReader()
    reader.read(Begin(Lsn(100), 5, 1))
    table = make_table(COLUMNS, identity=identity, **options)
    reader.define_table(table)
    return reader, table


def test_changes_are_numbered_within_their_transaction():
    reader, table = reading()
    insert = Insert(table.relation.oid, ("1", "a"))

    first, second = reader.read(insert), reader.read(insert)
    reader.read(Commit(Lsn(100), Lsn(110), 5))
    reader.read(Begin(Lsn(200), 6, 2))
    third = reader.read(insert)

    positions = [(c.position.commit_lsn, c.position.index) for c in (first, second, third)]
    assert positions == [(100, 0), (100, 1), (200, 0)]
    assert (first.committed_at_us, third.committed_at_us) == (5, 6)
    assert (first.xid, third.xid) == (1, 2)
    assert first.position < second.position < third.position


def test_the_end_of_the_last_commit_is_known():
    reader, _ = reading()
    assert (reader.in_transaction, reader.end_lsn) == (True, 0)

    reader.read(Commit(Lsn(100), Lsn(110), 5))

    assert (reader.in_transaction, reader.end_lsn) == (False, 110)


def test_an_insert_has_no_old_row():
    reader, table = reading()

    change = reader.read(Insert(table.relation.oid, ("1", "a")))

    assert (change.kind, change.new, change.old) == (Kind.INSERT, ("1", "a"), None)


def test_an_update_that_keeps_its_key_has_the_key_as_old_row():
    reader, table = reading()

    change = reader.read(Update(table.relation.oid, ("1", "b"), None, is_key=True))

    assert change.old == ("1", NOT_LOGGED)


def test_an_update_of_the_key_has_the_old_key():
    reader, table = reading()

    change = reader.read(Update(table.relation.oid, ("2", "b"), ("1", None), is_key=True))

    assert (change.new, change.old) == (("2", "b"), ("1", NOT_LOGGED))


def test_an_update_without_replica_identity_knows_nothing_of_the_old_row():
    reader, table = reading(ReplicaIdentity.NOTHING)

    change = reader.read(Update(table.relation.oid, ("1", "b"), None, is_key=True))

    assert change.old == (NOT_LOGGED, NOT_LOGGED)


def test_a_whole_old_row_supplies_what_the_new_one_leaves_unsaid():
    reader, table = reading(ReplicaIdentity.FULL)
    new = ("2", Absent.UNCHANGED)

    change = reader.read(Update(table.relation.oid, new, ("1", "long"), is_key=False))

    assert (change.new, change.old) == (("2", "long"), ("1", "long"))


def test_without_a_whole_old_row_it_stays_unsaid():
    reader, table = reading()
    new = ("1", Absent.UNCHANGED)

    change = reader.read(Update(table.relation.oid, new, None, is_key=True))

    assert change.new == new


def test_a_delete_has_the_old_row_only():
    reader, table = reading()

    change = reader.read(Delete(table.relation.oid, ("1", None), is_key=True))

    assert (change.kind, change.new, change.old) == (Kind.DELETE, None, ("1", NOT_LOGGED))


def test_a_truncate_is_no_change():
    reader, table = reading()

    assert reader.read(Truncate((table.relation.oid,))) is None


def test_a_new_description_counts_from_then_on():
    reader, table = reading()
    wider = make_table(COLUMNS | {"more": TEXT})

    assert reader.read(wider.relation) is None
    with pytest.raises(MalformedChange, match="not described"):
        reader.read(Insert(table.relation.oid, ("1", "a", "b")))
    reader.define_table(wider)
    change = reader.read(Insert(table.relation.oid, ("1", "a", "b")))

    assert change.table is wider


@pytest.mark.parametrize(
    "message",
    [
        Insert(16384, ("1",)),
        Insert(1, ("1", "a")),
        Update(16384, ("1",), None, is_key=True),
        Update(16384, ("1", "a"), ("1",), is_key=True),
        Update(16384, ("1", "a"), ("1",), is_key=False),
        Update(1, ("1", "a"), None, is_key=True),
        Delete(16384, ("1",), is_key=True),
        Delete(16384, ("1",), is_key=False),
        Delete(1, ("1", "a"), is_key=True),
        Begin(Lsn(1), 1, 1),
    ],
)
def test_what_makes_no_sense_here_is_malformed(message):
    reader, _ = reading()

    with pytest.raises(MalformedChange):
        reader.read(message)


def test_an_update_that_does_not_fit_its_full_identity_is_malformed():
    reader, _ = reading(ReplicaIdentity.FULL)

    with pytest.raises(MalformedChange):
        reader.read(Update(16384, (Absent.UNCHANGED,), ("1", "a"), is_key=False))


@pytest.mark.parametrize("message", [Insert(16384, ("1", "a")), Commit(Lsn(1), Lsn(2), 3)])
def test_rows_and_commits_need_a_transaction(message):
    reader = TransactionReader()
    reader.define_table(make_table(COLUMNS))

    with pytest.raises(MalformedChange):
        reader.read(message)
