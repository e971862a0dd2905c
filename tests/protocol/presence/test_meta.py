"""Metas: what others may be shown, and how it is written."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedFrame
from protocol.presence.meta import (
    DEPTH_LIMIT,
    REF_BYTES,
    RESERVED,
    Meta,
    are_same,
    member,
    readable,
    ref_from,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text() | st.sampled_from(sorted(RESERVED))
payloads = st.dictionaries(names, values, max_size=5)


def nested(depth: int) -> bytes:
    """Return an object in which lists go that deep, itself included."""
    return b'{"a":%b}' % (b"[" * (depth - 1) + b"]" * (depth - 1))


@given(st.binary(min_size=REF_BYTES, max_size=REF_BYTES))
def test_a_ref_is_sixteen_characters_that_are_safe_in_a_url(luck):
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", ref_from(luck))


@given(payloads, st.none() | st.just("before"))
def test_an_entry_is_the_payload_with_its_refs_and_without_reserved_members(payload, replaces):
    meta = Meta("k", readable(json.dumps(payload).encode()), "now")

    expected = {name: value for name, value in payload.items() if name not in RESERVED}
    expected["phx_ref"] = "now"
    if replaces is not None:
        expected["phx_ref_prev"] = replaces
    assert json.loads(meta.entry(replaces)) == expected


@pytest.mark.parametrize(
    "payload", [b"{}", b"{ }", b'{"a":1 }', b'{ "a" : 1.50,"b":"\\u00e9" }']
)
def test_a_payload_keeps_its_bytes(payload):
    assert readable(payload) == payload
    assert Meta("k", payload, "r").entry().startswith(payload[:-1].rstrip())


def test_a_reserved_member_is_found_however_it_is_written():
    assert readable(rb'{"phx\u005fref":1,"a":{"phx_ref":2}}') == b'{"a":{"phx_ref":2}}'


@pytest.mark.parametrize(
    "payload",
    [nested(DEPTH_LIMIT + 1), nested(900), b'{"a":%b}' % (b"1" * 5000), b'{"a":1e999}'],
    ids=["deep", "very deep", "long", "large"],
)
def test_what_some_client_cannot_read_is_refused(payload):
    with pytest.raises(MalformedFrame):
        readable(payload)


@pytest.mark.parametrize(
    "payload",
    [nested(DEPTH_LIMIT), b'{"a":[%b[]]}' % (b"[]," * 500), b'{"a":%b}' % (b"1" * 300)],
)
def test_what_every_client_reads_is_not(payload):
    assert readable(payload) == payload


@given(payloads)
def test_payloads_are_the_same_whatever_their_order_and_spaces(payload):
    one = json.dumps(payload).encode()
    other = json.dumps(dict(reversed(payload.items())), indent=1).encode()

    assert are_same(one, other)


def test_payloads_with_other_values_are_not_the_same():
    assert not are_same(b'{"a":1}', b'{"a":2}')


@given(st.text())
def test_any_key_is_written_as_json(key):
    text = b"{%b}" % member(key, [b'{"a":1}', b'{"a":2}'])

    assert json.loads(text) == {key: {"metas": [{"a": 1}, {"a": 2}]}}
