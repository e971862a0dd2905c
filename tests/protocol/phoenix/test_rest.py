"""Bodies of broadcasts over HTTP: the tables of spec 4.2 and 4.3, and a second, naive reader to compare with."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedFrame, ProtocolError
from protocol.events import TextBroadcast, UserBroadcast
from protocol.phoenix.rest import (
    MESSAGES_LIMIT,
    InvalidBody,
    parse_batch,
    parse_binary,
    parse_json,
)

LIMIT = 200
BLANK = ["can't be blank"]
INVALID = ["is invalid"]
TOO_LARGE = ["Payload size exceeds tenant limit"]
GOOD = {"topic": "room", "event": "e", "payload": {"a": 1}}


def batch(*messages: object) -> bytes:
    return json.dumps({"messages": messages}).encode()


def errors_of(body: bytes):
    with pytest.raises(InvalidBody) as caught:
        parse_batch(body, payload_bytes=LIMIT)
    return caught.value.errors


def read_batch(*messages: object):
    return parse_batch(batch(*messages), payload_bytes=LIMIT)


class TestBatch:
    def test_messages_keep_their_order_and_their_bytes(self):
        first = '{"topic":"a","event":"caf\\u00e9","payload":{ "n":1.0,"big":12345678901234567890 }}'
        second = '{"payload":{},"private":true,"event":"f","topic":"b","id":"7","more":[]}'
        body = f' {{"messages" : [{first} , {second}], "more":1}}\n'.encode()

        one, other = parse_batch(body, payload_bytes=LIMIT)

        assert (one.sub_topic, one.private) == ("a", False)
        assert one.message == TextBroadcast(
            b'{"type":"broadcast","event":"caf\\u00e9","payload":{ "n":1.0,"big":12345678901234567890 }}'
        )
        assert (other.sub_topic, other.private) == ("b", True)
        assert other.message == TextBroadcast(
            b'{"type":"broadcast","event":"f","payload":{},"meta":{"id":"7"}}'
        )

    @pytest.mark.parametrize("body", [b"", b"[]", b"3", b"null", b"{}", b'"x"'])
    def test_without_messages_the_list_is_blank(self, body):
        assert errors_of(body) == {"messages": BLANK}

    @pytest.mark.parametrize("messages", ["[]", "null", '""', '" "'])
    def test_an_empty_list_is_blank(self, messages):
        assert errors_of(f'{{"messages":{messages}}}'.encode()) == {"messages": BLANK}

    @pytest.mark.parametrize("messages", ["3", "{}", '"x"', "[3]", "[[]]", "[null]", "true"])
    def test_what_is_no_list_of_objects_is_invalid(self, messages):
        assert errors_of(f'{{"messages":{messages}}}'.encode()) == {"messages": INVALID}

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"\xff",
            b'{"messages":[]}}',
            b'{"messages":[{"topic":"\xff","event":"e","payload":{}}]}',
            b'{"messages":[{"topic":"\\ud800","event":"e","payload":{}}]}',
            b"{'messages':[]}",
            b"messages=x",
            b"NaN",
            b"\xef\xbb\xbf{}",
            b"[" * 100_000,
            b'{"a":' * 5000 + b"1" + b"}" * 5000,
        ],
    )
    def test_what_is_no_json_is_malformed(self, body):
        with pytest.raises(MalformedFrame):
            parse_batch(body, payload_bytes=LIMIT)

    @pytest.mark.parametrize("name", ["topic", "event", "payload"])
    @pytest.mark.parametrize("value", [None, "", "  ", "\u2003\t"])
    def test_what_must_be_there_may_not_be_blank(self, name, value):
        assert errors_of(batch({**GOOD, name: value})) == {"messages": [{name: BLANK}]}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("topic", value) for value in (1, True, [], {})),
            *(("event", value) for value in (1, False, ["e"], {"e": 1})),
            *(("payload", value) for value in (1, "text", [], [1], True)),
            *(("private", value) for value in (1, 0, "yes", [], {}, "TRUE")),
            *(("id", value) for value in (1, True, [], {})),
        ],
    )
    def test_a_value_of_the_wrong_type_is_invalid(self, name, value):
        assert errors_of(batch({**GOOD, name: value})) == {"messages": [{name: INVALID}]}

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (True, True),
            ("true", True),
            ("1", True),
            (False, False),
            ("0", False),
            (None, False),
        ],
    )
    def test_a_boolean_may_be_written_in_a_few_ways(self, value, expected):
        (broadcast,) = read_batch({**GOOD, "private": value})

        assert broadcast.private is expected

    @pytest.mark.parametrize("value", [None, "", " "])
    def test_a_blank_id_is_none(self, value):
        (broadcast,) = read_batch({**GOOD, "id": value})

        assert b"meta" not in broadcast.message.payload

    def test_each_message_has_its_place_in_the_errors_and_good_ones_an_empty_one(self):
        too_large = {**GOOD, "payload": {"a": "x" * LIMIT}}

        assert errors_of(batch({"topic": "room"}, GOOD, too_large)) == {
            "messages": [{"payload": BLANK, "event": BLANK}, {}, {"payload": TOO_LARGE}]
        }

    def test_a_payload_may_be_as_large_as_the_limit_and_no_larger(self):
        payload = {"a": "x" * (LIMIT - 8)}
        body = batch({**GOOD, "payload": payload}).replace(b": ", b":")

        assert len(parse_batch(body, payload_bytes=LIMIT)) == 1
        assert errors_of(body.replace(b"xx", b"xxx", 1)) == {
            "messages": [{"payload": TOO_LARGE}]
        }

    def test_a_batch_has_a_bounded_number_of_messages(self):
        assert len(read_batch(*[GOOD] * MESSAGES_LIMIT)) == MESSAGES_LIMIT
        for more in (1, 100):
            assert errors_of(batch(*[GOOD] * (MESSAGES_LIMIT + more))) == {
                "messages": ["should have at most 1000 item(s)"]
            }


class TestSingle:
    def read(self, body: bytes, sub_topic="room", event="e", *, private=False):
        return parse_json(sub_topic, event, body, private=private, payload_bytes=LIMIT)

    def read_bytes(self, body: bytes, sub_topic="room", event="e"):
        return parse_binary(sub_topic, event, body, private=True, payload_bytes=LIMIT)

    @pytest.mark.parametrize(
        ("body", "payload"),
        [
            (b'{"a": 1.0}', b'{"a": 1.0}'),
            (b'\n { "a":1 } ', b'{ "a":1 }'),
            (b"", b"{}"),
            (b"[1, 2]", b'{"_json":[1, 2]}'),
            (b" 3", b'{"_json":3}'),
            (b"null", b'{"_json":null}'),
            (b'"text"', b'{"_json":"text"}'),
        ],
    )
    def test_a_json_body_is_the_payload(self, body, payload):
        broadcast = self.read(body)

        assert broadcast.message == UserBroadcast("e", payload, is_binary=False)
        assert (broadcast.sub_topic, broadcast.private) == ("room", False)

    @pytest.mark.parametrize("body", [b"{", b" ", b"\xff", b'{"a":"\xff"}', b"1 2"])
    def test_what_is_no_json_is_malformed(self, body):
        with pytest.raises(MalformedFrame):
            self.read(body)

    @pytest.mark.parametrize("body", [b"", b"\x00\xff", b"{"])
    def test_bytes_are_taken_as_they_are(self, body):
        broadcast = self.read_bytes(body)

        assert broadcast.message == UserBroadcast("e", body, is_binary=True)
        assert broadcast.private is True

    @pytest.mark.parametrize(
        ("sub_topic", "event", "size", "errors"),
        [
            ("room", " ", 1, {"event": BLANK}),
            ("\t", "e", 1, {"topic": BLANK}),
            ("room", "e", LIMIT + 1, {"payload": TOO_LARGE}),
            ("room", "", LIMIT + 1, {"event": BLANK, "payload": TOO_LARGE}),
        ],
    )
    def test_faults_are_named_at_their_place(self, sub_topic, event, size, errors):
        for read, body in ((self.read, b"1" * size), (self.read_bytes, b"1" * size)):
            with pytest.raises(InvalidBody) as caught:
                read(body, sub_topic, event)
            assert caught.value.errors == errors

    @pytest.mark.parametrize(
        ("sub_topic", "event", "errors"),
        [
            ("room", "é" * 128, {"event": ["should be at most 255 byte(s)"]}),
            ("r" * 247, "e", {"topic": ["should be at most 255 byte(s)"]}),
        ],
    )
    def test_bytes_cannot_go_where_a_binary_frame_cannot(self, sub_topic, event, errors):
        with pytest.raises(InvalidBody) as caught:
            self.read_bytes(b"1", sub_topic, event)

        assert caught.value.errors == errors
        self.read(b"1", sub_topic, event)  # as JSON it goes out as text


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", " ", "x", "1"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["topic", "event", "payload", "private", "id", "other"]
MESSAGES = st.fixed_dictionaries(
    {
        "topic": st.text(min_size=1, max_size=4) | VALUES,
        "event": st.text(min_size=1, max_size=4) | VALUES,
        "payload": st.dictionaries(st.text(max_size=3), VALUES, max_size=2) | VALUES,
    },
    optional={"private": VALUES, "id": VALUES, "other": VALUES},
) | st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)


def naive_errors(message: dict) -> dict:
    errors = {}
    for name, kind in (("topic", str), ("event", str), ("payload", dict)):
        value = message.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            errors[name] = BLANK
        elif not isinstance(value, kind):
            errors[name] = INVALID
    private, identifier = message.get("private"), message.get("id")
    if isinstance(private, str):
        if private.strip() not in ("", "1"):  # of the strings that are made here
            errors["private"] = INVALID
    elif private is not None and not isinstance(private, bool):
        errors["private"] = INVALID
    if identifier is not None and not isinstance(identifier, str):
        errors["id"] = INVALID
    return errors


def naive_delivery(message: dict) -> tuple:
    payload = {"type": "broadcast", "event": message["event"], "payload": message["payload"]}
    identifier = message.get("id")
    if identifier is not None and identifier.strip():
        payload["meta"] = {"id": identifier}
    return message["topic"], message.get("private") in (True, "1"), payload


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.sampled_from([None, 2]))
def test_a_naive_reader_comes_to_the_same(messages, indent):
    body = json.dumps({"messages": messages}, indent=indent).encode()
    expected = [naive_errors(message) for message in messages]

    if any(expected):
        with pytest.raises(InvalidBody) as caught:
            parse_batch(body, payload_bytes=10_000)
        assert caught.value.errors == {"messages": expected}
    else:
        assert [
            (one.sub_topic, one.private, json.loads(one.message.payload))
            for one in parse_batch(body, payload_bytes=10_000)
        ] == [naive_delivery(message) for message in messages]


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_any_bytes_are_read_or_refused(body):
    for read in (
        lambda: parse_batch(body, payload_bytes=10),
        lambda: [parse_json("t", "e", body, private=False, payload_bytes=10)],
    ):
        try:
            broadcasts = read()
        except ProtocolError:
            continue
        for broadcast in broadcasts:
            json.loads(broadcast.message.payload)
