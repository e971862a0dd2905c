import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.copyboth import Keepalive, WalData, decode, standby_status
from protocol.changes.model import Lsn
from protocol.errors import MalformedChange


def test_wal_data_carries_what_follows_its_header():
    assert decode(b"w" + bytes(24) + b"payload") == WalData(b"payload")


def test_a_keepalive_says_how_far_the_server_is_and_whether_it_waits():
    message = b"k" + struct.pack(">QqB", 0x1_0000_0002, 5, 1)

    assert decode(message) == Keepalive(Lsn(0x1_0000_0002), reply_requested=True)


def test_a_standby_status_confirms_one_place_thrice():
    message = standby_status(Lsn(7), 946_684_800_000_005)

    assert message == b"r" + struct.pack(">QQQqB", 7, 7, 7, 5, 0)


@pytest.mark.parametrize("message", [b"", b"w", b"w" + bytes(23), b"k" + bytes(16), b"x" * 40])
def test_anything_else_is_malformed(message):
    with pytest.raises(MalformedChange):
        decode(message)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_read_or_malformed(message):
    with suppress(MalformedChange):
        decode(message)
