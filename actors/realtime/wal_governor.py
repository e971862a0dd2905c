"""The WAL governor: what to do when the database keeps more and more for us.

Postgres keeps its log from the durable position on, up to `max_slot_wal_keep_size`; beyond that the slot is lost.
So long before, we warn, then take no new subscribers for changes, then give up our oldest changes and say so.
A pure function, asked by the listener in its round of housekeeping.
"""

from __future__ import annotations

from enum import IntEnum

#: Shares of the retention limit at which each step begins.
WARN_AT = 0.5
REFUSE_AT = 0.7
EVICT_AT = 0.85
#: How much of it is given up then: down to this share.
EVICT_DOWN_TO = 0.4


class Pressure(IntEnum):
    """How close the database is to dropping our position."""

    NONE = 0
    WARN = 1
    REFUSE = 2
    EVICT = 3


def pressure(lag_bytes: int, retention_bytes: int | None) -> Pressure:
    """Return what a lag behind the end of the log calls for; a database that keeps nothing for us calls for nothing."""
    if retention_bytes is None:
        return Pressure.NONE
    steps = (
        (EVICT_AT, Pressure.EVICT),
        (REFUSE_AT, Pressure.REFUSE),
        (WARN_AT, Pressure.WARN),
    )
    return next(
        (level for share, level in steps if lag_bytes >= share * retention_bytes), Pressure.NONE
    )
