"""What the splitter makes of bytes: the cases of the Autobahn suite, and wsproto as the oracle for the rest."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from actors.web.rare_frames import Control
from actors.web.splitting import Splitter
from protocol.frames import CloseCode, close

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
LIMIT = 70_000
KEY = b"\x37\xfa\x21\x3d"


def frame(opcode, payload=b"", *, fin=True, rsv=0, key=KEY, length_bytes=None) -> bytes:
    """Return a frame as a client sends it; `length_bytes` of 0, 2 or 8 is for lengths written otherwise."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 0x10000 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    head = bytes([fin << 7 | rsv << 4 | opcode, (key is not None) << 7 | short])
    head += size.to_bytes(length_bytes, "big") if length_bytes else b""
    if key is None:
        return head + payload
    repeated = key * (size // 4 + 1)
    return head + key + bytes(a ^ b for a, b in zip(payload, repeated, strict=False))


def close_payload(code, reason=b"") -> bytes:
    return code.to_bytes(2, "big") + reason


def events_of(splitter) -> list:
    found = []
    while (event := splitter.next_event()) is not None:
        found.append(event)
    return found


def split(data, sizes=(), limit=LIMIT) -> list:
    """Return what comes out of `data`, fed in pieces of these sizes and a rest."""
    splitter = Splitter(limit)
    found = []
    for size in (*sizes, len(data)):
        piece, data = data[:size], data[size:]
        whole = splitter.take_whole(piece)
        if whole is not None:
            found.append(whole)
            continue
        splitter.feed(piece)
        found += events_of(splitter)
    return found


def by_wsproto(data, limit=LIMIT) -> list:
    """Return what wsproto makes of `data` in one piece, in the words of the splitter."""
    connection = Connection(ConnectionType.SERVER)
    connection.receive_data(data)
    found, parts, size = [], [], 0
    for event in connection.events():
        match event:
            case TextMessage() | BytesMessage():
                parts.append(event.data)
                is_text = isinstance(event.data, str)
                size += len(event.data.encode() if is_text else event.data)
                if size > limit:
                    return [*found, CloseCode.TOO_BIG]
                if event.message_finished:
                    found.append(("" if is_text else b"").join(parts))
                    parts, size = [], 0
            case Ping():
                found.append(Control(connection.send(event.response())))
            case CloseConnection() if connection.state is ConnectionState.REMOTE_CLOSING:
                answer = connection.send(event.response())
                return [*found, Control(answer, int(event.code))]
            case CloseConnection():
                return [*found, Control(close(CloseCode(event.code)), int(event.code))]
    return found


def comparable(found) -> list:
    """Return what came without the words that say how large a message may be."""
    return [
        CloseCode.TOO_BIG
        if isinstance(event, Control) and event.ended_with == CloseCode.TOO_BIG
        else event
        for event in found
    ]


payloads = st.one_of(
    st.binary(max_size=130),
    st.text(max_size=40).map(str.encode),
    st.sampled_from([125, 126, 127, 300, 65_535, 65_536, 70_000, 70_001]).map(bytes),
)
keys = st.binary(min_size=4, max_size=4)
usual = st.builds(frame, st.sampled_from([TEXT, BINARY]), payloads, key=keys)
fragments = st.lists(payloads, min_size=2, max_size=4).map(
    lambda parts: b"".join(
        frame(TEXT if not at else CONTINUATION, part, fin=at == len(parts) - 1)
        for at, part in enumerate(parts)
    )
)
pings = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), key=keys)
closes = st.one_of(
    st.just(frame(CLOSE)),
    st.builds(
        lambda code, reason: frame(CLOSE, close_payload(code, reason)),
        st.sampled_from([0, 999, 1000, 1004, 1005, 1006, 1011, 1012, 1016, 3000, 4999, 5000]),
        st.sampled_from([b"", b"bye", b"\xff"]),
    ),
)
odd = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=20),
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    key=st.one_of(st.none(), keys),
    length_bytes=st.sampled_from([None, 0, 2, 8]),
)
streams = st.lists(
    st.one_of(usual, usual, usual, pings, fragments, closes, odd), max_size=8
).map(b"".join)


@given(streams, st.lists(st.integers(1, 300), max_size=20))
@example(frame(PONG) * 3000 + frame(TEXT, "after"), [])
def test_it_says_what_wsproto_says_however_the_bytes_are_cut(data, sizes):
    assert comparable(split(data, sizes)) == by_wsproto(data)


@given(st.binary(max_size=60), st.lists(st.integers(1, 5), max_size=20))
def test_any_bytes_end_as_with_wsproto(data, sizes):
    expected = by_wsproto(data)
    found = comparable(split(data, sizes))

    # Of a frame that is not whole wsproto reads the beginning, and finds there what we find at its end.
    assert found == expected[: len(found)]
    assert len(expected) - len(found) <= 1


@given(streams)
def test_byte_by_byte_is_the_same_as_at_once(data):
    data = data[:3000]

    assert split(data, [1] * len(data)) == split(data)


class TestAutobahn:
    """The cases of the Autobahn test suite, by its numbers."""

    @pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65_535, 65_536])
    @pytest.mark.parametrize(("opcode", "kind"), [(TEXT, str), (BINARY, bytes)])
    def test_messages_of_every_length_1(self, opcode, kind, size):
        data = frame(opcode, b"*" * size)

        assert (
            split(data)
            == split(data, [997] * 70)
            == [kind(b"*" * size, "ascii") if kind is str else b"*" * size]
        )

    def test_pings_are_answered_with_their_payload_2(self):
        assert split(frame(PING)) == [Control(b"\x8a\x00")]
        assert split(frame(PING, b"\x00\xff\xfe")) == [Control(b"\x8a\x03\x00\xff\xfe")]
        assert split(frame(PING, b"a" * 125)) == [Control(b"\x8a\x7d" + b"a" * 125)]

    def test_a_ping_that_is_too_long_ends_with_1002_2_5(self):
        assert ends_with(split(frame(PING, b"a" * 126))) == 1002

    def test_pongs_nobody_asked_for_are_passed_over_2_7(self):
        assert split(frame(PONG, b"?") + frame(TEXT, "hi")) == ["hi"]

    @pytest.mark.parametrize("rsv", range(1, 8))
    @pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
    def test_reserved_bits_end_with_1002_3(self, opcode, rsv):
        found = split(frame(TEXT, "hello") + frame(opcode, rsv=rsv) + frame(TEXT, "late"))

        assert found == ["hello", Control(close(CloseCode.PROTOCOL_ERROR), 1002)]

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    def test_reserved_opcodes_end_with_1002_4(self, opcode):
        found = split(frame(TEXT, "hello") + frame(opcode) + frame(PING))

        assert found == ["hello", Control(close(CloseCode.PROTOCOL_ERROR), 1002)]

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    def test_control_frames_in_fragments_end_with_1002_5(self, opcode):
        assert ends_with(split(frame(opcode, b"x", fin=False))) == 1002

    def test_a_message_in_fragments_with_pings_between_them_5(self):
        data = (
            frame(TEXT, "one ", fin=False)
            + frame(PING, b"1")
            + frame(CONTINUATION, "two ", fin=False)
            + frame(PONG, b"2")
            + frame(CONTINUATION, "three")
            + frame(BINARY, b"next")
        )

        assert split(data) == [Control(b"\x8a\x011"), "one two three", b"next"]
        assert split(data, [1] * len(data)) == split(data)

    @pytest.mark.parametrize(
        "frames",
        [
            frame(CONTINUATION, "alone"),
            frame(CONTINUATION, "alone", fin=False),
            frame(TEXT, "a", fin=False) + frame(TEXT, "b"),
            frame(TEXT, "a", fin=False) + frame(CONTINUATION, "b") + frame(CONTINUATION, "c"),
        ],
    )
    def test_fragments_out_of_place_end_with_1002_5(self, frames):
        assert ends_with(split(frames)) == 1002

    @pytest.mark.parametrize(
        "text", ["Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\U0010ffff", "\ufffe"]
    )
    def test_text_is_utf_8_6(self, text):
        data = text.encode()
        middle = len(data) // 2
        fragments = frame(TEXT, data[:middle], fin=False) + frame(CONTINUATION, data[middle:])

        assert split(frame(TEXT, text)) == split(fragments) == [text]

    @pytest.mark.parametrize(
        "payload",
        [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce", b"caf\xe9"],
        ids=["no byte of it", "overlong", "surrogate", "too large", "cut off", "latin-1"],
    )
    def test_text_that_is_not_utf_8_ends_with_1007_6(self, payload):
        whole = frame(TEXT, "good") + frame(TEXT, payload) + frame(TEXT, "late")
        cut = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, payload)

        assert split(whole) == ["good", Control(close(CloseCode.INVALID_DATA), 1007)]
        assert ends_with(split(cut)) == 1007

    def test_nothing_comes_after_a_close_frame_7_1(self):
        found = split(frame(TEXT, "a") + frame(CLOSE, close_payload(1000)) + frame(TEXT, "b"))

        assert found == ["a", Control(close(CloseCode.NORMAL), 1000)]
        splitter = Splitter(LIMIT)
        splitter.feed(frame(CLOSE))
        assert events_of(splitter) == [Control(b"\x88\x00", 1005)]
        splitter.feed(frame(TEXT, "late") + frame(PING))
        assert events_of(splitter) == []

    def test_a_close_frame_is_answered_with_its_own_code_and_reason_7_3(self):
        (answer,) = split(frame(CLOSE, close_payload(4001, b"bye")))

        assert answer == Control(b"\x88\x05" + close_payload(4001, b"bye"), 4001)

    @pytest.mark.parametrize("payload", [b"\x03", close_payload(1000, b"a" * 124)])
    def test_close_frames_of_a_wrong_length_end_with_1002_7_3(self, payload):
        assert ends_with(split(frame(CLOSE, payload))) == 1002

    def test_a_reason_that_is_not_utf_8_ends_with_1007_7_5(self):
        assert ends_with(split(frame(CLOSE, close_payload(1000, b"\xff")))) == 1007

    @pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 3000, 3999, 4999])
    def test_close_codes_that_may_be_sent_7_7(self, code):
        assert ends_with(split(frame(CLOSE, close_payload(code)))) == code

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000])
    def test_close_codes_that_may_not_end_with_1002_7_9(self, code):
        assert ends_with(split(frame(CLOSE, close_payload(code)))) == 1002

    def test_large_messages_pass_9(self):
        payload = bytes(range(256)) * 4 * 1024
        data = frame(BINARY, payload) + frame(TEXT, "small")

        assert split(data, [65_536] * 16, limit=1 << 20) == [payload, "small"]


def ends_with(found) -> int | None:
    """Return the code that the connection ends with, and see that it is told."""
    last = found[-1]
    assert last.reply.startswith(b"\x88")
    return last.ended_with


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("limit", [10, 1000, 70_000])
def test_the_limit_is_that_of_a_message(opcode, limit):
    whole = frame(opcode, b"x" * limit)
    half = limit // 2
    cut = frame(opcode, b"x" * half, fin=False) + frame(CONTINUATION, b"x" * (limit - half))

    assert len(split(whole, limit=limit)[0]) == len(split(cut, limit=limit)[0]) == limit
    assert ends_with(split(frame(opcode, b"x" * (limit + 1)), limit=limit)) == 1009
    more = frame(TEXT, b"x" * half, fin=False) + frame(CONTINUATION, b"x" * limit)
    assert ends_with(split(more, limit=limit)) == 1009


def test_the_limit_counts_bytes():
    assert split(frame(TEXT, "ö" * 5), limit=10) == ["ö" * 5]
    assert ends_with(split(frame(TEXT, "ö" * 6), limit=10)) == 1009
    fragments = frame(TEXT, "ö" * 3, fin=False) + frame(CONTINUATION, "ö" * 3)
    assert ends_with(split(fragments, limit=10)) == 1009


def test_a_frame_over_the_limit_is_refused_before_it_is_here():
    splitter = Splitter(1000)
    splitter.feed(frame(BINARY, b"x" * 60_000)[:1500])

    assert ends_with(events_of(splitter)) == 1009


def test_unmasked_input_ends_with_1002():
    assert ends_with(split(frame(TEXT, "hi", key=None))) == 1002


@pytest.mark.parametrize(("size", "length_bytes"), [(125, 2), (125, 8), (65_535, 8)])
def test_lengths_that_take_more_bytes_than_they_need_end_with_1002(size, length_bytes):
    data = frame(BINARY, b"x" * size, length_bytes=length_bytes)

    assert ends_with(split(data)) == 1002


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 60_000, 65_535])
def test_a_read_that_is_one_usual_frame_is_taken_whole(size):
    splitter = Splitter(LIMIT)
    data = frame(TEXT, "x" * size)

    assert splitter.take_whole(data) == "x" * size
    assert events_of(splitter) == []


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, "hi")[:-1],
        frame(TEXT, "hi") + frame(TEXT, "ho")[:1],
        frame(BINARY, b"hi"),
        frame(TEXT, "hi", fin=False),
        frame(TEXT, "hi", key=None),
        frame(TEXT, b"\xff"),
        frame(TEXT, "x" * 125, length_bytes=2),
        frame(PING),
        b"\x81\xff" + frame(TEXT, "x" * 127, length_bytes=8)[2:133],
        frame(TEXT, "x" * 301),
        b"\x81\xfe\x00",
        b"",
    ],
)
def test_nothing_of_any_other_read_is_taken_whole(data):
    splitter = Splitter(300)

    assert splitter.take_whole(data) is None
    splitter.feed(frame(TEXT, "first"))
    assert events_of(splitter) == ["first"]


def test_a_read_behind_half_a_frame_is_not_taken_whole():
    splitter = Splitter(LIMIT)
    splitter.feed(frame(TEXT, "hi")[:3])

    assert splitter.take_whole(frame(TEXT, "ho")) is None


def test_what_was_given_out_is_not_kept():
    splitter = Splitter(LIMIT)
    splitter.feed(frame(TEXT, "one") + frame(TEXT, "two")[:4])
    assert events_of(splitter) == ["one"]
    assert splitter.has_more
    splitter.feed(frame(TEXT, "two")[4:])

    assert events_of(splitter) == ["two"]
    assert not splitter.has_more
