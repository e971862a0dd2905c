"""Reads what a trigger told by NOTIFY: of which table, what happened, and the rows in JSON.

Called by the notify source, for both channels and whoever wrote the trigger: names differ, and most are optional.
Anybody who may connect to the database may send such a text, so nothing in it is taken for granted.

**Invariants**
- A text that makes no sense is refused as a whole.

**Source**: the payloads of the two kinds of triggers (`actors/db/sql/templates/notify.sql`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
from attrs import frozen

from protocol.changes.model import Kind
from protocol.errors import MalformedChange

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The year 9999; what claims to be later is no time.
MAX_TIMESTAMP_S = 253_402_300_800.0


@frozen
class RowNotice:
    """One row change as a trigger told it.

    `new` and `old` have the JSON of each column by name; None where there is no such row.
    `is_partial` says that they have the key only, for the row was too large.
    `transaction` tells changes of one transaction from those of another, 0 if the trigger does not say.
    `at_s` is in seconds since 1970-01-01 UTC, None if the trigger does not say.
    `trigger` is its name, None if it does not say.
    """

    schema: str
    table: str
    kind: Kind
    new: Mapping[str, msgspec.Raw] | None
    old: Mapping[str, msgspec.Raw] | None
    is_partial: bool = False
    transaction: int = 0
    at_s: float | None = None
    trigger: str | None = None


class _Payload(msgspec.Struct):
    table: str
    schema: str = "public"
    event: str | None = None
    type: str | None = None
    new_record: dict[str, msgspec.Raw] | None = None
    record: dict[str, msgspec.Raw] | None = None
    old_record: dict[str, msgspec.Raw] | None = None
    timestamp: msgspec.Raw = msgspec.Raw(b"null")
    transaction: str = "0"
    is_partial: bool = False
    trigger: str | None = None


_decode = msgspec.json.Decoder(_Payload).decode
_number = msgspec.json.Decoder(float | None).decode


def decode_notice(payload: bytes) -> RowNotice:
    """Return what the text says.

    Raises:
        MalformedChange: it says nothing that makes sense; the text of the error quotes none of it.
    """
    try:
        told = _read(payload)
        kind = Kind((told.event or told.type or "").upper())
        transaction = int(told.transaction)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise MalformedChange("a notification that no trigger of ours sends") from None
    if "\0" in told.schema + told.table:
        raise MalformedChange("a notification of a table that Postgres cannot have")
    new = told.record if told.new_record is None else told.new_record
    old = told.old_record
    if told.is_partial:
        # Without a key there may be nothing to say of the row.
        new, old = new or {}, old or {}
    if kind is Kind.INSERT:
        old = None
    elif kind is Kind.DELETE:
        new = None
    if (kind is Kind.DELETE and old is None) or (kind is not Kind.DELETE and new is None):
        raise MalformedChange("a notification without its row")
    return RowNotice(
        told.schema,
        told.table,
        kind,
        new,
        old,
        told.is_partial,
        transaction & 0xFFFFFFFF if transaction > 0 else 0,
        _seconds(told.timestamp),
        told.trigger,
    )


def _read(payload: bytes) -> _Payload:
    """Decode the text; with half a surrogate pair in it, which the type json allows, only what is sure of the rows."""
    try:
        return _decode(payload)
    except msgspec.DecodeError:
        told = json.loads(payload)
        if not isinstance(told, dict):
            raise
        for name in ("old_record", "new_record", "record"):
            if isinstance(told.get(name), dict):
                told[name] = {k: v for k, v in told[name].items() if _is_sure(v)}
        # The rest is to be fetched.
        return _decode(json.dumps(told | {"is_partial": True}))


def _is_sure(value: object) -> bool:
    """Whether a value comes through Python as it was."""
    if isinstance(value, str):
        return value.isprintable()
    return value is None or isinstance(value, int)


def _seconds(value: msgspec.Raw) -> float | None:
    """Return a time, None if it is none; not every trigger writes it as seconds."""
    try:
        at_s = _number(value)
    except msgspec.DecodeError:
        return None
    return at_s if at_s is not None and 0 <= at_s < MAX_TIMESTAMP_S else None
