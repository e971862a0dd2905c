"""The values a change source yields, whichever source it is.

Made by the decoders of this folder, kept in the change log, rendered for clients by `values.py`.
"""

from __future__ import annotations

from enum import Enum
from typing import NewType

from attrs import field, frozen

#: A place in the write-ahead log, as a number; print it with `format_lsn`.
Lsn = NewType("Lsn", int)


def format_lsn(lsn: Lsn) -> str:
    """Return the LSN as Postgres prints it: `0/16B3748`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> Lsn:
    """Return the LSN that Postgres printed.

    Raises:
        ValueError: the text is no LSN.
    """
    high, low = text.split("/")
    return Lsn((int(high, 16) << 32) | int(low, 16))


class Kind(Enum):
    """What happened to a row; the value is the word on the wire."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class ReplicaIdentity(Enum):
    """What Postgres logs of an old row; the value is the letter pgoutput sends."""

    DEFAULT = "d"
    NOTHING = "n"
    FULL = "f"
    INDEX = "i"


class Absent(Enum):
    """A value that the log does not carry."""

    UNCHANGED = "unchanged TOAST value, not sent"
    NOT_LOGGED = "not part of the replica identity"


#: A column's value in Postgres' text form, SQL NULL as None.
Value = str | Absent | None


@frozen
class Column:
    """One column as the Relation message describes it; `is_identity` says it is part of the replica identity."""

    name: str
    type_oid: int
    type_modifier: int
    is_identity: bool


@frozen
class Relation:
    """One table as the write-ahead log describes it at this point of the stream."""

    oid: int
    schema: str
    name: str
    replica_identity: ReplicaIdentity
    columns: tuple[Column, ...]


@frozen
class TypeFacts:
    """What rendering a value needs to know of its type; the source is `pg_type`.

    `kind` is `typtype`: b(ase), c(omposite), d(omain), e(num), r(ange), m(ultirange), p(seudo).
    `element` is set for arrays, `base` for domains, `fields` (name and type, in order) for composites.
    `delimiter` is what stands between the values of this type in the text of an array.
    """

    oid: int
    name: str
    kind: str = "b"
    element: TypeFacts | None = None
    base: TypeFacts | None = None
    fields: tuple[tuple[str, TypeFacts], ...] = ()
    delimiter: str = ","


@frozen(eq=False)
class Table:
    """A relation with the catalog facts that the log does not carry; one object per Relation message.

    The relation is as it was when its rows were written; who may see them is asked of the catalog as it is now.
    `column_numbers` ties the two together, as a column keeps its number (`attnum`) when it is renamed.
    """

    relation: Relation
    types: tuple[TypeFacts, ...]
    """One per column of the relation, in its order."""
    primary_key: tuple[str, ...]
    """Columns of the relation; empty if there is none, or if not all of it can be told apart in the relation."""
    row_security: bool
    column_numbers: tuple[int | None, ...]
    """One per column of the relation; None for a column that is gone or cannot be told any more."""


@frozen(order=True)
class Position:
    """Where a change stands: the commit's LSN as Begin announces it, and the change's index in the transaction."""

    commit_lsn: Lsn
    index: int


@frozen(eq=False)
class Change:
    """One row insert, update or delete.

    `new` and `old` have one value per column of the relation, in its order; None where there is no such row image.
    `committed_at_us` is the commit time in microseconds since 1970-01-01 UTC.
    `xid` is the transaction's number without its epoch; 0 if the source does not know it.
    """

    kind: Kind
    table: Table
    position: Position
    committed_at_us: int
    new: tuple[Value, ...] | None
    old: tuple[Value, ...] | None = field(default=None)
    xid: int = field(default=0)
