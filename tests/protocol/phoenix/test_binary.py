"""Binary frames: the bytes of the specification, round trips of every kind, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedFrame, ProtocolError, UnknownFrame
from protocol.events import UserBroadcast
from protocol.phoenix import binary
from protocol.phoenix.envelope import BinaryPush

KIND_3 = bytes.fromhex(
    "03 01 01 0a 02 00 01 31 35 72 65 61 6c 74 69 6d 65 3a 61 6d 76 7b 22 78 22 3a 31 7d"
)
KIND_4 = bytes.fromhex(
    "04 0a 02 00 01 72 65 61 6c 74 69 6d 65 3a 61 6d 76 7b 22 78 22 3a 31 7d"
)
MOVE = UserBroadcast("mv", b'{"x":1}', is_binary=False)

strings = st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255)
refs = st.none() | strings.filter(bool)
payloads = st.binary(max_size=300)
json_payloads = st.sampled_from([b"{}", b'{"x":1}', b"null", b'"\xc3\xa9"', b" [1] "])
metadata = st.sampled_from([b"", b"{}", b'{"id":"1"}'])
messages = st.builds(UserBroadcast, strings, payloads, st.just(True), metadata) | st.builds(
    UserBroadcast, strings, json_payloads, st.just(False), metadata
)
server_frames = (
    st.builds(binary.ServerPush, strings, strings, strings, payloads)
    | st.builds(binary.ServerReply, strings, strings, strings, strings, payloads)
    | st.builds(binary.ServerBroadcast, strings, strings, payloads)
)


def test_the_worked_example_is_read_from_its_bytes():
    assert binary.decode_push(KIND_3) == BinaryPush("1", "5", "realtime:a", "broadcast", MOVE)


def test_the_worked_example_is_written_with_its_bytes():
    assert binary.encode_user_broadcast("realtime:a", MOVE) == KIND_4


def test_a_client_writes_the_bytes_of_the_worked_example():
    push = BinaryPush("1", "5", "realtime:a", "broadcast", MOVE)

    assert binary.encode_user_broadcast_push(push) == KIND_3


@given(refs, refs, strings, strings, payloads)
def test_kind_0_of_a_client_survives_a_round_trip(join_ref, ref, topic, event, payload):
    push = BinaryPush(join_ref, ref, topic, event, UserBroadcast(event, payload, True))

    assert binary.decode_push(binary.encode_push(push)) == push


@given(refs, refs, strings, messages)
def test_kind_3_survives_a_round_trip_but_for_its_metadata(join_ref, ref, topic, message):
    push = BinaryPush(join_ref, ref, topic, "broadcast", message)
    kept = UserBroadcast(message.event, message.payload, message.is_binary)

    assert binary.decode_push(binary.encode_user_broadcast_push(push)) == BinaryPush(
        join_ref, ref, topic, "broadcast", kept
    )


@given(strings, messages)
def test_kind_4_survives_a_round_trip(topic, message):
    data = binary.encode_user_broadcast(topic, message)

    assert binary.decode_server_frame(data) == binary.ServerUserBroadcast(topic, message)


@given(server_frames)
def test_the_other_kinds_of_a_server_survive_a_round_trip(frame):
    assert binary.decode_server_frame(binary.encode_server_frame(frame)) == frame


def test_a_servers_push_has_no_ref():
    frame = binary.ServerPush("1", "t", "e", b"data")

    assert binary.encode_server_frame(frame) == b"\x00\x01\x01\x011tedata"


@pytest.mark.parametrize("encoding", [1, 2, 255])
def test_any_encoding_but_0_means_json(encoding):
    data = bytearray(KIND_3)
    data[6] = encoding

    assert binary.decode_push(bytes(data)).message == MOVE


def test_encoding_0_means_bytes_that_are_not_looked_at():
    data = bytearray(KIND_3[:-1] + b"\xff")
    data[6] = 0

    assert binary.decode_push(bytes(data)).message == UserBroadcast("mv", b'{"x":1\xff', True)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b'{"x":1}}', b'"\xff"', b'"\\ud800"', b"[" * 5000]
)
def test_a_json_payload_that_is_no_json_is_malformed(payload):
    with pytest.raises(MalformedFrame):
        binary.decode_push(KIND_3.removesuffix(b'{"x":1}') + payload)


def test_metadata_that_is_no_json_is_malformed():
    with pytest.raises(MalformedFrame):
        binary.decode_push(b"\x03\x00\x00\x01\x01\x01\x01te}{}")


@pytest.mark.parametrize("size", range(len(KIND_3) - len(MOVE.payload)))
def test_a_frame_that_ends_within_its_strings_is_malformed(size):
    with pytest.raises(MalformedFrame):
        binary.decode_push(KIND_3[:size])


def test_a_string_that_is_not_utf8_is_malformed():
    with pytest.raises(MalformedFrame):
        binary.decode_push(b"\x00\x00\x00\x01\x01\xffe")


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 255])
def test_a_kind_that_no_client_sends_is_unknown(kind):
    with pytest.raises(UnknownFrame):
        binary.decode_push(bytes([kind]) + KIND_3[1:])


def test_a_string_over_255_bytes_cannot_be_carried():
    message = UserBroadcast("é" * 128, b"{}", False)
    push = BinaryPush(None, None, "t", "broadcast", message)

    assert binary.encode_user_broadcast("t", message) is None
    with pytest.raises(ValueError, match="range"):
        binary.encode_user_broadcast_push(push)


@given(
    st.binary()
    | st.builds(lambda kind, rest: bytes([kind]) + rest, st.integers(0, 5), st.binary())
)
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data):
    for decode in (binary.decode_push, binary.decode_server_frame):
        try:
            decode(data)
        except ProtocolError:
            continue
