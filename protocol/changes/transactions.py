"""Makes changes of decoded messages: knows which transaction is open and which table an OID means.

Called by `actors.db.replication` with the messages of `pgoutput`, in the order of the stream.

**Invariants**
- Every row image has one value per column of its relation.
- `Change.old` holds what the replica identity logs, whether or not Postgres found it worth sending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from protocol.changes.model import (
    Absent,
    Change,
    Kind,
    Lsn,
    Position,
    Relation,
    ReplicaIdentity,
    Table,
)
from protocol.changes.pgoutput import Begin, Commit, Delete, Insert, Update
from protocol.errors import MalformedChange

if TYPE_CHECKING:
    from protocol.changes.pgoutput import Message, Row

#: Where the LSN of a Begin ends, which comes right behind its kind.
_LSN_END = 9


@define
class TransactionReader:
    """What one replication stream has announced so far.

    `end_lsn` is behind the last commit that was read; 0 before the first.
    """

    end_lsn: Lsn = field(default=Lsn(0), init=False)
    _tables: dict[int, Table] = field(factory=dict[int, Table], init=False)
    _begin: Begin | None = field(default=None, init=False)
    _next_index: int = field(default=0, init=False)

    @property
    def in_transaction(self) -> bool:
        return self._begin is not None

    @property
    def commit_lsn(self) -> Lsn | None:
        """Where the open transaction will have committed; None outside of any."""
        return None if self._begin is None else self._begin.commit_lsn

    def define_table(self, table: Table) -> None:
        """Note what the last relation message means; it must have been called before its next row."""
        self._tables[table.relation.oid] = table

    def read(self, message: Message) -> Change | None:
        """Return the change that the message describes, if it describes one.

        Raises:
            MalformedChange: the message makes no sense at this place.
        """
        match message:
            case Insert():
                table = self._table(message.relation_oid)
                return self._change(Kind.INSERT, table, message.new, None)
            case Update():
                return self._update(message)
            case Delete():
                return self._delete(message)
            case Begin():
                self._open(message)
            case Commit():
                self._close(message)
            case Relation():
                # What an OID meant before must not be used for what follows.
                self._tables.pop(message.oid, None)
            case _:
                pass
        return None

    def _open(self, begin: Begin) -> None:
        if self._begin is not None:
            raise MalformedChange("a transaction begins inside another")
        self._begin = begin
        self._next_index = 0

    def _close(self, commit: Commit) -> None:
        if self._begin is None:
            raise MalformedChange("a transaction ends that did not begin")
        self._begin = None
        self.end_lsn = commit.end_lsn

    def _table(self, oid: int) -> Table:
        try:
            return self._tables[oid]
        except KeyError:
            raise MalformedChange("a row of a relation that was not described") from None

    def _update(self, message: Update) -> Change:
        table = self._table(message.relation_oid)
        relation, new = table.relation, message.new
        known = new if message.old is None else message.old
        old = _identity(relation, known) if message.is_key else known
        if relation.replica_identity is ReplicaIdentity.FULL and Absent.UNCHANGED in new:
            new = _filled(new, old)
        return self._change(Kind.UPDATE, table, new, old)

    def _delete(self, message: Delete) -> Change:
        table = self._table(message.relation_oid)
        old = _identity(table.relation, message.old) if message.is_key else message.old
        return self._change(Kind.DELETE, table, None, old)

    def _change(self, kind: Kind, table: Table, new: Row | None, old: Row | None) -> Change:
        begin = self._begin
        if begin is None:
            raise MalformedChange("a row outside of any transaction")
        width = len(table.relation.columns)
        if (new is not None and len(new) != width) or (old is not None and len(old) != width):
            raise MalformedChange("a row that does not fit its relation")
        position = Position(begin.commit_lsn, self._next_index)
        self._next_index += 1
        return Change(kind, table, position, begin.committed_at_us, new, old, begin.xid)


def announced_commit(data: bytes) -> Lsn | None:
    """Return the commit LSN that a Begin announces, even if the rest of it makes no sense; None if it is no Begin."""
    is_begin = data[:1] == b"B" and len(data) >= _LSN_END
    return Lsn(int.from_bytes(data[1:_LSN_END], "big")) if is_begin else None


def _identity(relation: Relation, row: Row) -> Row:
    """Return `row` with nothing left but the columns of the replica identity."""
    if len(row) != len(relation.columns):
        raise MalformedChange("a row that does not fit its relation")
    return tuple(
        value if column.is_identity else Absent.NOT_LOGGED
        for column, value in zip(relation.columns, row, strict=True)
    )


def _filled(new: Row, old: Row) -> Row:
    """Return `new` with what it left unsaid taken from the whole old row."""
    return tuple(
        before if after is Absent.UNCHANGED else after
        for after, before in zip(new, old, strict=False)
    )
