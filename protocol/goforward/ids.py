"""Ids and times as GoForward writes them; whoever calls brings clock and luck.

**Source**: ledger GF-024 and GF-042 (ids), GF-027 (times).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
#: Bytes of luck that an id is made of.
LUCK_BYTES: Final = 6


def message_id(at: float, luck: bytes) -> str:
    """Return `msg_<milliseconds>_<six characters>`; `at` is in seconds since 1970-01-01 UTC."""
    tail = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in luck[:LUCK_BYTES])
    return f"msg_{int(at * 1000):013}_{tail}"


def change_id(at: float) -> str:
    """Return `change_<milliseconds>`; `at` is in seconds since 1970-01-01 UTC."""
    return f"change_{int(at * 1000):013}"


def timestamp(at: float) -> str:
    """Return a time of ISO 8601 in UTC, to the millisecond; `at` is in seconds since 1970-01-01 UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
