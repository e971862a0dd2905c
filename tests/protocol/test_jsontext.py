"""JSON is accepted and refused as the standard library does it, in UTF-8, and nothing but ProtocolError is raised."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol import jsontext
from protocol.errors import MalformedFrame

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(values, st.booleans())
def test_every_json_value_is_accepted(value, ascii_only):
    jsontext.check(json.dumps(value, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"nul",
        b"NaN",
        b"Infinity",
        b"01",
        b"1.",
        b"+1",
        b"1 2",
        b"[1,]",
        b'{"a":}',
        b"{1:2}",
        b'"\n"',
        b'"\\q"',
        b'"\\u12"',
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\u0041"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_in_utf8_is_refused(text):
    with pytest.raises(MalformedFrame):
        jsontext.check(text)


@given(st.binary() | st.text().map(str.encode))
@example(b'"\xe2\x82"')
def test_whatever_is_accepted_the_standard_library_reads_too(data):
    try:
        jsontext.check(data)
    except MalformedFrame:
        return
    json.loads(data.decode())


@given(st.text(st.sampled_from(list('{}[]",:01eE+-.tfn\\ud8 é'))))
def test_json_like_garbage_raises_nothing_but_malformed_frame(garbage):
    text = garbage.encode()
    for function in (jsontext.check, jsontext.members, jsontext.elements, jsontext.scalar):
        try:
            function(text)
        except MalformedFrame:
            continue


def test_of_equal_keys_the_last_counts():
    assert jsontext.members(b'{"a":1,"a":2}') == {"a": b"2"}


@given(st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=3) | st.floats(0, 9))))
def test_the_canonical_text_ignores_order_and_white_space(value):
    shuffled = dict(reversed(value.items()))

    assert jsontext.canonical(json.dumps(value).encode()) == jsontext.canonical(
        json.dumps(shuffled, indent=1, ensure_ascii=False).encode()
    )


def test_a_value_beyond_python_is_its_own_canonical_text():
    assert jsontext.canonical(b'{"a": 1e999}') == b'{"a": 1e999}'
