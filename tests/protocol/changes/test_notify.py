"""What a trigger told is read whatever the dialect, and anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.model import Kind
from protocol.changes.notify import decode_notice
from protocol.errors import MalformedChange

PLAIN = {"schema": "public", "table": "notes", "timestamp": 1_700_000_000.5}


def notice(**members):
    return decode_notice(json.dumps(PLAIN | members).encode())


def test_both_dialects_are_read():
    one = notice(event="UPDATE", old_record={"id": 1}, new_record={"id": 2})
    other = notice(type="UPDATE", old_record={"id": 1}, record={"id": 2})

    assert one == other
    assert (one.schema, one.table, one.kind) == ("public", "notes", Kind.UPDATE)
    assert {name: bytes(value) for name, value in one.new.items()} == {"id": b"2"}
    assert one.at_s == 1_700_000_000.5


def test_what_is_told_of_the_transaction_is_its_number_without_epoch():
    assert notice(event="INSERT", new_record={}, transaction=str(2**32 + 7)).transaction == 7
    assert notice(event="INSERT", new_record={}).transaction == 0
    assert notice(event="INSERT", new_record={}, transaction="-5").transaction == 0


def test_an_insert_has_no_old_row_and_a_delete_no_new_one():
    rows = {"old_record": {"id": 1}, "new_record": {"id": 2}}

    assert notice(event="INSERT", **rows).old is None
    assert notice(event="DELETE", **rows).new is None


def test_a_large_row_may_be_told_without_any_key():
    assert notice(event="INSERT", is_partial=True).new == {}
    assert notice(event="DELETE", is_partial=True).old == {}


def test_of_a_row_with_half_a_surrogate_pair_there_is_what_is_sure():
    row = r'{"id": 1, "name": "a", "at": 1.50, "data": {"b": "\ud800"}}'
    payload = f'{{"table": "notes", "event": "INSERT", "new_record": {row}}}'

    told = decode_notice(payload.encode())

    assert told.is_partial
    assert {name: bytes(value) for name, value in told.new.items()} == {
        "id": b"1",
        "name": b'"a"',
    }


@pytest.mark.parametrize("timestamp", ["2026-01-01", None, -1, 1e300, {}, True])
def test_a_time_that_is_none_is_left_out(timestamp):
    assert notice(event="INSERT", new_record={}, timestamp=timestamp).at_s is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"table": "notes"}',
        b'{"table": "notes", "event": "TRUNCATE", "new_record": {}}',
        b'{"table": "notes", "event": "INSERT"}',
        b'{"table": "notes", "event": "UPDATE", "old_record": {}}',
        b'{"table": "notes", "event": "DELETE", "new_record": {}}',
        b'{"table": "notes", "event": "INSERT", "new_record": []}',
        b'{"table": 7, "event": "INSERT", "new_record": {}}',
        b'{"table": "notes", "event": "INSERT", "new_record": {}, "transaction": "x"}',
        b"[" * 7000,
        rb'{"table": "no\u0000tes", "event": "INSERT", "new_record": {}}',
        rb'{"schema": "\u0000", "table": "notes", "event": "INSERT", "new_record": {}}',
    ],
)
def test_what_makes_no_sense_is_refused(payload):
    with pytest.raises(MalformedChange):
        decode_notice(payload)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_text_does_anything_but_be_read_or_refused(payload):
    try:
        decode_notice(payload)
    except MalformedChange:
        return
