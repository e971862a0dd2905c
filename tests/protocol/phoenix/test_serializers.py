"""Text of 1.0.0 and 2.0.0: shapes, leniency, and what is malformed or unknown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from protocol.errors import MalformedFrame, ProtocolError, UnknownFrame
from protocol.phoenix import v1, v2
from protocol.phoenix.envelope import Envelope

refs = st.none() | st.text(max_size=255) | st.integers(-(2**53), 2**53)
payloads = st.sampled_from([b"{}", b'{"a":[1,"\xc3\xa9"]}', b"null", b"5"])
envelopes = st.builds(
    lambda join_ref, ref, topic, event, payload: Envelope(
        join_ref, ref, topic, event, Raw(payload)
    ),
    refs,
    refs,
    st.text(),
    st.text(),
    payloads,
)


def parts(push: Envelope) -> tuple:
    return (push.join_ref, push.ref, push.topic, push.event, bytes(push.payload))


@given(envelopes)
@pytest.mark.capability("M5-038", "M5-058")
def test_an_array_survives_a_round_trip(envelope):
    assert parts(v2.decode(v2.encode(envelope).decode())) == parts(envelope)


@given(envelopes)
@pytest.mark.capability("SB-002", "SB-006", "SB-129")
def test_an_object_survives_a_round_trip_but_for_its_join_ref(envelope):
    assert parts(v1.decode(v1.encode(envelope).decode())) == (None, *parts(envelope)[1:])


@given(envelopes)
def test_an_object_of_the_server_has_exactly_four_keys(envelope):
    assert sorted(json.loads(v1.encode(envelope))) == ["event", "payload", "ref", "topic"]


def test_a_join_ref_of_a_client_is_read_from_an_object():
    text = '{"topic":"t","event":"e","payload":{},"ref":"2","join_ref":"1"}'

    assert parts(v1.decode(text)) == ("1", "2", "t", "e", b"{}")


def test_the_payload_keeps_its_bytes():
    payload = b'{ "b" : 1.50, "a":"\\u00e9", "a":1e400 }'
    array = b'[null,null,"t","e",' + payload + b"]"
    mapping = b'{"topic":"t","event":"e","ref":null,"payload":' + payload + b"}"

    assert bytes(v2.decode(array.decode()).payload) == payload
    assert bytes(v1.decode(mapping.decode()).payload) == payload


def test_extra_elements_and_keys_are_ignored():
    mapping = '{"topic":"t","event":"e","payload":{},"ref":"2","extra":[1]}'

    assert parts(v2.decode('["1","2","t","e",{},6,[7]]')) == ("1", "2", "t", "e", b"{}")
    assert parts(v1.decode(mapping)) == (None, "2", "t", "e", b"{}")


def test_a_binary_frame_of_1_0_0_is_read_as_json():
    assert parts(v1.decode(b'{"topic":"t","event":"e","payload":"\xc3\xa9","ref":null}')) == (
        None,
        None,
        "t",
        "e",
        b'"\xc3\xa9"',
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "{}",
        "null",
        "5",
        "[]",
        '["1","2","t","e"]',
        '["1","2","t","e",]',
        '["1","2",null,"e",{}]',
        '["1","2","t",5,{}]',
        '[true,"2","t","e",{}]',
        '["1",1.5,"t","e",{}]',
        '["1",' + "9" * 30 + ',"t","e",{}]',
        '["' + "x" * 256 + '","2","t","e",{}]',
        '["1","2","t","e","\\ud800"]',
        '["1","2","t","e","\ud800"]',
        '["1","2","t","e",{}] ["1"]',
        '["1","2","t","e",' + "[" * 100_000,
        '["1","2","t","e",' + "[" * 100_000 + "]" * 100_001,
    ],
)
def test_what_is_no_array_of_five_is_malformed(text):
    with pytest.raises(MalformedFrame):
        v2.decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{",
        "[1",
        '{"event":"e","payload":{},"ref":null}',
        '{"topic":"t","payload":{},"ref":null}',
        '{"topic":"t","event":"e","ref":null}',
        '{"topic":"t","event":"e","payload":{}}',
        '{"topic":5,"event":"e","payload":{},"ref":null}',
        '{"topic":"t","event":"e","payload":{},"ref":[]}',
        '{"topic":"t","event":"e","payload":"\ud800","ref":null}',
        b'{"topic":"t","event":"e","payload":"\xff","ref":null}',
        "[" * 100_000,
        "\ud800",
    ],
)
def test_an_object_that_lacks_something_is_malformed(text):
    with pytest.raises(MalformedFrame):
        v1.decode(text)


@pytest.mark.parametrize("text", ["[]", "null", ' "x"', "5", b"[1,2]", "true"])
def test_json_that_is_no_object_is_unknown_to_1_0_0(text):
    with pytest.raises(UnknownFrame):
        v1.decode(text)


@given(st.text() | st.text(st.characters()) | st.binary())
def test_arbitrary_frames_raise_nothing_but_protocol_errors(data):
    for decode in (v1.decode, v2.decode):
        try:
            decode(data)
        except ProtocolError:
            continue
