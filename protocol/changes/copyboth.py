"""What client and server say to each other while a replication slot streams.

Called by `actors.db.replication`; the payload of `WalData` goes to `pgoutput`.
All integers are big-endian, times are microseconds since 2000-01-01 UTC.

**Source**: PostgreSQL 18 documentation, 54.4 "Streaming Replication Protocol", read 2026-11-21.
"""

from __future__ import annotations

import struct

from attrs import frozen

from protocol.changes.model import Lsn
from protocol.errors import MalformedChange

#: From the epoch of Unix to the one of Postgres.
POSTGRES_EPOCH_US = 946_684_800_000_000

_WAL_DATA = ord("w")
_KEEPALIVE = ord("k")
#: What comes before the payload.
WAL_DATA_HEADER_BYTES = 25
_KEEPALIVE_BODY = struct.Struct(">xQq?")
_STANDBY_STATUS = struct.Struct(">cQQQq?")


@frozen
class WalData:
    """One message of the output plugin."""

    payload: bytes


@frozen
class Keepalive:
    """The server has sent everything up to `wal_end`, and may want to hear from us at once."""

    wal_end: Lsn
    reply_requested: bool


def decode(message: bytes) -> WalData | Keepalive:
    """Return what one CopyData message of the server says.

    Raises:
        MalformedChange: it is neither of the two kinds there are.
    """
    kind = message[0] if message else None
    if kind == _WAL_DATA and len(message) >= WAL_DATA_HEADER_BYTES:
        return WalData(message[WAL_DATA_HEADER_BYTES:])
    if kind == _KEEPALIVE and len(message) == _KEEPALIVE_BODY.size:
        wal_end, _sent_at, reply_requested = _KEEPALIVE_BODY.unpack(message)
        return Keepalive(Lsn(wal_end), reply_requested)
    raise MalformedChange("neither WAL data nor a keepalive")


def standby_status(confirmed: Lsn, sent_at_us: int) -> bytes:
    """Return the message that lets the server forget what is before `confirmed`.

    It is given as written, flushed and applied, as the three mean the same for a change log.
    `sent_at_us` is in microseconds since 1970-01-01 UTC.
    """
    sent_at = sent_at_us - POSTGRES_EPOCH_US
    return _STANDBY_STATUS.pack(b"r", confirmed, confirmed, confirmed, sent_at, False)
