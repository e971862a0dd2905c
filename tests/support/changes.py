"""Builds relations, tables and changes for tests."""

from __future__ import annotations

from protocol.changes.model import (
    Change,
    Column,
    Kind,
    Lsn,
    Position,
    Relation,
    ReplicaIdentity,
    Table,
    TypeFacts,
)

INT4 = TypeFacts(23, "int4")
TEXT = TypeFacts(25, "text")
BOOL = TypeFacts(16, "bool")
NUMERIC = TypeFacts(1700, "numeric")


def make_table(
    columns: dict[str, TypeFacts],
    *,
    key: tuple[str, ...] = ("id",),
    identity: ReplicaIdentity = ReplicaIdentity.DEFAULT,
    name: str = "notes",
    oid: int = 16384,
    row_security: bool = False,
    schema: str = "public",
) -> Table:
    """Return a table whose replica identity goes with its primary key."""

    def is_identity(column: str) -> bool:
        if identity is ReplicaIdentity.FULL:
            return True
        return identity is not ReplicaIdentity.NOTHING and column in key

    relation = Relation(
        oid,
        schema,
        name,
        identity,
        tuple(
            Column(column, facts.oid, -1, is_identity(column))
            for column, facts in columns.items()
        ),
    )
    numbers = tuple(range(1, len(columns) + 1))
    return Table(relation, tuple(columns.values()), key, row_security, numbers)


def make_change(kind: Kind, table: Table, *, new=None, old=None, lsn=100, index=0, at_us=0):
    return Change(kind, table, Position(Lsn(lsn), index), at_us, new, old)
