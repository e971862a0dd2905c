"""The golden transcripts, played against a session alone."""

import pytest

from protocol.frames import Opcode
from protocol.phoenix import negotiate
from tests.support.phoenix import SessionServer
from tests.support.transcripts import load_transcripts, parse_transcript

TRANSCRIPTS = load_transcripts("phoenix")


def received(frame) -> str | bytes:
    return frame.payload.decode() if frame.opcode is Opcode.TEXT else frame.payload


def test_there_are_transcripts_for_both_versions():
    assert {transcript.version for transcript in TRANSCRIPTS} == {"1.0.0", "2.0.0"}


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)
def test_a_session_keeps_to_the_transcript(transcript):
    server = SessionServer(negotiate(transcript.version))
    for exchange in transcript.exchanges:
        frames = [received(frame) for data in exchange.sent for frame in server.receive(data)]

        assert len(frames) == len(exchange.expected), frames
        for pattern, frame in zip(exchange.expected, frames, strict=True):
            assert pattern.matches(frame), (pattern, frame)


def test_a_pattern_holds_a_frame_to_its_types_and_keys():
    (exchange,) = parse_transcript("x", 'C: 1\nS: {"a":"…","b":[1]}').exchanges
    (pattern,) = exchange.expected

    assert pattern.matches('{"b":[1],"a":{"any":2}}')
    assert not pattern.matches('{"b":[1]}')
    assert not pattern.matches('{"a":1,"b":[true]}')
    assert not pattern.matches('{"a":1,"b":[1],"c":2}')
    assert not pattern.matches(b'{"a":1,"b":[1]}')


def test_a_binary_pattern_is_the_whole_frame_or_with_an_ellipsis_its_head():
    (exchange,) = parse_transcript(
        "x", "C: binary 01\nS: binary 04 'ab'\nS: binary 04 …"
    ).exchanges
    whole, head = exchange.expected

    assert exchange.sent == [b"\x01"]
    assert [whole.matches(b"\x04ab"), whole.matches(b"\x04abc"), whole.matches("x")] == [
        True,
        False,
        False,
    ]
    assert [head.matches(b"\x04abc"), head.matches(b"\x05")] == [True, False]


def test_a_line_that_is_nothing_is_refused():
    with pytest.raises(ValueError, match="neither C:"):
        parse_transcript("x", "c: {}")
