"""What every event becomes on the wire of either version, and which versions there are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import ChangeBinding
from protocol.events import (
    Closed,
    Failed,
    Joined,
    JoinRefused,
    Replaced,
    Reply,
    RowChange,
    System,
    TextBroadcast,
    UserBroadcast,
)
from protocol.frames import Frame, Opcode
from protocol.phoenix import PhoenixDialect, UnsupportedVersion, negotiate

V1 = PhoenixDialect("1.0.0")
V2 = PhoenixDialect("2.0.0")
TOPIC = "realtime:room"


def text(frame: Frame | None):
    assert frame is not None
    assert frame.opcode is Opcode.TEXT
    return json.loads(frame.payload)


@pytest.mark.parametrize(
    ("event", "join_ref", "ref", "name", "payload"),
    [
        (Reply("2", "1", True), "1", "2", "phx_reply", {"status": "ok", "response": {}}),
        (
            Reply("2", None, False, b'{"reason":"no"}'),
            None,
            "2",
            "phx_reply",
            {"status": "error", "response": {"reason": "no"}},
        ),
        (
            Reply("2", "1", False, b'"payload_size_exceeded"'),
            "1",
            "2",
            "phx_reply",
            {"status": "error", "response": "payload_size_exceeded"},
        ),
        (
            Joined("2", "1", (ChangeBinding(7, b'{"event":"*"}', "*", None, None, None),)),
            "1",
            "2",
            "phx_reply",
            {"status": "ok", "response": {"postgres_changes": [{"event": "*", "id": 7}]}},
        ),
        (
            JoinRefused("2", "1", "Unauthorized", "You may not"),
            "1",
            "2",
            "phx_reply",
            {"status": "error", "response": {"reason": "Unauthorized: You may not"}},
        ),
        (
            System("1", "postgres_changes", True, "Subscribed to PostgreSQL", "room"),
            "1",
            None,
            "system",
            {
                "extension": "postgres_changes",
                "status": "ok",
                "message": "Subscribed to PostgreSQL",
                "channel": "room",
            },
        ),
        (
            System(None, "system", False, "bye", None),
            None,
            None,
            "system",
            {"extension": "system", "status": "error", "message": "bye"},
        ),
        (Closed("1"), "1", "1", "phx_close", {}),
        (Failed("1"), "1", "1", "phx_error", {}),
        (Closed(None), None, None, "phx_close", {}),
        (TextBroadcast(b'{"x":1}'), None, None, "broadcast", {"x": 1}),
        (
            RowChange((7, 7, 9), b'{"type":"INSERT"}'),
            None,
            None,
            "postgres_changes",
            {"ids": [7, 7, 9], "data": {"type": "INSERT"}},
        ),
    ],
)
@pytest.mark.capability("SB-131", "M5-083")
def test_a_text_event_has_the_refs_name_and_payload_of_the_specification(
    event, join_ref, ref, name, payload
):
    assert text(V2.frame(event, TOPIC)) == [join_ref, ref, TOPIC, name, payload]
    assert text(V1.frame(event, TOPIC)) == {
        "ref": ref,
        "topic": TOPIC,
        "event": name,
        "payload": payload,
    }


def test_a_replaced_join_is_closed_for_2_0_0_and_not_for_1_0_0():
    assert text(V2.frame(Replaced("1"), TOPIC)) == ["1", "1", TOPIC, "phx_close", {}]
    assert V1.frame(Replaced("1"), TOPIC) is None


def test_a_user_broadcast_of_json_is_kind_4_with_encoding_1_for_2_0_0():
    event = UserBroadcast("e", b'{"x": 1}', is_binary=False)

    assert V2.frame(event, "realtime:a") == Frame(
        Opcode.BINARY, b'\x04\x0a\x01\x00\x01realtime:ae{"x": 1}'
    )


def test_a_user_broadcast_of_json_is_spliced_into_text_for_1_0_0():
    event = UserBroadcast('qu"ote', b'{"x": 1.50}', is_binary=False)
    frame = V1.frame(event, TOPIC)

    assert b'{"event":"qu\\"ote","payload":{"x": 1.50},"type":"broadcast"}' in frame.payload
    assert text(frame)["payload"] == {
        "type": "broadcast",
        "event": 'qu"ote',
        "payload": {"x": 1.5},
    }


def test_a_user_broadcast_of_bytes_is_kind_4_with_encoding_0_and_nothing_for_1_0_0():
    event = UserBroadcast("e", b"\xff\x00", is_binary=True)

    assert V2.frame(event, "realtime:a") == Frame(
        Opcode.BINARY, b"\x04\x0a\x01\x00\x00realtime:ae\xff\x00"
    )
    assert V1.frame(event, "realtime:a") is None


def test_metadata_travels_in_the_frame_of_2_0_0_and_as_meta_in_1_0_0():
    event = UserBroadcast("e", b"{}", is_binary=False, metadata=b'{"id":"u"}')

    assert V2.frame(event, "t").payload == b'\x04\x01\x01\x0a\x01te{"id":"u"}{}'
    assert text(V1.frame(event, "t"))["payload"]["meta"] == {"id": "u"}


@pytest.mark.parametrize(
    ("topic", "name"), [("realtime:" + "x" * 247, "e"), ("t", "x" * 256), ("t", "é" * 128)]
)
def test_what_does_not_fit_into_kind_4_goes_out_as_text_or_not_at_all(topic, name):
    as_json = UserBroadcast(name, b'{"x":1}', is_binary=False)

    assert text(V2.frame(as_json, topic)) == [
        None,
        None,
        topic,
        "broadcast",
        {"type": "broadcast", "event": name, "payload": {"x": 1}},
    ]
    assert V2.frame(UserBroadcast(name, b"x", is_binary=True), topic) is None


def test_a_client_that_reads_no_binary_frames_gets_json_as_text_and_bytes_not_at_all():
    dialect = negotiate("2.0.0", "false")
    as_json = UserBroadcast("e", b'{"x":1}', is_binary=False)

    assert dialect.frame(as_json, TOPIC).opcode is Opcode.TEXT
    assert text(dialect.frame(as_json, TOPIC)) == text(
        V2.frame(TextBroadcast(b'{"type":"broadcast","event":"e","payload":{"x":1}}'), TOPIC)
    )
    assert dialect.frame(UserBroadcast("e", b"x", is_binary=True), TOPIC) is None


@pytest.mark.parametrize("word", [None, "", "true", "False"])
def test_only_the_word_false_asks_for_no_binary_frames(word):
    assert negotiate("2.0.0", word) == V2
    assert negotiate("1.0.0", "false") == V1


def test_strings_of_255_bytes_fit():
    event = UserBroadcast("x" * 255, b"", is_binary=True)

    assert V2.frame(event, "t" * 255).payload[:5] == b"\x04\xff\xff\x00\x00"


@pytest.mark.parametrize("payload", [b"null", b"5", b'"text"', b"[1, 2]", b'{ "a":1,"a":2 }'])
def test_the_payload_of_a_text_broadcast_is_relayed_byte_for_byte(payload):
    for dialect in (V1, V2):
        assert payload in dialect.frame(TextBroadcast(payload), TOPIC).payload


def test_refs_keep_their_type():
    assert text(V2.frame(Reply(5, 1, True), TOPIC))[:2] == [1, 5]


@pytest.mark.parametrize(
    ("vsn", "version"),
    [
        (None, "1.0.0"),
        ("1.0.0", "1.0.0"),
        ("1.0.3", "1.0.0"),
        ("2.0.0", "2.0.0"),
        ("2.0.10", "2.0.0"),
    ],
)
def test_a_patch_release_of_a_known_version_is_negotiated(vsn, version):
    assert negotiate(vsn) == PhoenixDialect(version)


@pytest.mark.parametrize(
    "vsn",
    ["", "1", "1.0", "1.1.0", "2.1.0", "3.0.0", "2.0.0 ", "2.0.01", "2.0.٣", "x", "12.0.0"],
)
def test_any_other_version_is_unsupported(vsn):
    with pytest.raises(UnsupportedVersion):
        negotiate(vsn)


def test_dialects_of_one_version_are_equal_and_hash_alike():
    assert {PhoenixDialect("2.0.0"), V2, V1} == {V1, V2}
    assert (V2.name, V2.version) == ("phoenix", "2.0.0")


@given(st.text(max_size=400), st.text(max_size=400), st.binary(), st.booleans())
def test_a_client_of_2_0_0_gets_no_binary_kind_but_4(topic, name, payload, is_binary):
    frame = V2.frame(UserBroadcast(name, payload if is_binary else b"{}", is_binary), topic)

    assert frame is None or frame.opcode is Opcode.TEXT or frame.payload[0] == 4
