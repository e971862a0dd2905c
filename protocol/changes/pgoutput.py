"""Decodes the messages of Postgres' own output plugin: protocol version 1, values as text.

Called by `actors.db.replication` for the payload of each `WalData`; `transactions` makes changes of what comes out.
Only what these options can produce is known: no streaming, no two-phase commit, no binary values.

**Invariants**
- Whatever the bytes, the outcome is a message or `MalformedChange`.
- A message is consumed to its last byte; more bytes than it needs are an error too.

**Source**: PostgreSQL 18 documentation, 54.9 "Logical Replication Message Formats", read 2026-11-21.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from attrs import frozen

from protocol.changes.copyboth import POSTGRES_EPOCH_US
from protocol.changes.model import Absent, Column, Lsn, Relation, ReplicaIdentity
from protocol.errors import MalformedChange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protocol.changes.model import Value

#: The last microsecond that has a date: 9999-12-31T23:59:59.999999Z.
_LAST_TIME_US = 253_402_300_799_999_999

_BEGIN = struct.Struct(">xQqI")
_COMMIT = struct.Struct(">xBQQq")
_RELATION_TAIL = struct.Struct(">cH")
_COLUMN_TAIL = struct.Struct(">Ii")
_TRUNCATE = struct.Struct(">xIB")
_MESSAGE = struct.Struct(">xBQ")
_INT32 = struct.Struct(">I")
_INT64 = struct.Struct(">Q")

_NEW = ord("N")
_KEY = ord("K")
_OLD = ord("O")
_TEXT = ord("t")
_NULL = ord("n")
_UNCHANGED = ord("u")

Row = tuple["Value", ...]


@frozen
class Begin:
    """A transaction starts; `commit_lsn` is where its commit record will be."""

    commit_lsn: Lsn
    committed_at_us: int
    xid: int


@frozen
class Commit:
    """The transaction is over; `end_lsn` is behind its commit record, and what is to be acknowledged."""

    commit_lsn: Lsn
    end_lsn: Lsn
    committed_at_us: int


@frozen
class Origin:
    """The transaction was replicated from elsewhere."""

    commit_lsn: Lsn
    name: str


@frozen
class TypeName:
    """The name of a type that is not built in; comes before the first relation that uses it."""

    oid: int
    schema: str
    name: str


@frozen
class Insert:
    relation_oid: int
    new: Row


@frozen
class Update:
    """`is_key`: the old row is known as far as the replica identity only, and NULL elsewhere.

    `old` is None where that identity did not change.
    """

    relation_oid: int
    new: Row
    old: Row | None
    is_key: bool


@frozen
class Delete:
    """`is_key` as in `Update`."""

    relation_oid: int
    old: Row
    is_key: bool


@frozen
class Truncate:
    relation_oids: tuple[int, ...]


@frozen
class LogicalMessage:
    """What `pg_logical_emit_message` wrote; outside of any transaction unless `is_transactional`."""

    is_transactional: bool
    lsn: Lsn
    prefix: str
    content: bytes


Message = (
    Begin
    | Commit
    | Origin
    | Relation
    | TypeName
    | Insert
    | Update
    | Delete
    | Truncate
    | LogicalMessage
)


def decode(data: bytes) -> Message:
    """Return what one message says.

    Raises:
        MalformedChange: it is of an unknown kind, too short, too long or not UTF-8.
    """
    try:
        message, end = _DECODERS[data[0]](data)
    except (LookupError, ValueError, struct.error):
        raise MalformedChange("a message of pgoutput cannot be read") from None
    if end != len(data):
        raise MalformedChange("a message of pgoutput does not end where it should")
    return message


def _begin(data: bytes) -> tuple[Message, int]:
    lsn, time, xid = _BEGIN.unpack_from(data)
    return Begin(Lsn(lsn), _unix_time_us(time), xid), _BEGIN.size


def _commit(data: bytes) -> tuple[Message, int]:
    _flags, lsn, end_lsn, time = _COMMIT.unpack_from(data)
    return Commit(Lsn(lsn), Lsn(end_lsn), _unix_time_us(time)), _COMMIT.size


def _origin(data: bytes) -> tuple[Message, int]:
    (lsn,) = _INT64.unpack_from(data, 1)
    name, at = _string(data, 9)
    return Origin(Lsn(lsn), name), at


def _relation(data: bytes) -> tuple[Message, int]:
    (oid,) = _INT32.unpack_from(data, 1)
    schema, at = _string(data, 5)
    name, at = _string(data, at)
    identity, count = _RELATION_TAIL.unpack_from(data, at)
    at += _RELATION_TAIL.size
    columns = []
    for _ in range(count):
        flags = data[at]
        column, at = _string(data, at + 1)
        type_oid, modifier = _COLUMN_TAIL.unpack_from(data, at)
        at += _COLUMN_TAIL.size
        columns.append(Column(column, type_oid, modifier, is_identity=flags == 1))
    replica_identity = ReplicaIdentity(identity.decode())
    return Relation(oid, schema or "pg_catalog", name, replica_identity, tuple(columns)), at


def _type(data: bytes) -> tuple[Message, int]:
    (oid,) = _INT32.unpack_from(data, 1)
    schema, at = _string(data, 5)
    name, at = _string(data, at)
    return TypeName(oid, schema or "pg_catalog", name), at


def _insert(data: bytes) -> tuple[Message, int]:
    (oid,) = _INT32.unpack_from(data, 1)
    new, at = _row(data, _after_mark(data, 5, _NEW))
    return Insert(oid, new), at


def _update(data: bytes) -> tuple[Message, int]:
    (oid,) = _INT32.unpack_from(data, 1)
    if data[5] == _NEW:
        new, at = _row(data, 6)
        return Update(oid, new, None, is_key=True), at
    is_key = data[5] == _KEY
    old, at = _row(data, 6 if is_key else _after_mark(data, 5, _OLD))
    new, at = _row(data, _after_mark(data, at, _NEW))
    return Update(oid, new, old, is_key), at


def _delete(data: bytes) -> tuple[Message, int]:
    (oid,) = _INT32.unpack_from(data, 1)
    is_key = data[5] == _KEY
    old, at = _row(data, 6 if is_key else _after_mark(data, 5, _OLD))
    return Delete(oid, old, is_key), at


def _truncate(data: bytes) -> tuple[Message, int]:
    count, _options = _TRUNCATE.unpack_from(data)
    at = _TRUNCATE.size + 4 * count
    # Compared first, so that a wrong count cannot make us reserve memory for it.
    if at > len(data):
        raise ValueError("truncated")
    return Truncate(struct.unpack_from(f">{count}I", data, _TRUNCATE.size)), at


def _message(data: bytes) -> tuple[Message, int]:
    flags, lsn = _MESSAGE.unpack_from(data)
    prefix, at = _string(data, _MESSAGE.size)
    (size_bytes,) = _INT32.unpack_from(data, at)
    at += 4
    return LogicalMessage(
        flags == 1, Lsn(lsn), prefix, data[at : at + size_bytes]
    ), at + size_bytes


def _row(data: bytes, at: int) -> tuple[Row, int]:
    """Return the values that start at `at`, and where they end.

    This is the hot loop of the whole decoder: one turn per column of each row.
    """
    size_bytes = len(data)
    values: list[Value] = []
    count = data[at] << 8 | data[at + 1]
    at += 2
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + int.from_bytes(data[at + 1 : start], "big")
            # A slice of too few bytes would go unnoticed.
            if at > size_bytes:
                raise ValueError("truncated")
            values.append(data[start:at].decode())
        else:
            values.append(_VALUES_WITHOUT_TEXT[kind])
            at += 1
    return tuple(values), at


def _after_mark(data: bytes, at: int, mark: int) -> int:
    if data[at] != mark:
        raise ValueError("not the mark of a row")
    return at + 1


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _unix_time_us(time_us: int) -> int:
    unix_time_us: int = time_us + POSTGRES_EPOCH_US
    if not 0 <= unix_time_us <= _LAST_TIME_US:
        raise ValueError("no date")
    return unix_time_us


_VALUES_WITHOUT_TEXT: Mapping[int, Value] = {_NULL: None, _UNCHANGED: Absent.UNCHANGED}

_DECODERS: Mapping[int, Callable[[bytes], tuple[Message, int]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("M"): _message,
}
